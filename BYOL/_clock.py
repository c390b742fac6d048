"""When the command began: ``--minutes`` is about the whole of it, imports included."""

import contextlib
import time
from collections.abc import Iterator

_INTERPRETER = 0.3  # seconds that Python needs before the first line of the command
_begun: float | None = None


@contextlib.contextmanager
def command_clock() -> Iterator[None]:
    """Within it, :func:`command_start` is the time at which it was entered."""
    global _begun
    _begun = time.monotonic() - _INTERPRETER
    try:
        yield
    finally:
        _begun = None


def command_start() -> float:
    """When the command began, on ``time.monotonic``; now, where there is no command."""
    return time.monotonic() if _begun is None else _begun
