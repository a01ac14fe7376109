"""What every task carries, of Headrace and of its peers. Their environment imports it: standard library only."""

PAYLOAD = "x" * 300
