"""What the engine itself costs, on a real broker. ``python -m benchmarks NAME`` prints a table and a line of JSON."""
