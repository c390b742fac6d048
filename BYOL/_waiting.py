"""Messages about slow work that shows no progress by itself."""

import _thread
import contextlib
import logging
import threading
import time
from collections.abc import Iterator

from BYOL._console import STDERR

log = logging.getLogger(__name__)
_FIRST = 2.0  # seconds of silence before the first line
_LEAST = 0.5  # seconds of a work that has a line, after silence of the work before it
_GAP = 1.0  # seconds between two works that are silent together
_active: list["Work"] = []  # of nested work only the innermost, the last, writes lines
_CLOSE = 60.0  # seconds after which the pauses between lines become longer without a terminal
_LONGEST = 20.0  # seconds of the longest of these pauses


class _Silence:
    """How long there has been no line, over works that follow each other."""

    def __init__(self) -> None:
        self.since, self.until = 0.0, float("-inf")

    def begin(self) -> float:
        """Return the seconds without a line before a work that begins now."""
        now = time.monotonic()
        if not _active and now - self.until > _GAP:
            self.since = now
        return now - self.since

    def end(self) -> None:
        """Note that a work ends now."""
        self.until = time.monotonic()

    def broken(self) -> None:
        """Note that a line is written."""
        self.since = time.monotonic()


_silence = _Silence()


class Work:
    """How far something is.

    Args:
        name: what is done, as a message begins: ``decoding images``.
        total: how many there are to do, or None where that is unknown.

    Attributes:
        done: how many have been done; the caller counts.
    """

    def __init__(self, name: str, total: int | None = None):
        self.name = name
        self.total = total
        self.done = 0
        self.started = time.monotonic()

    def line(self) -> str:
        """What is done, how fast, and how long it takes."""
        seconds = time.monotonic() - self.started
        if not self.total:
            return f"{self.name}: {max(seconds, 1):.0f} s so far"
        rate = self.done / max(seconds, 1e-9)
        left = f", {(self.total - self.done) / rate:.0f} s left" if self.done else ""
        return f"{self.name}: {self.done:,} of {self.total:,}, {rate:,.0f}/s{left}"


@contextlib.contextmanager
def waiting(name: str, total: int | None = None, first: float | None = None) -> Iterator[Work]:
    """Log what is being done if there has been no line for ``first`` seconds.

    The silence of the work before it counts, but work of half a second never has a line. A thread
    logs, so that it does not matter what the work itself waits for. A line appears every two
    seconds; where there is no terminal, the pauses double after a minute, up to twenty seconds.

    Args:
        name: see :class:`Work`.
        total: see :class:`Work`.
        first: seconds of silence before the first line.

    Yields:
        The work, whose ``done`` the caller counts up.
    """
    work, ended, lock = Work(name, total), threading.Event(), threading.Lock()
    pause = _FIRST if first is None else first
    first_pause = max(pause - _silence.begin(), min(pause, _LEAST))

    def write_lines() -> None:
        wait = first_pause
        while not ended.wait(wait):
            with lock:
                if _active[-1:] == [work] and not ended.is_set():
                    log.info(work.line())
                    _silence.broken()
            late = time.monotonic() - work.started > _CLOSE and not STDERR.isatty()
            wait = min(2 * wait, _LONGEST) if late else pause

    _active.append(work)
    try:
        # Not threading.Thread, whose start() waits for ever if the thread has no memory to begin.
        with contextlib.suppress(RuntimeError):  # without memory for a thread there are no lines
            _thread.start_new_thread(write_lines, ())
        yield work
    finally:
        with lock:  # no line appears after the work
            ended.set()
        _active.remove(work)
        _silence.end()
