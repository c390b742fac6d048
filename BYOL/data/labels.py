"""Labels from a CSV file: one category, several tags, or numbers for every picture."""

import csv
import dataclasses
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from BYOL.data.images import FileImages, Images
from BYOL.data.shards.packing import member_key
from BYOL.data.shards.streamed import StreamedImages
from BYOL.data.sources import Splits
from BYOL.errors import UserError

_INTEGER = re.compile(r"[+-]?[0-9]{1,300}")  # isdigit() takes ² for one, int() does not
TASKS = ("auto", "classification", "multilabel", "regression")


@dataclass(frozen=True, eq=False)
class LabelFile:
    """What a file says of pictures.

    Args:
        path: for messages.
        rows: the row of every picture by its name.
        labels: (n,) int64 classes, (n, t) bool tags or (n, t) float64 values.
        names: of the classes, tags or values.
    """

    path: Path
    rows: dict[str, int]
    labels: np.ndarray
    names: tuple[str, ...]


def read_labels(path: str | Path, task: str = "auto") -> LabelFile:
    """Read a CSV file with a header: first the picture's file, then its labels.

    Args:
        path: the file, in UTF-8.
        task: what the columns are. ``auto``: one column of numbers with a decimal point, or several
            of numbers, are values (regression); several of nothing but 0 and 1 are tags
            (multilabel); one column of anything else, whole numbers included, holds classes.

    Raises:
        UserError: it cannot be read, lacks columns or rows, a cell is empty or not what the task
            needs, a file stands there twice.
    """
    path = Path(path)
    header, body = _table(path)
    rows: dict[str, int] = {}
    for number, row in enumerate(body):
        name = Path(row[0]).as_posix()
        if name in rows:
            raise UserError(f"--labels={path}: {row[0]} stands there twice")
        rows[name] = number
    columns = [[row[c] for row in body] for c in range(1, len(header))]
    labels, names = _settled(path, task, header[1:], columns)
    return LabelFile(path, rows, labels, names)


def label_splits(splits: Splits, file: LabelFile) -> tuple[Splits, int]:
    """Give pictures the labels of a file, in place of those that their folders tell.

    A picture is named by its path in the folder that the user gave, or below its ``train`` or
    ``test`` (as ``byol embed`` names it); one in memory by its number; one in a shard also without
    the shard's name, so that what fits a folder fits the shards that were made of it.

    Returns:
        The pictures that have labels, and how many were left out because they have none. Without
        labelled pictures in the held-out part there is none.

    Raises:
        UserError: the file names pictures that are not there, or none that is.
    """
    found: set[int] = set()
    parts = []
    left_out = 0
    for images in (splits.labelled or splits.train, splits.test):
        part, rows = _labelled(images, file) if images is not None else (None, [])
        if found & set(rows):
            name = next(name for name, row in file.rows.items() if row in found & set(rows))
            raise UserError(f"--labels={file.path}: {name} is in two folders: name it with its own")
        found |= set(rows)
        left_out += 0 if images is None else len(images) - len(rows)
        parts.append(part)
    missing = [name for name, row in file.rows.items() if row not in found]
    if missing:
        more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
        raise UserError(
            f"--labels={file.path} names pictures that are not there ({len(missing):,}): "
            f"{', '.join(missing[:3])}{more}"
        )
    train, test = parts
    if train is None:
        raise UserError(f"--labels={file.path} has no picture to learn from: it names only test")
    return Splits(train, test), left_out


def _labelled(images: Images, file: LabelFile) -> tuple[Images | None, list[int]]:
    kept, rows = [], []
    known, sharded = file.rows, isinstance(images, StreamedImages)
    if isinstance(images, StreamedImages) and images.index.kind != "parquet":
        known = _with_members(known)  # Parquet keeps the paths as they were
    for index in range(len(images)):
        name = next((name for name in _names(images, index) if name in known), None)
        if name is not None:
            kept.append(index)
            rows.append(known[name])
    if not kept:
        return None, []
    if sharded and len(set(rows)) < len(rows):
        twice = next(row for row, count in Counter(rows).items() if count > 1)
        name = next(name for name, row in file.rows.items() if row == twice)
        raise UserError(f"--labels={file.path}: {name} is there twice: name it as SHARD/{name}")
    part = dataclasses.replace(images, labels=None).subset(np.array(kept))
    return dataclasses.replace(part, labels=file.labels[rows], classes=file.names), rows


def _names(images: Images, index: int) -> Iterator[str]:
    name = Path(images.sample_name(index)).as_posix()
    if isinstance(images, FileImages):
        yield f"{images.root.name}/{name}"
    yield name
    if isinstance(images, StreamedImages):
        inner = Path(images.inner_name(index)).as_posix()
        yield f"{re.split(r'[-_.]', name)[0]}/{inner}"  # train/… of train-000000.tar
        yield inner


def _with_members(rows: dict[str, int]) -> dict[str, int]:
    """The same, also by the names that ``byol shard`` gives to members; but by no name twice."""
    members = {name: "".join(member_key(name)) for name in rows}
    count = Counter(members.values())
    found = {members[name]: row for name, row in rows.items() if count[members[name]] == 1}
    return {**found, **{name: row for name, row in rows.items() if count[name] < 2}}


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"--labels={path} cannot be read: {reason}") from error
    if len(lines) < 2 or len(lines[0]) < 2:
        raise UserError(
            f"--labels={path} has no labels: give a header and a row for every picture, "
            "first its file, then its labels, separated by commas"
        )
    header, *body = lines
    for number, row in enumerate(body, 1):
        if len(row) != len(header):
            raise UserError(
                f"--labels={path}: row {number} has {len(row)} cells, the header {len(header)}"
            )
        if "" in row:
            raise UserError(
                f"--labels={path}: row {number} ({row[0]}) has nothing under "
                f"{header[row.index('')]!r}"
            )
    return header, body


def _settled(
    path: Path, task: str, header: list[str], columns: list[list[str]]
) -> tuple[np.ndarray, tuple[str, ...]]:
    task = _guessed(columns) if task == "auto" else task
    if task == "classification":
        if len(columns) > 1:
            raise UserError(
                f"--labels={path} has {len(columns)} columns of labels: classes are one column; "
                "tags (0 or 1) and numbers may be several"
            )
        names = sorted(set(columns[0]), key=_natural)
        number = {name: i for i, name in enumerate(names)}
        return np.array([number[cell] for cell in columns[0]], dtype=np.int64), tuple(names)
    values = np.stack(
        [_numbers(path, name, cells) for name, cells in zip(header, columns, strict=True)], axis=1
    )
    if task == "multilabel":
        for name, column in zip(header, values.T, strict=True):
            if not np.isin(column, (0, 1)).all():
                raise UserError(f"--labels={path}: {name!r} is no tag: it is not only 0 and 1")
        return values.astype(bool), tuple(header)
    return values, tuple(header)


def _guessed(columns: list[list[str]]) -> str:
    if len(columns) == 1:
        numbers = [_number(cell) for cell in columns[0]]
        fractions = all(n is not None for n in numbers) and not all(map(_whole, columns[0]))
        return "regression" if fractions else "classification"
    if all(cell in ("0", "1") for column in columns for cell in column):
        return "multilabel"
    numeric = all(_number(cell) is not None for column in columns for cell in column)
    return "regression" if numeric else "classification"


def _numbers(path: Path, name: str, cells: list[str]) -> np.ndarray:
    for row, cell in enumerate(cells, 1):
        number = _number(cell)
        if number is None or not math.isfinite(number):
            raise UserError(f"--labels={path}: row {row} has {cell!r} under {name!r}: not a number")
    return np.array(cells, dtype=np.float64)


def _number(cell: str) -> float | None:
    """As numbers are written everywhere: 1_000 and ٣, which Python reads, too, are words."""
    try:
        return float(cell) if cell.isascii() and "_" not in cell else None
    except ValueError:
        return None


def _whole(cell: str) -> bool:
    return _INTEGER.fullmatch(cell) is not None


def _natural(name: str) -> tuple[bool, float, str]:
    """Numbers by their size, before words."""
    return (not _whole(name), int(name) if _whole(name) else 0, name)
