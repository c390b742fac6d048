"""Labels from a CSV file: one category, several tags, or numbers for every picture."""

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from BYOL.data.csv_rows import match_rows, read_rows
from BYOL.data.dataset import Images
from BYOL.data.open import Splits
from BYOL.errors import UserError

_INTEGER = re.compile(r"[+-]?[0-9]{1,300}")  # isdigit() takes ² for one, int() does not
_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")  # 3,5 as much of the world writes it


@dataclass(frozen=True, eq=False)
class LabelFile:
    """What a file says of pictures.

    Args:
        argument: the flag and the path, which every message begins with.
        rows: the row of every picture by its name.
        labels: (n,) int64 classes, (n, t) bool tags or (n, t) float64 values.
        names: of the classes, tags or values.
    """

    argument: str
    rows: dict[str, int]
    labels: np.ndarray
    names: tuple[str, ...]


def read_labels(path: str | Path, task: str = "auto") -> LabelFile:
    """Read a CSV file with a header: first the picture's file, then its labels.

    Rows with nothing behind the file are of pictures without a label yet: they count for nothing.

    Args:
        path: the file, in UTF-8.
        task: what the columns are. ``auto``: one column of numbers with a decimal point, or several
            of numbers, are values (regression); several of nothing but 0 and 1 are tags
            (multilabel); one column of anything else, whole numbers included, holds classes.

    Raises:
        UserError: it cannot be read, lacks columns or rows, a cell is empty or not what the task
            needs, a file stands there twice.
    """
    file = read_rows("--labels", path, "labels", unfilled=True)
    labels, names = _settled(file.argument, task, file.header, file.columns)
    return LabelFile(file.argument, file.rows, labels, names)


def label_splits(splits: Splits, file: LabelFile) -> tuple[Splits, int]:
    """Give pictures the labels of a file, in place of those that their folders tell.

    They are named as :func:`BYOL.data.csv_rows.match_rows` says.

    Returns:
        The pictures that have labels, and how many were left out because they have none. Without
        labelled pictures in the held-out part there is none.

    Raises:
        UserError: the file names pictures that are not there, or none that is.
    """
    parts = (splits.labelled or splits.train, splits.test)
    matched = match_rows(parts, file.argument, file.rows)
    train, test = (
        _labelled(images, file, *found) for images, found in zip(parts, matched, strict=True)
    )
    if train is None:
        raise UserError(f"{file.argument} has no picture to learn from: it names only test")
    all_ = sum(len(images) for images in parts if images is not None)
    return Splits(train, test), all_ - sum(len(kept) for kept, _ in matched)


def _labelled(
    images: Images | None, file: LabelFile, kept: np.ndarray, rows: np.ndarray
) -> Images | None:
    if images is None or not len(kept):
        return None
    part = dataclasses.replace(images, labels=None).subset(kept)
    return dataclasses.replace(part, labels=file.labels[rows], classes=file.names)


def _settled(
    argument: str, task: str, header: Sequence[str], columns: Sequence[Sequence[str]]
) -> tuple[np.ndarray, tuple[str, ...]]:
    if task == "auto" and all(_COMMA.fullmatch(cell) for column in columns for cell in column):
        raise UserError(
            f"{argument} has numbers with a decimal comma, such as {columns[0][0]!r}: write points"
        )
    task = _guessed(columns) if task == "auto" else task
    if task == "classification":
        if len(columns) > 1:
            raise UserError(
                f"{argument} has {len(columns)} columns of labels: classes are one column; "
                "tags (0 or 1) and numbers may be several"
            )
        names = sorted(set(columns[0]), key=_natural)
        number = {name: i for i, name in enumerate(names)}
        return np.array([number[cell] for cell in columns[0]], dtype=np.int64), tuple(names)
    values = np.stack(
        [_numbers(argument, name, cells) for name, cells in zip(header, columns, strict=True)],
        axis=1,
    )
    if task == "multilabel":
        for name, column in zip(header, values.T, strict=True):
            if not np.isin(column, (0, 1)).all():
                raise UserError(f"{argument}: {name!r} is no tag: it is not only 0 and 1")
        return values.astype(bool), tuple(header)
    return values, tuple(header)


def _guessed(columns: Sequence[Sequence[str]]) -> str:
    if len(columns) == 1:
        numbers = [_number(cell) for cell in columns[0]]
        fractions = all(n is not None for n in numbers) and not all(map(_whole, columns[0]))
        return "regression" if fractions else "classification"
    if all(cell in ("0", "1") for column in columns for cell in column):
        return "multilabel"
    numeric = all(_number(cell) is not None for column in columns for cell in column)
    return "regression" if numeric else "classification"


def _numbers(argument: str, name: str, cells: Sequence[str]) -> np.ndarray:
    for row, cell in enumerate(cells, 1):
        number = _number(cell)
        if number is None or not math.isfinite(number):
            raise UserError(f"{argument}: row {row} has {cell!r} under {name!r}: not a number")
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
