"""Text for a terminal: lines on standard error, and values as messages show them."""

import re
import sys
from collections.abc import Callable, Sequence

_LONGEST = 120  # characters of a value in a message


def to_stderr(line: str) -> None:
    """Print ``line`` on standard error, where lines for the user go by default."""
    print(line, file=sys.stderr, flush=True)


def as_warnings(say: Callable[[str], None]) -> Callable[[str], None]:
    """A function that passes each line to ``say`` with the prefix ``warning:``."""
    return lambda line: say(f"warning: {line}")


def with_dashes(message: str) -> str:
    """The message with flags as they are usually typed: ``--batch-size`` for ``--batch_size``."""
    return re.sub(r"--\w+", lambda flag: flag[0].replace("_", "-"), message)


def counted(number: int, noun: str) -> str:
    """The number with its noun: ``1 image``, ``2,000 images``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def first_of(names: Sequence[str]) -> str:
    """The first three of ``names``, and how many more there are."""
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def printable(value: object) -> str:
    """The value as text of at most 120 characters, with control characters replaced.

    For values of files, which another person may have written.
    """
    text = "".join(sign if sign.isprintable() else "?" for sign in str(value))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
