"""The pictures of a folder: their paths, and the classes that its folders name."""

import os
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from BYOL.data.decode import SUFFIXES
from BYOL.data.paths import PathTable

_LOOKED_AT = 10_000  # names of one folder among which the first are looked for
SEPARATOR = os.fsencode(os.sep)
AFTER_SEPARATOR = bytes([SEPARATOR[0] + 1])  # what is in a folder stands before it
_SUFFIXES = frozenset(os.fsencode(suffix) for suffix in SUFFIXES)


def walk(root: Path) -> PathTable:
    """Relative paths of all pictures below ``root``, sorted; links to folders are not followed.

    No more than the names' own bytes and a few numbers for each are held, however many there are.
    """
    return PathTable(_below(root)).sorted()


def _below(root: Path) -> Iterator[bytes]:
    start = os.fsencode(root)
    pending = [start]
    cut = len(start.rstrip(SEPARATOR)) + 1
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.name.startswith(b"."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                elif is_picture(entry.name):
                    yield entry.path[cut:]


def is_picture(name: bytes) -> bool:
    """Whether a file's ending is one of a picture."""
    return os.path.splitext(name)[1].lower() in _SUFFIXES  # noqa: PTH122


def first_files(root: Path, most: int) -> list[Path]:
    """Some pictures, without walking the whole tree."""
    found: list[Path] = []
    pending = [root]
    while pending and len(found) < most:
        with os.scandir(pending.pop(0)) as entries:
            seen = sorted(islice(entries, _LOOKED_AT), key=lambda entry: entry.name)
        found += [Path(e.path) for e in seen if is_picture(os.fsencode(e.name))]
        pending += [Path(e.path) for e in seen if e.is_dir(follow_symlinks=False)]
    return found[:most]


def class_folders(
    files: PathTable, classes: tuple[str, ...]
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels by the first folder of every path, where every picture is in one of at least two.

    Args:
        files: sorted, so that a folder's pictures stand together and need not be looked at singly.
        classes: names that have their numbers already.
    """
    runs: list[tuple[str, int]] = []
    start = 0
    while start < len(files):
        folder, separator, _ = files.raw(start).partition(SEPARATOR)
        if not separator:
            return None, ()
        start = bisect_left(range(len(files)), folder + AFTER_SEPARATOR, start, key=files.raw)
        runs.append((os.fsdecode(folder), start))
    names = sorted(name for name, _ in runs)
    if len(names) < 2:
        return None, ()
    order = classes or tuple(names)
    order = (*order, *(name for name in names if name not in order))
    number = {name: i for i, name in enumerate(order)}
    counts = np.diff([0, *(end for _, end in runs)])
    return np.repeat(np.array([number[name] for name, _ in runs]), counts), order
