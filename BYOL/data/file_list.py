"""Lists of images: text files with one path per line."""

import io
import logging
import os
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from BYOL._console import counted
from BYOL._files import write_atomically
from BYOL._untrusted import open_plain
from BYOL.data.csv_table import marked_encoding
from BYOL.data.path_table import PathTable
from BYOL.data.scan_folder import AFTER_SEPARATOR, SEPARATOR
from BYOL.errors import DataError

log = logging.getLogger(__name__)
_COMMENT = b"#"
_INSPECTED = 1 << 12  # bytes from which the encoding is detected


def read_list(path: Path) -> tuple[Path, PathTable]:
    """Read a list of images as their common folder and their sorted paths relative to it.

    Args:
        path: the list in UTF-8, UTF-16 or UTF-32; its entries are absolute or relative to its
            folder. Blank lines are ignored, and so are comments: lines that start with # and name
            no file. Spaces around a path are removed if no file has that name. A path that is
            listed twice counts as two images.

    Raises:
        UserError: the list cannot be read or is empty.
    """
    try:
        comments: list[bytes] = []
        names = PathTable(_names(path, comments)).sorted()
    except OSError as error:
        raise DataError(f"DATA={path} cannot be read: {error.strerror}") from error
    if not len(names):
        raise DataError(f"DATA={path} names no image: write one path per line")
    if comments:
        log.info(f"DATA={path}: {counted(len(comments), 'line')} left out as comments (#)")
    # The common folder of the first and the last sorted path is common to all paths.
    ends = (names.raw(0), names.raw(len(names) - 1))
    common = os.path.commonpath([os.path.dirname(name) for name in ends])  # noqa: PTH120
    cut = len(common.rstrip(SEPARATOR)) + 1
    return Path(os.fsdecode(common)), PathTable(names.raw(i)[cut:] for i in range(len(names)))


def first_list_entries(path: Path, most: int) -> list[Path]:
    """The first ``most`` images of the list ``path``; none if it cannot be read."""
    try:
        return [Path(os.fsdecode(name)) for name in islice(_names(path), most)]
    except (OSError, DataError):  # opening the list reports the error
        return []


def paths_in_folder(paths: PathTable, folder: str) -> PathTable:
    """The entries of sorted ``paths`` below ``folder``, relative to it."""
    cut = len(os.fsencode(folder)) + 1
    return PathTable(paths.raw(i)[cut:] for i in rows_in_folder(paths, folder))


def rows_in_folder(paths: PathTable, folder: str) -> range:
    """The range of indices in sorted ``paths`` whose entries are below ``folder``."""
    start, end = os.fsencode(folder) + SEPARATOR, os.fsencode(folder) + AFTER_SEPARATOR
    numbers = range(len(paths))
    return range(*(bisect_left(numbers, edge, key=paths.raw) for edge in (start, end)))


def write_list(path: Path, files: Iterable[str]) -> Path:
    """Write a list that :func:`read_list` accepts, completely or not at all.

    Args:
        path: the list.
        files: paths; they are written as absolute paths, so the list can be moved.

    Raises:
        UserError: a path contains a line break.
    """

    def write(temporary: Path) -> None:
        with temporary.open("wb") as lines:
            for file in files:
                if "\n" in file or "\r" in file:
                    raise DataError(f"--kept={path}: {file!r} has a line break in its name")
                lines.write(os.fsencode(os.path.abspath(file)) + b"\n")  # noqa: PTH100

    return write_atomically(path, write)


def _names(path: Path, comments: list[bytes] | None = None) -> Iterator[bytes]:
    """Yield the absolute paths of a list; lines with a comment are appended to ``comments``.

    Raises:
        OSError: it cannot be read.
        DataError: it is no text.
    """
    folder = os.fsencode(path.absolute().parent)
    with open_plain(path) as file:
        encoding, start = marked_encoding(file.read(_INSPECTED))
        file.seek(start)
        try:
            for line in file if encoding == "utf-8" else _decoded(file, encoding):
                if b"\0" in line:
                    raise DataError(f"DATA={path} is binary, not a list: write one path per line")
                name = _place(folder, line.rstrip(b"\r\n"))
                if name is not None:
                    yield name
                elif comments is not None and line.strip():
                    comments.append(line)
        except UnicodeError as error:
            raise DataError(
                f"DATA={path} cannot be read: it is not valid {encoding.upper()}; save it as UTF-8"
            ) from error


def _place(folder: bytes, line: bytes) -> bytes | None:
    """Return the absolute path that a line names; None for a blank line and for a comment."""
    place = os.path.normpath(os.path.join(folder, line))  # noqa: PTH118
    text = line.strip()
    if (text != line or text.startswith(_COMMENT)) and not os.path.lexists(place):
        if not text or text.startswith(_COMMENT):
            return None
        return os.path.normpath(os.path.join(folder, text))  # noqa: PTH118
    return place if text else None


def _decoded(file: Any, encoding: str) -> Iterator[bytes]:
    """The lines of an open file in UTF-16 or UTF-32, with the bytes of names of files."""
    return map(os.fsencode, io.TextIOWrapper(file, encoding, newline="\n"))
