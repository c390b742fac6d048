"""Opening files for reading: a device has no end, and a named pipe may never begin."""

import contextlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)  # the latter on Windows only
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a named pipe would wait for a writer


def reason_not_to_open(path: str | Path) -> str | None:
    """The reason why ``path`` must never be opened as a file: reading it could wait for ever.

    Returns:
        "is a named pipe, which is never opened", or the same for a socket or a device; None for
        files and folders, and for what does not exist.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return None if stat.S_ISDIR(mode) else _reason(mode)


def _reason(mode: int) -> str | None:
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        return "is a folder"
    kind = "named pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"
    return f"is a {kind}, which is never opened"


def read_start(path: Path, most: int) -> bytes:
    """At most ``most`` bytes from the start of a file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no file: see :func:`reason_not_to_open`.
    """
    if reason := reason_not_to_open(path):
        raise ValueError(f"it {reason}")
    descriptor = os.open(path, _READ)  # open() takes three times as long
    try:
        return os.read(descriptor, most)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def utf8_name(path: Path) -> Iterator[Path]:
    """A name of the existing file ``path`` for libraries that accept only UTF-8, as a context.

    Only Linux has other names; there, an open file has a second name.
    """
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield Path(f"/proc/self/fd/{file.fileno()}")
    else:
        yield path


def open_plain(path: Path, most: int | None = None) -> BufferedReader:
    """Open a file of the user's for reading; links are followed.

    Args:
        path: the file.
        most: largest number of bytes; None for any.

    Raises:
        OSError: it cannot be opened, is no file (see :func:`reason_not_to_open`), or is larger than
            ``most``.
    """
    if reason := reason_not_to_open(path):  # a socket cannot be opened at all
        raise OSError(0, f"it {reason}")
    descriptor = os.open(path, _READ | _NO_WAIT)
    status = os.fstat(descriptor)  # the name may mean something else by now
    reason = _reason(status.st_mode)
    if reason is None and (most is None or status.st_size <= most):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(0, f"it {reason}" if reason else f"it is larger than {(most or 0) >> 20:,} MB")
