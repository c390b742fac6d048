"""A run that is asked to stop: it finishes its step, saves, and says that it can go on.

Signals are SIGTERM and SIGINT, SIGUSR1 (what SLURM is usually told to send before the time is up),
and SIGHUP. The first one asks; a second one ends the process at once.
"""

import logging
import os
import signal
import threading
import time
from types import FrameType, TracebackType

from BYOL.errors import StoppedError

log = logging.getLogger(__name__)
SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP")
    if hasattr(signal, name)
)
_SAME = 0.2  # seconds: a launcher and a terminal may both pass on one signal


class StopRequest:
    """A context in which signals are requests; the first one is logged."""

    def __init__(self) -> None:
        self.asked: str | None = None
        self.deferred = False
        self._at = 0.0
        self._process = os.getpid()
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.getsignal(number) for number in SIGNALS}
        self.listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def listen(self) -> None:
        """Take the signals over; again after someone else has taken them."""
        for number in self._before:
            signal.signal(number, self._handle)

    def defer(self, deferred: bool) -> None:
        """Whether someone will look at :attr:`asked`; otherwise a signal stops right away."""
        self.deferred = deferred
        if not deferred and self.asked:
            raise self._stopped()

    def _stopped(self) -> StoppedError:
        return StoppedError(f"stopped by {self.asked}: the same line with --resume auto goes on")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked loader worker: its parent ends it
            return
        now = time.monotonic()
        if self.asked:
            if now - self._at < _SAME:
                return
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.asked, self._at = signal.Signals(number).name, now
        if not self.deferred:
            raise self._stopped()
        log.info(f"{self.asked}: the step is finished and saved; once more stops at once")
