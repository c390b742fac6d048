"""Labels from a CSV file: one class, several tags, or numbers for every image."""

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from BYOL.data.csv_rows import match_rows, read_rows
from BYOL.data.dataset import Images
from BYOL.data.sources import Splits
from BYOL.errors import DataError

_INTEGER = re.compile(r"[+-]?[0-9]{1,300}")  # isdigit() accepts ², int() does not
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")  # 3,5 for 3.5


@dataclass(frozen=True, eq=False)
class LabelFile:
    """The content of a file of labels.

    Args:
        argument: the flag and the path, the start of every message.
        rows: maps the name of an image to the index of its row.
        labels: (n,) int64 classes, (n, t) bool tags or (n, t) float64 values.
        names: the names of the classes, tags or values.
    """

    argument: str
    rows: dict[str, int]
    labels: np.ndarray
    names: tuple[str, ...]


def read_labels(path: str | Path, task: str = "auto") -> LabelFile:
    """Read a CSV file with a header: first the image file, then its labels.

    Rows that hold only a file name are unlabelled images and are skipped.

    Args:
        path: the file, in UTF-8.
        task: the kind of the columns. ``auto``: one column of numbers with a decimal point, or
            several columns of numbers, are values (regression). Several columns of only 0 and 1
            are tags (multilabel). Any other single column, integers included, holds classes.

    Raises:
        UserError: the file cannot be read, lacks columns or rows, has a cell that is empty or does
            not fit the task, or names a file twice.
    """
    file = read_rows("--labels", path, "labels", unfilled=True)
    labels, names = _encode_labels(file.argument, task, file.header, file.columns)
    return LabelFile(file.argument, file.rows, labels, names)


def label_splits(splits: Splits, file: LabelFile) -> tuple[Splits, int]:
    """Replace the labels of ``splits`` by those of ``file``.

    Rows are matched as in :func:`BYOL.data.csv_rows.match_rows`.

    Returns:
        The labelled images, and the number of images that are left out because they have no label.
        The test split is None if it has no labelled images.

    Raises:
        UserError: the file names images that do not exist, or no training image.
    """
    parts = (splits.labelled or splits.train, splits.test)
    matched = match_rows(parts, file.argument, file.rows)
    train, test = (
        _labelled(images, file, *match) for images, match in zip(parts, matched, strict=True)
    )
    if train is None:
        raise DataError(f"{file.argument} has no training image: it names only test images")
    all_ = sum(len(images) for images in parts if images is not None)
    return Splits(train, test), all_ - sum(len(kept) for kept, _ in matched)


def _labelled(
    images: Images | None, file: LabelFile, kept: np.ndarray, rows: np.ndarray
) -> Images | None:
    """The images at ``kept`` with the labels of ``rows``; None without any."""
    if images is None or not len(kept):
        return None
    part = dataclasses.replace(images, labels=None).subset(kept)
    return dataclasses.replace(part, labels=file.labels[rows], classes=file.names)


def _encode_labels(
    argument: str, task: str, header: Sequence[str], columns: Sequence[Sequence[str]]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Encode the cells as labels of ``task``, and name the classes, tags or values."""
    cells = [cell for column in columns for cell in column]
    if task == "auto" and all(map(_DECIMAL_COMMA.fullmatch, cells)):
        raise DataError(
            f"{argument} has numbers with a decimal comma, such as {columns[0][0]!r}: write points"
        )
    task = _infer_task(columns) if task == "auto" else task
    if task == "classification":
        if len(columns) > 1:
            raise DataError(
                f"{argument} has {len(columns)} columns of labels: classes are one column; "
                "tags (0 or 1) and numbers may be several"
            )
        names = sorted(set(columns[0]), key=_natural_key)
        number = {name: i for i, name in enumerate(names)}
        return np.array([number[cell] for cell in columns[0]], dtype=np.int64), tuple(names)
    values = np.stack(
        [_parse_column(argument, name, cells) for name, cells in zip(header, columns, strict=True)],
        axis=1,
    )
    if task == "multilabel":
        for name, column in zip(header, values.T, strict=True):
            if not np.isin(column, (0, 1)).all():
                raise DataError(
                    f"{argument}: {name!r} is not a tag: it has values other than 0 and 1"
                )
        return values.astype(bool), tuple(header)
    return values, tuple(header)


def _infer_task(columns: Sequence[Sequence[str]]) -> str:
    """The task that the cells of ``columns`` suggest."""
    if len(columns) == 1:
        numbers = [_parse_number(cell) for cell in columns[0]]
        fractions = all(n is not None for n in numbers) and not all(map(_is_integer, columns[0]))
        return "regression" if fractions else "classification"
    if all(cell in ("0", "1") for column in columns for cell in column):
        return "multilabel"
    numeric = all(_parse_number(cell) is not None for column in columns for cell in column)
    return "regression" if numeric else "classification"


def _parse_column(argument: str, name: str, cells: Sequence[str]) -> np.ndarray:
    """Parse the cells of a column as finite float64 numbers."""
    for row, cell in enumerate(cells, 1):
        number = _parse_number(cell)
        if number is None or not math.isfinite(number):
            raise DataError(f"{argument}: row {row} has {cell!r} under {name!r}: not a number")
    return np.array(cells, dtype=np.float64)


def _parse_number(cell: str) -> float | None:
    """Parse plain ASCII notation; 1_000 and ٣, which ``float`` accepts, are words."""
    try:
        return float(cell) if cell.isascii() and "_" not in cell else None
    except ValueError:
        return None


def _is_integer(cell: str) -> bool:
    return _INTEGER.fullmatch(cell) is not None


def _natural_key(name: str) -> tuple[bool, float, str]:
    """A sort key that puts integers in numeric order before words."""
    return (not _is_integer(name), int(name) if _is_integer(name) else 0, name)
