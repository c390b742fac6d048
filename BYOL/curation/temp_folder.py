"""A temporary folder for data that does not fit into memory, removed when the command ends.

``tempfile.TemporaryDirectory`` creates and removes the folder. This module adds the removal on
SIGTERM and error messages for a full disk.
"""

import errno
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from BYOL._temporary import no_space, temporary_prefix
from BYOL.errors import UserError


@dataclass
class TemporaryFolder:
    """A temporary folder.

    Args:
        folder: path of the folder.
        wanted: number of bytes that will be written, for the error message.
    """

    folder: Path
    wanted: int = 0

    def reserve(self, size: int) -> None:
        """Check before the work starts that ``size`` bytes are free.

        Raises:
            UserError: fewer bytes are free.
        """
        self.wanted = size
        if shutil.disk_usage(self.folder).free < size:
            raise self._full()

    @contextmanager
    def check_disk_full(self) -> Iterator[None]:
        """Convert errors of a full disk or an exceeded quota inside the context to a UserError.

        Raises:
            UserError: the disk is full or a quota is exceeded.
        """
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise self._full() from error

    def _full(self) -> UserError:
        return no_space(self.folder.parent, self.wanted)


@contextmanager
def temporary_folder() -> Iterator[TemporaryFolder]:
    """Return a context with a folder that is removed at its end, and on SIGTERM.

    Raises:
        UserError: no folder can be created.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    handles_sigterm = in_main_thread and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    process = os.getpid()

    def end_on_signal(number: int, _: object) -> None:
        # No exception, which Python would print and drop if it is just forking a loader process.
        if os.getpid() == process:  # a forked loader process must not remove the folder
            shutil.rmtree(folder.name, ignore_errors=True)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    try:
        folder = tempfile.TemporaryDirectory(prefix=temporary_prefix(Path(tempfile.gettempdir())))
    except OSError as error:
        raise UserError(
            f"no temporary folder can be created ({error.strerror or error}): set the environment "
            "variable TMPDIR to another folder"
        ) from error
    with folder as name:
        if handles_sigterm:
            signal.signal(signal.SIGTERM, end_on_signal)
        try:
            yield TemporaryFolder(Path(name))
        finally:
            if handles_sigterm:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
