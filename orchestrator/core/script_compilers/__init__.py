"""One module for each pattern: its part of a document becomes its script. Pure."""
