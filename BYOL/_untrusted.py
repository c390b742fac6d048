"""Files that may come from another person: what is no plain file, and links that lead elsewhere.

A device has no end, and a named pipe may never begin. A symbolic link in a folder must not lead out
of it.
"""

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path

from BYOL.errors import UserError

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)  # the latter on Windows only
_NO_WAIT = getattr(os, "O_NONBLOCK", 0)  # opening a named pipe would wait for a writer
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_SNAPSHOTS, _BLOBS = "snapshots", "blobs"  # folders of the Hugging Face cache


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


def check_folder_links(folder: Path, subfolders: Iterable[str], argument: str) -> None:
    """Reject a folder in which an entry leads out of it, or is neither a file nor a folder.

    The folder itself may be a link, because the user has named it. Its entries and those of its
    ``subfolders`` are checked. A link whose target is in the folder is accepted.

    Args:
        folder: the folder; nothing is checked if it does not exist.
        subfolders: names of the subfolders whose entries are checked.
        argument: the name of the folder as the user specified it, for the message.

    Raises:
        UserError: it names the first such entry.
    """
    _check(folder, (folder, *(folder / name for name in subfolders)), argument)


def check_tree_links(folder: Path, depth: int, argument: str) -> None:
    """As :func:`check_folder_links`, for the entries of a folder down to ``depth`` levels."""
    places, level = [folder], [folder]
    for _ in range(depth - 1):
        level = [
            Path(entry.path)
            for place in level
            for entry in _entries(place)
            if entry.is_dir(follow_symlinks=False)
        ]
        places += level
    _check(folder, places, argument)


def check_file_link(file: Path, argument: str) -> None:
    """Refuse a file that is a link to a target outside of its folder.

    The Hugging Face cache is accepted. The files of its snapshots are links to ``blobs``.

    Raises:
        UserError: names the file.
    """
    if not file.is_symlink():
        return
    folder = Path(os.path.realpath(file.parent))
    target = Path(os.path.realpath(file))
    cached = folder.parent.name == _SNAPSHOTS and target.parent == folder.parents[1] / _BLOBS
    if not cached and not target.is_relative_to(folder):
        raise UserError(_message(argument, file, "is a link that leads out of its folder"))


def open_no_follow(path: Path, flags: int, mode: int = 0o644) -> int:
    """Open a file with ``os.open``; symbolic links and everything but plain files are refused.

    Raises:
        OSError: as ``os.open``; ELOOP for a link.
    """
    nonblocking = getattr(os, "O_NONBLOCK", 0)  # opening a named pipe would block
    descriptor = os.open(path, flags | _NO_FOLLOW | nonblocking, mode)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "it is not a plain file")
    return descriptor


def _check(folder: Path, places: "tuple[Path, ...] | list[Path]", argument: str) -> None:
    root = Path(os.path.realpath(folder))
    for place in places:
        if place != folder and place.is_symlink():
            continue  # checked before, as an entry of its parent folder
        for entry in _entries(place):
            if entry.is_symlink():
                if not Path(os.path.realpath(entry.path)).is_relative_to(root):
                    what = "is a link that leads out of the folder"
                    raise UserError(_message(argument, Path(entry.path), what))
            elif not (entry.is_file() or entry.is_dir()):
                what = "is neither a file nor a folder"
                raise UserError(_message(argument, Path(entry.path), what))


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            yield from sorted(entries, key=lambda entry: entry.name)
    except OSError:  # missing, or not a folder: reported when it is opened
        return


def _message(argument: str, path: Path, what: str) -> str:
    return f"{argument}: {path} {what}: nothing is read or written through it; remove it"
