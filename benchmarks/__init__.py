"""What the engine itself costs, on a real broker. ``python -m benchmarks NAME`` prints one table and one line of JSON."""
