"""Requests to ten departments, by example utterances: the data, how it was drawn, and what to expect of it."""
