"""One process at a time writes into a run's folder."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from BYOL.errors import UserError


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold a lock that ends with this process, however it ends.

    A POSIX record lock belongs to the process alone: unlike ``flock`` and what is built on it, its
    forked loader workers do not go on holding it when it is killed.

    Args:
        path: the lock's file; made if it is not there, and left.
        what: the flag and its value, for the message.

    Raises:
        UserError: another process holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(descriptor, what)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, what: str) -> None:
    try:
        import fcntl
    except ImportError:  # Windows: without a lock
        return
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
        raise UserError(
            f"{what} is in use by another run (process {holder or 'unknown'}): wait for it, "
            "or give another name"
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
