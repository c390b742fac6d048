"""Locks that ensure that only one process at a time writes into a run folder."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from BYOL._untrusted import open_no_follow
from BYOL.errors import MachineError, UserError

# errors of file systems without locks, such as some Lustre mounts: no lock is used, as on Windows
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextlib.contextmanager
def claimed(path: Path, wait: bool = False, what: str | None = None) -> Iterator[bool]:
    """Take a lock that ends with this process, and yield whether it was taken.

    A POSIX record lock belongs to one process. Unlike with ``flock``, forked loader workers do not
    hold it after the process is killed. Network file systems support it too.

    Args:
        path: the lock file. It is created if necessary, and not deleted.
        wait: whether to wait until another process releases the lock.
        what: the flag and its value, for the message; None for the folder.

    Yields:
        Whether this process holds the lock; always true with ``wait``.

    Raises:
        UserError: the folder is not writable, or ``path`` is not a lock file.
    """
    try:
        descriptor = open_no_follow(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        if path.is_symlink():
            raise UserError(f"{what or path.parent}: {path} is a link: remove it") from error
        reason = error.strerror or str(error)
        raise MachineError(f"{what or path.parent} cannot be written to: {reason}") from error
    try:
        if not _is_lock(descriptor):
            raise UserError(f"{what or path.parent}: {path} is not a lock file: it is not changed")
        yield _take(descriptor, wait)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Take the lock of :func:`claimed`, or raise an error if another process holds it.

    Args:
        path: the lock file.
        what: the flag and its value, for the message.

    Raises:
        UserError: another process holds the lock, or the folder is not writable.
    """
    with claimed(path, what=what) as mine:
        if not mine:
            raise UserError(
                f"{what} is in use by another run (process {_holder(path)}): wait for it, or give "
                "another name"
            )
        yield


def _is_lock(descriptor: int) -> bool:
    """Whether a file is empty or holds a process number. No other file is overwritten."""
    content = os.pread(descriptor, 32, 0).strip(b"\0 \r\n") if hasattr(os, "pread") else b""
    return len(content) < 21 and (not content or content.isdigit())


def _holder(path: Path) -> str:
    """The number of the process that holds the lock, from the lock file."""
    try:
        descriptor = open_no_follow(path, os.O_RDONLY)
    except OSError:
        return "unknown"
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(20).strip()
    return content.decode() if content.isdigit() else "unknown"


def _take(descriptor: int, wait: bool) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: no lock is used
        return True
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return True
        if error.errno in (errno.EACCES, errno.EAGAIN):
            return False
        raise
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return True
