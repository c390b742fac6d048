"""Files that are either whole or not there."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

from BYOL.errors import UserError


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Call ``write(temporary)``, flush to disk, then rename to ``path``: all of it or nothing.

    Args:
        path: the file to make; its folder must exist. An older file there is replaced.
        write: gets a temporary path in the same folder, with the same suffix, and fills it.

    Raises:
        UserError: the file cannot be written (no space, no permission, no such folder).
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {_reason(error)}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "no space left on the device; nothing was changed"
    return error.strerror or str(error)
