"""Standard output and error that are closed, full or broken."""

import _thread
import contextlib
import os
import signal
import sys
import threading

from BYOL._console import STDERR
from BYOL.errors import StoppedError

_AGAIN = 0.05  # seconds until a dropped Ctrl-C is repeated: longer than a fork
BROKEN_PIPE = 141  # the exit code that a shell reports for a program ended by SIGPIPE


def open_closed_streams() -> None:
    """Open the null device in place of closed standard streams.

    Otherwise the next file that is opened gets the number of the closed stream, and libraries that
    write to standard error would write into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one


def show_unraisable(args: "sys.UnraisableHookArgs") -> None:
    """Print an error that cannot be raised where it happens, for ``sys.unraisablehook``.

    A lack of memory and a request to stop are not printed: the command ends with a line about
    them, because what needs the memory fails, too, and a run checks for requests after each step.
    Ctrl-C, which Python drops while it forks a process, is repeated.
    """
    if issubclass(args.exc_type, KeyboardInterrupt):
        again = threading.Timer(_AGAIN, _interrupt)
        again.daemon = True
        again.start()
    elif not issubclass(args.exc_type, MemoryError | StoppedError):
        sys.__unraisablehook__(args)


def _interrupt() -> None:
    """Send SIGINT to the main thread, which wakes it if it waits."""
    thread = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and thread:
        signal.pthread_kill(thread, signal.SIGINT)
    else:
        _thread.interrupt_main()


def output_is_needed(argv: list[str]) -> bool:
    """Whether the printed text is all that the command produces. A run keeps it in its folder."""
    return "--json" in argv or argv[:1] not in (["pretrain"], ["sweep"])


def print_answer(text: str, code: int, *, needed: bool = True) -> int:
    """Print ``text`` on standard output, and return the exit code.

    Args:
        text: the text; nothing is printed if it is empty.
        code: the exit code if the text can be written.
        needed: whether the command has failed if the text cannot be written.
    """
    if sys.stdout is None or not text:
        return code
    try:
        print(text)
        sys.stdout.flush()
        return code
    except OSError as error:
        _drop_output()
        if isinstance(error, BrokenPipeError):
            return BROKEN_PIPE
        print(f"byol: standard output cannot be written: {error.strerror}", file=STDERR)
        return 2 if needed else code


def _drop_output() -> None:
    """Send standard output nowhere: the interpreter flushes it again at exit and would fail."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
