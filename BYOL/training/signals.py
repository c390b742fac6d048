"""Requests to stop a run: it completes its step, saves a checkpoint and can be resumed.

The signals are SIGTERM, SIGINT, SIGHUP and SIGUSR1 (which SLURM is usually configured to send
before the time is up). The first one is a request; a second one ends the process at once. Loader
processes leave them to this process: see :mod:`BYOL.data.workers`.
"""

import logging
import os
import signal
import threading
import time
from types import FrameType, TracebackType

from BYOL.data.workers import REPEATED
from BYOL.errors import StoppedError

log = logging.getLogger(__name__)
SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGHUP")
    if hasattr(signal, name)
)


def _may_request_stop(number: signal.Signals, handler: object) -> bool:
    """Whether a signal whose present handler is ``handler`` may be a request to stop.

    ``nohup`` ignores SIGHUP, so that a program survives the end of its terminal. A handler that is
    None is not Python's, and could not be installed again.
    """
    hangup = getattr(signal, "SIGHUP", None)
    return handler is not None and not (number == hangup and handler is signal.SIG_IGN)


class StopRequest:
    """A context in which signals are requests to stop.

    Attributes:
        signal_name: name of the signal that was received, or None.
        deferred: whether the run checks ``signal_name``; if not, a signal raises StoppedError.
    """

    def __init__(self) -> None:
        self.signal_name: str | None = None
        self.deferred = False
        self._received_at = 0.0
        self._process = os.getpid()
        self._earlier_handlers: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            earlier = {number: signal.getsignal(number) for number in SIGNALS}
            self._earlier_handlers = {
                n: handler for n, handler in earlier.items() if _may_request_stop(n, handler)
            }
        self.install_handlers()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._earlier_handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def install_handlers(self) -> None:
        """Install the signal handlers; call it again after another library replaced them."""
        for number in self._earlier_handlers:
            signal.signal(number, self._handle)

    def set_deferred(self, deferred: bool) -> None:
        """Set ``deferred``.

        Raises:
            StoppedError: ``deferred`` is False and a signal was received before.
        """
        self.deferred = deferred
        if not deferred and self.signal_name:
            raise self._stopped()

    def _stopped(self) -> StoppedError:
        return StoppedError(
            f"stopped by {self.signal_name}: the same command with --resume auto resumes it"
        )

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a forked loader process: its parent ends it
            return
        now = time.monotonic()
        if self.signal_name:
            if now - self._received_at < REPEATED:
                return
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.signal_name, self._received_at = signal.Signals(number).name, now
        if not self.deferred:
            raise self._stopped()
        log.info(
            f"{self.signal_name}: the step is completed and saved; a second signal stops at once"
        )
