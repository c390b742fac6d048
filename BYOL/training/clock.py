"""The start time of the command. ``--minutes`` limits the whole command, imports included."""

import contextlib
import time
from collections.abc import Iterator

_INTERPRETER = 0.3  # seconds that Python takes before the first line of the command
_started: float | None = None


@contextlib.contextmanager
def command_clock() -> Iterator[None]:
    """Record the present time as the start of the command, for :func:`command_start`."""
    global _started
    _started = time.monotonic() - _INTERPRETER
    try:
        yield
    finally:
        _started = None


def command_start() -> float:
    """The start of the command on ``time.monotonic``; the present time outside of a command."""
    return time.monotonic() if _started is None else _started
