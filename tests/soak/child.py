"""A command in a forked process, which is watched and disturbed."""

import contextlib
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

HANG = 120.0  # seconds of a command
_REMAIN = 15.0  # seconds that loader processes may outlive a killed command


class Child:
    """A process of a new group that runs a function in a folder; its output goes to a pipe.

    A file would be subject to the limit of file sizes that a fault sets.

    Args:
        action: returns the exit code.
        folder: its working folder.
    """

    def __init__(self, action: Callable[[], int], folder: Path):
        self._read, write = os.pipe()
        os.set_blocking(self._read, False)
        self._output = bytearray()
        self.process = os.fork()
        if not self.process:
            _run(action, folder, write)
        os.close(write)

    def wait(self, action: Callable[[int], object] | None = None, delay: float = 0.0) -> int | None:
        """Return the exit code, negative for a signal; None if the process had to be ended.

        Args:
            action: called once with the process after ``delay`` seconds.
            delay: see ``action``.
        """
        began = time.monotonic()
        while True:
            ended, status = os.waitpid(self.process, os.WNOHANG)
            self._receive()
            if ended:
                return os.waitstatus_to_exitcode(status) if self._is_alone() else None
            elapsed = time.monotonic() - began
            if action and elapsed >= delay:
                with contextlib.suppress(ProcessLookupError):
                    action(self.process)
                action = None
            if elapsed > HANG:
                os.kill(self.process, signal.SIGUSR2)  # faulthandler prints where it hangs
                time.sleep(1)
                os.killpg(self.process, signal.SIGKILL)
                os.waitpid(self.process, 0)
                self._receive()
                return None
            time.sleep(0.005)

    @property
    def shown(self) -> str:
        """What the process has printed."""
        return self._output.decode("utf-8", "surrogateescape")

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._read)

    def _receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._read, 1 << 16):
                self._output += part

    def _is_alone(self) -> bool:
        """Whether no process of the group remains; those that do are ended."""
        until = time.monotonic() + _REMAIN
        while time.monotonic() < until:
            try:
                os.killpg(self.process, 0)
            except ProcessLookupError:
                return True
            time.sleep(0.02)
        os.killpg(self.process, signal.SIGKILL)
        return False


def _run(action: Callable[[], int], folder: Path, output: int) -> None:
    code: object = 1
    try:
        os.setsid()
        os.chdir(folder)
        for number in (1, 2):
            os.dup2(output, number)
        os.close(output)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
        import faulthandler

        faulthandler.register(signal.SIGUSR2)
        warnings.simplefilter("ignore")
        code = action()
    except SystemExit as error:
        code = error.code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        _exit(code)


def _exit(code: object) -> None:
    """End this process as the interpreter does, exit handlers included."""
    import atexit
    from multiprocessing import util

    with contextlib.suppress(BaseException):
        util._exit_function()  # type: ignore[attr-defined]
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))
