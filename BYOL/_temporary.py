"""Names of temporary files, and the removal of those that a killed process has left.

A file is written under a hidden name in the folder of its destination, and renamed when it is
complete. The hidden name holds the machine and the number of the process, so that the next process
that writes into the folder can tell whether its owner still runs.
"""

import contextlib
import hashlib
import os
import re
import shutil
import socket
from pathlib import Path

from BYOL.errors import MachineError

_PATTERN = re.compile(
    r"\.byol-([0-9a-f]{8})-(\d+)-(?:[0-9a-f]{12}\.tmp(\..{0,20})?|\w{8})", re.DOTALL
)
_EARLIER = re.compile(r"\..+\.\d+\.tmp(\.\w{0,20})?", re.DOTALL)  # names of version 0.1
_cleaned: set[tuple[str, int]] = set()  # folders, each with the process that has cleaned it


def no_space(folder: Path | str, size: int) -> MachineError:
    """Return the error for a temporary folder that has less than ``size`` bytes of free space."""
    return MachineError(
        f"the temporary folder {folder} has too little free space for {size:,} bytes: set the "
        "environment variable TMPDIR to another folder"
    )


def temporary_path(path: Path) -> Path:
    """Return the hidden name for ``path`` in the same folder, with the same suffix if it is short.

    The name is shorter than any limit of a file system, however long the name of ``path`` is. The
    folder is cleaned of files of dead processes first, once per process.
    """
    _clean_once(path.parent)
    name = hashlib.blake2b(os.fsencode(path.name), digest_size=6).hexdigest()
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= 20 else ""
    return path.with_name(f".byol-{_machine()}-{os.getpid()}-{name}.tmp{suffix}")


def temporary_prefix(folder: Path) -> str:
    """Return the beginning of a hidden name in ``folder``, for ``tempfile``, and clean the folder.

    Eight random letters must follow.
    """
    _clean_once(folder)
    return f".byol-{_machine()}-{os.getpid()}-"


def is_temporary(name: str) -> bool:
    """Return whether ``name`` is one of :func:`temporary_path`, or of an earlier version."""
    return bool(_PATTERN.fullmatch(name) or _EARLIER.fullmatch(name))


def _machine() -> str:
    """Return a hash of what makes a process number unique: the host and its process namespace."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116  # containers have their own
    except OSError:
        namespace = 0
    text = f"{socket.gethostname()} {namespace}"
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _clean_once(folder: Path) -> None:
    key = str(folder), os.getpid()
    if key not in _cleaned:
        _cleaned.add(key)
        remove_leftovers(folder)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files and folders of dead processes of this machine in ``folder``."""
    machine = _machine()
    try:
        with os.scandir(folder) as entries:
            found = [entry.name for entry in entries if entry.name.startswith(".byol-")]
    except OSError:  # missing or unreadable: reported when something is written
        return
    for name in found:
        match = _PATTERN.fullmatch(name)
        if match and match[1] == machine and not _is_alive(int(match[2])):
            remove(folder / name)


def remove(path: Path) -> None:
    """Remove a temporary file or folder, if possible. A link is removed, not its target."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # a process of another user
        return True
    return True
