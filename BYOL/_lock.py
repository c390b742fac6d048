"""One process at a time writes into a run's folder."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from BYOL._links import open_no_follow
from BYOL.errors import UserError

# of folders that know no locks, such as Lustre mounted without them: as on Windows, no lock
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextlib.contextmanager
def claimed(path: Path, wait: bool = False, what: str | None = None) -> Iterator[bool]:
    """Hold a lock that ends with this process, however it ends; whether it is held.

    A POSIX record lock belongs to the process alone: unlike ``flock`` and what is built on it, its
    forked loader workers do not go on holding it when it is killed. Network folders know it too.

    Args:
        path: the lock's file; made if it is not there, and left.
        wait: until another process that holds it lets go; then it is always held.
        what: the flag and its value, for the message; without it the folder.

    Raises:
        UserError: the folder may not be written to.
    """
    try:
        descriptor = open_no_follow(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        if path.is_symlink():
            raise UserError(f"{what or path.parent}: {path} is a link: remove it") from error
        reason = error.strerror or str(error)
        raise UserError(f"{what or path.parent} cannot be written to: {reason}") from error
    try:
        if not _is_lock(descriptor):
            raise UserError(f"{what or path.parent}: {path} is not a lock: it is left as it is")
        yield _take(descriptor, wait)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock of :func:`claimed`, or refuse.

    Args:
        path: the lock's file.
        what: the flag and its value, for the message.

    Raises:
        UserError: another process holds it, or the folder may not be written to.
    """
    with claimed(path, what=what) as mine:
        if not mine:
            raise UserError(
                f"{what} is in use by another run (process {_holder(path)}): wait for it, or give "
                "another name"
            )
        yield


def _is_lock(descriptor: int) -> bool:
    """Whether a file is empty or holds a process's number: nothing else is overwritten."""
    content = os.pread(descriptor, 32, 0).strip(b"\0 \r\n") if hasattr(os, "pread") else b""
    return len(content) < 21 and (not content or content.isdigit())


def _holder(path: Path) -> str:
    """The number of the process that holds a lock, as its file has it."""
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
    except ImportError:  # Windows: without a lock
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
