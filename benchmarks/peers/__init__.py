"""What others offer, measured beside Headrace: each in a virtual environment of its own, none needed by the project."""
