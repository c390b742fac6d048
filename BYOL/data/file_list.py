"""Pictures that a text file names, one a line."""

import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from BYOL._files import write_atomically
from BYOL.data.path_table import PathTable
from BYOL.data.scan_folder import AFTER_SEPARATOR, SEPARATOR
from BYOL.errors import UserError

_MARK = b"\xef\xbb\xbf"  # of UTF-8, as some editors begin a file


def read_list(path: Path) -> tuple[Path, PathTable]:
    """The folder below which all pictures of a list are, and their paths in it, sorted.

    Args:
        path: the file; names in it are relative to its folder, or absolute. Empty lines count for
            nothing, a name that stands there twice is two pictures.

    Raises:
        UserError: it cannot be read, or names nothing.
    """
    try:
        names = PathTable(_names(path)).sorted()
    except OSError as error:
        raise UserError(f"DATA={path} cannot be read: {error.strerror}") from error
    if not len(names):
        raise UserError(f"DATA={path} names no picture: give a path on each line")
    # the folder that the first and the last in order have in common is common to all
    ends = (names.raw(0), names.raw(len(names) - 1))
    common = os.path.commonpath([os.path.dirname(name) for name in ends])  # noqa: PTH120
    cut = len(common.rstrip(SEPARATOR)) + 1
    return Path(os.fsdecode(common)), PathTable(names.raw(i)[cut:] for i in range(len(names)))


def first_listed(path: Path, most: int) -> list[Path]:
    """Some of the pictures of a list; none where it cannot be read."""
    try:
        return [Path(os.fsdecode(name)) for name in islice(_names(path), most)]
    except OSError:
        return []


def inside(paths: PathTable, folder: str) -> PathTable:
    """Those of sorted paths that are in a folder, relative to it."""
    cut = len(os.fsencode(folder)) + 1
    return PathTable(paths.raw(i)[cut:] for i in places_inside(paths, folder))


def places_inside(paths: PathTable, folder: str) -> range:
    """Where those stand."""
    start, end = os.fsencode(folder) + SEPARATOR, os.fsencode(folder) + AFTER_SEPARATOR
    numbers = range(len(paths))
    return range(*(bisect_left(numbers, edge, key=paths.raw) for edge in (start, end)))


def write_list(path: Path, files: Iterable[str]) -> Path:
    """Write a list that :func:`read_list` takes, whole or not at all.

    Args:
        path: the file.
        files: paths; they are written as absolute ones, so that the list may be moved.

    Raises:
        UserError: a path that no line can hold.
    """

    def write(temporary: Path) -> None:
        with temporary.open("wb") as lines:
            for file in files:
                if "\n" in file or "\r" in file:
                    raise UserError(f"--kept={path}: {file!r} has a line break in its name")
                lines.write(os.fsencode(os.path.abspath(file)) + b"\n")  # noqa: PTH100

    return write_atomically(path, write)


def _names(path: Path) -> Iterator[bytes]:
    """Absolute ones."""
    folder = os.fsencode(path.absolute().parent)
    with path.open("rb") as lines:
        for number, line in enumerate(lines):
            name = (line.removeprefix(_MARK) if number == 0 else line).rstrip(b"\r\n")
            if name:
                yield os.path.normpath(os.path.join(folder, name))  # noqa: PTH118
