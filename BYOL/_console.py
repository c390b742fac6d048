"""Lines for a person who waits."""

import re
import sys
from collections.abc import Callable, Sequence


def to_stderr(line: str) -> None:
    """Where lines for the user go unless the caller says otherwise."""
    print(line, file=sys.stderr, flush=True)


def as_warnings(say: Callable[[str], None]) -> Callable[[str], None]:
    """Says that each line is a warning."""
    return lambda line: say(f"warning: {line}")


def with_dashes(message: str) -> str:
    """Flags as they are usually typed: ``--batch-size`` for the setting ``batch_size``."""
    return re.sub(r"--\w+", lambda flag: flag[0].replace("_", "-"), message)


def counted(number: int, thing: str) -> str:
    """``1 picture``, ``2,000 pictures``."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def first_of(names: Sequence[str]) -> str:
    """The first three, and how many more there are."""
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
