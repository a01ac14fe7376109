"""Pure decisions. No I/O, no clock, no randomness: time and jitter are arguments (tests/test_architecture.py)."""
