"""Room on the disk for what does not fit into memory, as long as a command runs."""

import errno
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from BYOL.errors import UserError


@dataclass
class Room:
    """A temporary folder.

    Args:
        folder: its path.
        wanted: bytes that are to be written there.
    """

    folder: Path
    wanted: int = 0

    def reserve(self, size: int) -> None:
        """Refuse at once what would fill the disk in hours.

        Raises:
            UserError: there is less.
        """
        self.wanted = size
        if shutil.disk_usage(self.folder).free < size:
            raise self._full()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Someone else may fill the disk, or there may be a quota.

        Raises:
            UserError: it is full.
        """
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise self._full() from error

    def _full(self) -> UserError:
        return UserError(
            f"the temporary folder {self.folder.parent} has no room for {self.wanted:,} bytes: "
            "name another in the environment variable TMPDIR"
        )


@contextmanager
def temporary_folder() -> Iterator[Room]:
    """A folder that goes with the context, and with SIGTERM, which would leave it there.

    Raises:
        UserError: none can be made.
    """
    main = threading.current_thread() is threading.main_thread()
    mine = main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    process = os.getpid()

    def end(number: int, _: object) -> None:
        if os.getpid() == process:
            sys.exit(128 + number)
        signal.signal(number, signal.SIG_DFL)  # a forked loader worker
        os.kill(os.getpid(), number)

    try:
        folder = tempfile.TemporaryDirectory(prefix="byol-")
    except OSError as error:
        raise UserError(
            f"no temporary folder can be made ({error.strerror or error}): name one in the "
            "environment variable TMPDIR"
        ) from error
    with folder as name:
        if mine:
            signal.signal(signal.SIGTERM, end)
        try:
            yield Room(Path(name))
        finally:
            if mine:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
