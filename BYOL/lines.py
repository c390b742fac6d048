"""Lines for a person who waits."""

import sys


def to_stderr(line: str) -> None:
    """Where lines for the user go unless the caller says otherwise."""
    print(line, file=sys.stderr, flush=True)
