"""Messages about slow work that shows no progress by itself."""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from BYOL._console import STDERR

log = logging.getLogger(__name__)
_FIRST = 2.0  # seconds of silence before the first line
_active: list["Work"] = []  # of nested work only the innermost, the last, writes lines
_LONGEST = 20.0  # between two lines where there is no terminal; they begin closer together


class Work:
    """The progress of some work.

    Args:
        name: the start of a progress line, such as ``decoding images``.
        total: the number of items to process; None if it is unknown.

    Attributes:
        done: the number of processed items, which the caller increases.
    """

    def __init__(self, name: str, total: int | None = None):
        self.name = name
        self.total = total
        self.done = 0
        self.started = time.monotonic()

    def line(self) -> str:
        """The progress line: items done, items per second, and the remaining time."""
        seconds = time.monotonic() - self.started
        if not self.total:
            return f"{self.name}: {seconds:.0f} s so far"
        per_second = self.done / max(seconds, 1e-9)
        left = f", {(self.total - self.done) / per_second:.0f} s left" if self.done else ""
        return f"{self.name}: {self.done:,} of {self.total:,}, {per_second:,.0f}/s{left}"


@contextmanager
def waiting(name: str, total: int | None = None, first: float | None = None) -> Iterator[Work]:
    """Log what is being done if it takes longer than ``first`` seconds.

    A thread logs, so that it does not matter what the work itself waits for. On a terminal a line
    appears every two seconds; elsewhere the pauses double up to twenty seconds.

    Args:
        name: see :class:`Work`.
        total: see :class:`Work`.
        first: seconds before the first line.

    Yields:
        The work, whose ``done`` the caller increases.
    """
    work, ended = Work(name, total), threading.Event()
    pause = _FIRST if first is None else first

    def write_lines() -> None:
        wait = pause
        while not ended.wait(wait):
            if _active[-1:] == [work]:
                log.info(work.line())
            wait = wait if STDERR.isatty() else min(wait * 2, _LONGEST)

    writer = threading.Thread(target=write_lines, name="waiting", daemon=True)
    _active.append(work)
    writer.start()
    try:
        yield work
    finally:
        ended.set()
        _active.remove(work)
        writer.join()
