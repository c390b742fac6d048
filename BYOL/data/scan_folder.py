"""The images of a folder: their paths, and the classes given by subfolders."""

import heapq
import os
import stat
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from BYOL._console import counted
from BYOL.data.formats.dicom import starts_as_dicom
from BYOL.data.formats.supported import (
    ELSEWHERE,
    FOLDERS,
    MISSING,
    READS_DICOM,
    SUFFIXES,
    UNREAD,
    ending_of,
    may_be_dicom,
)
from BYOL.data.path_table import PathTable
from BYOL.errors import DataError

_MOST_NAMED = 8  # endings that a message names
_SPECIAL, _INACCESSIBLE, _DICOM = "special", "folders", "DICOM without ending"
SEPARATOR = os.fsencode(os.sep)
AFTER_SEPARATOR = bytes([SEPARATOR[0] + 1])  # sorts after everything in a folder


def scan_folder(
    root: Path, passed: "Counter[str] | None" = None, more: frozenset[str] = frozenset()
) -> PathTable:
    """The sorted relative paths of all images below ``root``.

    Symlinks to folders are followed, but no folder is scanned twice, and never into or above
    ``root``. Named pipes, sockets and devices are never opened, whatever their name. Memory is
    limited to the bytes of the names and a few numbers for each.

    Args:
        root: the folder.
        passed: counts skipped entries, see :func:`skip_remarks`.
        more: further endings that count as images.
    """
    return PathTable(images_below(root, Counter() if passed is None else passed, more)).sorted()


def images_below(root: Path, passed: "Counter[str]", more: frozenset[str]) -> Iterator[bytes]:
    """Yield the paths of the images below ``root``, unsorted, and count skipped entries."""
    start = os.fsencode(root)
    cut = len(start.rstrip(SEPARATOR)) + 1
    pending = _PendingFolders(start)
    for folder in pending:
        try:
            entries = os.scandir(folder)
        except PermissionError:
            if folder == start:
                raise DataError(f"DATA={root} cannot be accessed") from None
            passed[_INACCESSIBLE] += 1
            continue
        with entries:
            for entry in entries:
                if entry.name.startswith(b"."):
                    continue
                ending = ending_of(entry.name)
                if is_image_entry(entry, ending, more):
                    yield entry.path[cut:]
                elif ending not in FOLDERS and is_folder(entry):
                    pending.add(entry)
                elif (reason := _skip_reason(entry, ending)) is not None:
                    passed[reason] += 1


def is_image_entry(
    entry: "os.DirEntry[Any]", ending: str, more: frozenset[str] = frozenset()
) -> bool:
    """Whether an entry of a folder is an image: by its ending, or a DICOM file by its content.

    Args:
        entry: of a folder.
        ending: of its name.
        more: further endings that count as images.
    """
    if ending in FOLDERS:
        return ending in SUFFIXES and is_folder(entry) and is_zarr(entry.path)
    if ending in SUFFIXES or ending in more:
        return _is_file(entry)
    return may_be_dicom(ending) and READS_DICOM and _is_dicom(entry)


def is_zarr(folder: Any) -> bool:
    """Whether a folder has the metadata of a Zarr array or group."""
    names = ("zarr.json", ".zarray", ".zgroup")
    return any(os.path.isfile(os.path.join(os.fsdecode(folder), name)) for name in names)  # noqa: PTH113, PTH118


def _is_file(entry: "os.DirEntry[Any]") -> bool:
    """Whether ``entry`` is a regular file; a broken symlink counts, so that reading it reports."""
    if entry.is_file(follow_symlinks=False):
        return True
    if not entry.is_symlink():
        return False
    try:
        return stat.S_ISREG(entry.stat().st_mode)
    except OSError:
        return True


def _is_dicom(entry: "os.DirEntry[Any]") -> bool:
    """Whether ``entry`` is a DICOM file by its content; the index DICOMDIR is none."""
    return _is_file(entry) and not _is_index(entry) and starts_as_dicom(entry.path)


def _is_index(entry: "os.DirEntry[Any]") -> bool:
    return os.fsdecode(entry.name).upper() == "DICOMDIR"


def _skip_reason(entry: "os.DirEntry[Any]", ending: str) -> str | None:
    """The key under which a skipped ``entry`` is counted; None for what needs no remark."""
    if is_folder(entry):
        return ending if ending in FOLDERS else None
    if _is_index(entry):
        return None
    if not _is_file(entry):
        return _SPECIAL
    return _DICOM if may_be_dicom(ending) and _is_dicom(entry) else ending


def skip_remarks(passed: "Counter[str]") -> list[str]:
    """Messages about the entries that :func:`scan_folder` skipped.

    Args:
        passed: their numbers by ending, ``""`` for files without one; ``folders`` are folders that
            cannot be accessed, ``special`` are named pipes, sockets and devices.
    """
    folders, special = passed.pop(_INACCESSIBLE, 0), passed.pop(_SPECIAL, 0)
    remarks = [f"left out: {counted(folders, 'folder')} that cannot be accessed"] if folders else []
    if special:
        remarks.append(f"left out, and never opened: {special:,} named pipes, sockets or devices")
    extras = {**MISSING, _DICOM: "dicom"}
    hints = {e: f"read after pip install 'BYOL[{extra}]'" for e, extra in extras.items()}
    hints |= ELSEWHERE | {e: "convert them first" for e in UNREAD if e not in hints}
    for hint in sorted({hints[ending] for ending in passed if ending in hints}):
        counts = {e: n for e, n in passed.most_common() if hints.get(e) == hint}
        if hint == "convert them first":
            formats = _counted(counts)
            remarks.append(f"left out, because of an unsupported format: {formats}; {hint}")
        else:
            remarks.append(f"left out: {_counted(counts)}{', ' if 'pip' in hint else '; '}{hint}")
    if others := {ending: n for ending, n in passed.most_common() if ending not in hints}:
        remarks.append(f"left out, because they are no images: {_counted(others)}")
    return remarks


def no_images_error(root: Path, passed: "Counter[str]") -> DataError:
    """The error for a folder without images: what is in it instead, and what would read it."""
    remarks = [remark.removeprefix("left out: ") for remark in skip_remarks(passed)]
    inside = "; ".join(remarks) or "it is empty"
    return DataError(
        f"DATA={root} contains no images: {inside}; images are .jpg, .png, .tif and other files "
        "(docs/formats.md)"
    )


def _counted(counts: dict[str, int]) -> str:
    named = [f"{n:,} {ending or 'without ending'}" for ending, n in counts.items()]
    further = len(named) - _MOST_NAMED
    if further > 1:
        rest = sum(list(counts.values())[_MOST_NAMED:])
        named[_MOST_NAMED:] = [f"{rest:,} of {further} further endings"]
    return ", ".join(named)


class _PendingFolders:
    """Iterates over the folders to scan: no image is listed twice, and every scan ends.

    Symlinks are followed last and in the order of their paths, so that the order of the entries in
    a folder does not decide by which of several paths an image is listed.

    Args:
        root: the start of the scan.
    """

    def __init__(self, root: bytes):
        self._root = os.path.realpath(root)
        self._folders = [root]
        self._links: list[bytes] = []  # a heap
        self._linked: set[bytes] = set()  # the real paths of the scanned folders outside the root

    def __iter__(self) -> Iterator[bytes]:
        while self._folders:
            yield self._folders.pop()
        while self._links:
            link = heapq.heappop(self._links)
            target = os.path.realpath(link)
            self._folders.append(link)
            while self._folders:
                folder = self._folders.pop()
                if self._is_new(target + folder[len(link) :]):
                    yield folder

    def add(self, entry: "os.DirEntry[bytes]") -> None:
        """Add a folder, or a symlink to one, of the folder that was yielded last."""
        if entry.is_symlink():
            heapq.heappush(self._links, entry.path)
        else:
            self._folders.append(entry.path)

    def _is_new(self, real: bytes) -> bool:
        """Whether a folder that was reached through a symlink must be scanned."""
        related = os.path.commonpath((self._root, real)) in (self._root, real)
        if related or real in self._linked:
            return False
        self._linked.add(real)
        return True


def is_image_file(name: bytes) -> bool:
    """Whether the ending of ``name`` is that of a supported image format."""
    return ending_of(name) in SUFFIXES


def is_folder(entry: "os.DirEntry[Any]") -> bool:
    """Whether ``entry`` is a folder, or a symlink to one."""
    try:
        return entry.is_dir()
    except OSError:  # a symlink to itself, an inaccessible folder
        return False


def stray_file(files: PathTable) -> str | None:
    """The first of a few images outside the class folders, which then give no labels; else None.

    Args:
        files: sorted.
    """
    stray: list[bytes] = []
    folders, most = 0, max(len(files) // 100, 1)
    for name, in_folder, _ in root_entries(files):
        if in_folder:
            folders += 1
        elif len(stray) > most:
            break
        else:
            stray.append(name)
    few = 0 < len(stray) <= most
    return os.fsdecode(stray[0]) if few and folders > 1 else None


def root_entries(files: PathTable) -> Iterator[tuple[bytes, bool, int]]:
    """Yield the direct children of the root of sorted paths, in order.

    The images of a folder are consecutive, so they are skipped by binary search.

    Yields:
        The name, whether it is a folder, and the index after its last image.
    """
    place = 0
    while place < len(files):
        name, separator, _ = files.raw(place).partition(SEPARATOR)
        place += 1
        if separator:
            edge = name + AFTER_SEPARATOR
            place = bisect_left(range(len(files)), edge, place, key=files.raw)
        yield name, bool(separator), place


def class_folders(
    files: PathTable, classes: tuple[str, ...]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels from the first folder of every path; None unless all images are in class folders.

    Args:
        files: sorted; at least two class folders are required, or one with a name in ``classes``.
        classes: names that already have numbers.
    """
    runs: list[tuple[str, int]] = []
    for folder, in_folder, end in root_entries(files):
        if not in_folder:
            return None, ()
        runs.append((os.fsdecode(folder), end))
    names = sorted(name for name, _ in runs)
    if len(names) < 2 and not set(names) & set(classes):
        return None, ()
    order = (*classes, *(name for name in names if name not in classes))
    number = {name: i for i, name in enumerate(order)}
    counts = np.diff([0, *(end for _, end in runs)])
    return np.repeat(np.array([number[name] for name, _ in runs]), counts), order
