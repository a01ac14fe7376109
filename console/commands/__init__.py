"""One file for each group of commands; `console.cli` puts them together."""
