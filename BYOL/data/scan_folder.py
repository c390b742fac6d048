"""The pictures of a folder: their paths, and the classes that its folders name."""

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
from BYOL.errors import UserError

_LOOKED_AT = 10_000  # names of one folder among which the first are looked for
_FOLDERS_LOOKED_AT = 32
SEPARATOR = os.fsencode(os.sep)
AFTER_SEPARATOR = bytes([SEPARATOR[0] + 1])  # what is in a folder stands before it
_SUFFIXES = frozenset(os.fsencode(suffix) for suffix in SUFFIXES)
_UNREAD = frozenset(os.fsencode(suffix) for suffix in UNREAD)


def walk(root: Path, passed: "Counter[str] | None" = None) -> PathTable:
    """Relative paths of all pictures below ``root``, sorted.

    Links to folders are followed, but not twice to the same one, nor into or above ``root``.
    No more than the names' own bytes and a few numbers for each are held, however many there are.

    Args:
        root: the folder.
        passed: counts what was passed over: files by the ending of a kind of picture that is not
            read, and folders that may not be looked into as "folders".
    """
    return PathTable(_below(root, Counter() if passed is None else passed)).sorted()


def _below(root: Path, passed: "Counter[str]") -> Iterator[bytes]:
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
                raise UserError(f"DATA={root} may not be looked into") from None
            passed["folders"] += 1
            continue
        with entries:
            for entry in entries:
                if entry.name.startswith(b"."):
                    continue
                if is_picture(entry.name) and not entry.is_dir(follow_symlinks=False):
                    yield entry.path[cut:]
                elif links.lead_on(entry):
                    pending.append(entry.path)
                elif (ending := _ending(entry.name)) in _UNREAD:
                    passed[os.fsdecode(ending)] += 1


def remarks_on(passed: "Counter[str]") -> list[str]:
    """What a walk has passed over, in words."""
    folders = passed.pop("folders", 0)
    plural = "s" if folders > 1 else ""
    found = [f"left out: {folders} folder{plural} that may not be looked into"] if folders else []
    for extra in sorted({MISSING[ending] for ending in passed if ending in MISSING}):
        counts = {e: n for e, n in passed.most_common() if MISSING.get(e) == extra}
        found.append(f"left out: {_counted(counts)}, read after pip install 'BYOL[{extra}]'")
    others = {ending: n for ending, n in passed.most_common() if ending not in MISSING}
    if others:
        kinds = _counted(others)
        found.append(f"left out, because their kind is not read: {kinds}; convert them first")
    return found


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {ending}" for ending, count in counts.items())


class _Links:
    """Which links to folders lead somewhere new: no picture comes twice, and no walk has no end.

    Args:
        root: where the walk begins.
    """

    def __init__(self, root: bytes):
        self.root = os.path.realpath(root)
        self.been: set[bytes] = set()

    def lead_on(self, entry: "os.DirEntry[bytes]") -> bool:
        """Whether an entry is a folder, or a link to one, that is to be walked."""
        if not entry.is_symlink():
            return entry.is_dir()
        there = os.path.realpath(entry.path)
        if there in self.been or not os.path.isdir(there):  # noqa: PTH112
            return False
        self.been.add(there)
        return os.path.commonpath((self.root, there)) not in (self.root, there)


def is_picture(name: bytes) -> bool:
    """Whether a file's ending is one of a picture."""
    return _ending(name) in _SUFFIXES


def _ending(name: bytes) -> bytes:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122


def is_folder(entry: "os.DirEntry[Any]") -> bool:
    """Whether an entry is a folder, or a link that leads to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, a folder out of reach
        return False


def first_files(root: Path, most: int) -> list[Path]:
    """Some pictures of several folders, without walking the whole tree."""
    found: list[list[Path]] = []
    pending = [root]
    for _ in range(_FOLDERS_LOOKED_AT):
        if not pending:
            break
        try:
            with os.scandir(pending.pop(0)) as entries:
                seen = sorted(islice(entries, _LOOKED_AT), key=lambda entry: entry.name)
        except OSError:
            continue
        found.append([Path(e.path) for e in seen if is_picture(os.fsencode(e.name))][:most])
        pending += [Path(e.path) for e in seen if is_folder(e) and not e.name.startswith(".")]
    in_turn = chain.from_iterable(zip_longest(*found))
    return list(islice((path for path in in_turn if path), most))


def stray(files: PathTable) -> str | None:
    """The first of a few pictures beside many in folders, which then are no classes.

    Args:
        files: sorted.
    """
    beside: list[bytes] = []
    folders, most = 0, max(len(files) // 100, 1)
    for name, is_one, _ in in_root(files):
        if is_one:
            folders += 1
        elif len(beside) > most:
            break
        else:
            beside.append(name)
    few = 0 < len(beside) <= most
    return os.fsdecode(beside[0]) if few and folders > 1 else None


def in_root(files: PathTable) -> Iterator[tuple[bytes, bool, int]]:
    """What lies directly in the root of sorted paths, in order.

    A folder's pictures stand together, so they are not looked at singly.

    Yields:
        The name, whether it is a folder's, and the place behind its last picture.
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
    """Labels by the first folder of every path, where every picture is in one of at least two.

    Args:
        files: sorted.
        classes: names that have their numbers already.
    """
    runs: list[tuple[str, int]] = []
    for folder, is_one, end in in_root(files):
        if not is_one:
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
