"""``python -m headrace.console``: the command line, where its script is not on the path."""

from headrace.console.cli import main

if __name__ == "__main__":
    main()
