"""The images of a folder: their paths, and the classes given by subfolders."""

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from BYOL.data.formats.supported import MISSING, SUFFIXES, UNREAD
from BYOL.data.path_table import PathTable
from BYOL.errors import DataError

_MOST_ENTRIES = 10_000  # entries of one folder that are read for samples
_MOST_FOLDERS = 32  # folders that are read for samples
SEPARATOR = os.fsencode(os.sep)
AFTER_SEPARATOR = bytes([SEPARATOR[0] + 1])  # sorts after everything in a folder
_SUFFIXES = frozenset(os.fsencode(suffix) for suffix in SUFFIXES)
_UNREAD = frozenset(os.fsencode(suffix) for suffix in UNREAD)


def scan_folder(root: Path, passed: "Counter[str] | None" = None) -> PathTable:
    """The sorted relative paths of all images below ``root``.

    Symlinks to folders are followed, but never twice to the same folder and never into or above
    ``root``. Memory is limited to the bytes of the names and a few numbers for each.

    Args:
        root: the folder.
        passed: counts skipped entries: files of unsupported image formats by suffix, and
            inaccessible folders as "folders".
    """
    return PathTable(_below(root, Counter() if passed is None else passed)).sorted()


def _below(root: Path, passed: "Counter[str]") -> Iterator[bytes]:
    """Yield the paths of the images below ``root``, unsorted, and count skipped entries."""
    start = os.fsencode(root)
    pending = [start]
    cut = len(start.rstrip(SEPARATOR)) + 1
    links = _Links(start)
    while pending:
        folder = pending.pop()
        try:
            entries = os.scandir(folder)
        except PermissionError:
            if folder == start:
                raise DataError(f"DATA={root} cannot be accessed") from None
            passed["folders"] += 1
            continue
        with entries:
            for entry in entries:
                if entry.name.startswith(b"."):
                    continue
                if is_image_file(entry.name) and not entry.is_dir(follow_symlinks=False):
                    yield entry.path[cut:]
                elif links.should_follow(entry):
                    pending.append(entry.path)
                elif (ending := _suffix(entry.name)) in _UNREAD:
                    passed[os.fsdecode(ending)] += 1


def skip_remarks(passed: "Counter[str]") -> list[str]:
    """Messages about the entries that :func:`scan_folder` skipped."""
    folders = passed.pop("folders", 0)
    plural = "s" if folders > 1 else ""
    remarks = [f"left out: {folders} folder{plural} that cannot be accessed"] if folders else []
    for extra in sorted({MISSING[ending] for ending in passed if ending in MISSING}):
        counts = {e: n for e, n in passed.most_common() if MISSING.get(e) == extra}
        remarks.append(f"left out: {_counted(counts)}, read after pip install 'BYOL[{extra}]'")
    unsupported = {ending: n for ending, n in passed.most_common() if ending not in MISSING}
    if unsupported:
        formats = _counted(unsupported)
        remarks.append(f"left out, because of an unsupported format: {formats}; convert them first")
    return remarks


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {ending}" for ending, count in counts.items())


class _Links:
    """Decides which symlinks to follow: no image is listed twice, and every scan ends.

    Args:
        root: the start of the scan.
    """

    def __init__(self, root: bytes):
        self.root = os.path.realpath(root)
        self._visited: set[bytes] = set()

    def should_follow(self, entry: "os.DirEntry[bytes]") -> bool:
        """Whether ``entry`` is a folder, or a symlink to one, that must be scanned."""
        if not entry.is_symlink():
            return entry.is_dir()
        target = os.path.realpath(entry.path)
        if target in self._visited or not os.path.isdir(target):  # noqa: PTH112
            return False
        self._visited.add(target)
        return os.path.commonpath((self.root, target)) not in (self.root, target)


def is_image_file(name: bytes) -> bool:
    """Whether the suffix of ``name`` is that of a supported image format."""
    return _suffix(name) in _SUFFIXES


def _suffix(name: bytes) -> bytes:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122


def is_folder(entry: "os.DirEntry[Any]") -> bool:
    """Whether ``entry`` is a folder, or a symlink to one."""
    try:
        return entry.is_dir()
    except OSError:  # a symlink to itself, an inaccessible folder
        return False


def sample_files(root: Path, most: int) -> list[Path]:
    """At most ``most`` images from several folders below ``root``, without a complete scan."""
    by_folder: list[list[Path]] = []
    pending = [root]
    for _ in range(_MOST_FOLDERS):
        if not pending:
            break
        try:
            with os.scandir(pending.pop(0)) as entries:
                seen = sorted(islice(entries, _MOST_ENTRIES), key=lambda entry: entry.name)
        except OSError:
            continue
        by_folder.append([Path(e.path) for e in seen if is_image_file(os.fsencode(e.name))][:most])
        pending += [Path(e.path) for e in seen if is_folder(e) and not e.name.startswith(".")]
    interleaved = chain.from_iterable(zip_longest(*by_folder))
    return list(islice((path for path in interleaved if path), most))


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
        files: sorted; at least two class folders are required.
        classes: names that already have numbers.
    """
    runs: list[tuple[str, int]] = []
    for folder, in_folder, end in root_entries(files):
        if not in_folder:
            return None, ()
        runs.append((os.fsdecode(folder), end))
    names = sorted(name for name, _ in runs)
    if len(names) < 2:
        return None, ()
    order = classes or tuple(names)
    order = (*order, *(name for name in names if name not in order))
    number = {name: i for i, name in enumerate(order)}
    counts = np.diff([0, *(end for _, end in runs)])
    return np.repeat(np.array([number[name] for name, _ in runs]), counts), order
