"""The entry point of ``byol``: the command line of ``BYOL.cli.program``, which Ctrl-C ends in one
line at any time.

The imports of the command line take a part of a second. They are made here within the handler.
"""

import sys


def main(argv: list[str] | None = None) -> int:
    """Entry point of ``byol`` and ``python -m BYOL``: see :func:`BYOL.cli.program.main`."""
    try:
        from BYOL.cli import program

        return program.main(argv)
    except KeyboardInterrupt:
        print("byol: stopped", file=sys.stderr)
        return 130
