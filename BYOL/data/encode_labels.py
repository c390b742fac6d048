"""Labels as arrays: the classes, tags or values that cells of text or numbers stand for."""

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from BYOL._console import first_of
from BYOL.config.tasks import CLASSES, TAGS, VALUES
from BYOL.data.missing_cells import (
    SWITCHES,
    UNKNOWN,
    decimal_comma,
    parse_number,
    unknown_numbers,
    without_missing,
)
from BYOL.errors import DataError

_INTEGER = re.compile(r"[+-]?[0-9]{1,300}")  # isdigit() accepts ², int() does not
_SEPARATORS = "|;,"  # of tags in one cell
SMALLEST, LARGEST = 1e-30, 1e30  # magnitudes whose squares fit float64 and that fit float32
MAGNITUDES = f"a value is 0 or has a magnitude from {SMALLEST:g} to {LARGEST:g}; use another unit"


@dataclass(frozen=True, eq=False)
class Labels:
    """Encoded labels.

    Args:
        values: (m,) int64 classes, (m, t) bool tags or (m, t) float64 values of the m samples whose
            labels are known.
        names: the names of the classes, tags or values.
        known: (n,) bool, whether the labels of each sample are known.
        remarks: one line for each property of the labels that users may not expect.
    """

    values: np.ndarray
    names: tuple[str, ...]
    known: np.ndarray
    remarks: tuple[str, ...] = ()


def encode_cells(
    argument: str, task: str, header: Sequence[str], columns: Sequence[Sequence[str]]
) -> Labels:
    """Encode cells of text.

    Args:
        argument: the start of every message.
        task: the kind of the labels. ``auto``: one column of cells such as ``a|b`` holds tags. One
            column of numbers with a decimal point holds values. Any other single column, integers
            included, holds classes. Several columns of 0 and 1 are classes where each row has
            exactly one 1, else tags. Several other columns of numbers are values.
        header: the names of the columns.
        columns: the cells of each column; an empty cell is an unknown label, and so are the words
            of :mod:`BYOL.data.missing_cells`.

    Raises:
        UserError: a cell does not fit the task, or no label is known.
    """
    columns, remarks = without_missing(argument, columns)
    if remarks and not any(map(any, columns)):
        raise DataError(f"{argument} has no label that is known: {remarks[0].partition(': ')[2]}")
    labels = _encode(argument, task, header, columns)
    return dataclasses.replace(labels, remarks=(*remarks, *labels.remarks))


def _encode(
    argument: str, task: str, header: Sequence[str], columns: Sequence[Sequence[str]]
) -> Labels:
    """Encode cells of which the unknown ones are empty."""
    cells = [cell for column in columns for cell in column if cell]
    if task == "auto" and (comma := decimal_comma(cells)):
        raise DataError(
            f"{argument} has numbers with a decimal comma, such as {comma!r}: write points"
        )
    switches = _switches(columns)
    if len(columns) == 1 and task in ("auto", CLASSES, TAGS):
        tags = switches is None and (task == TAGS or any("|" in cell for cell in cells))
        if tags and task != CLASSES:
            remarks = _tags_remark(argument, columns[0]) if task == "auto" else ()
            return dataclasses.replace(_tag_lists(columns[0]), remarks=remarks)
        if task == "auto":
            task = VALUES if switches is None and _are_fractions(cells) else CLASSES
        if task == CLASSES and switches is not None:  # 1.0 is the class 1
            return _classes(argument, [cell and f"{_number(cell):g}" for cell in columns[0]])
        if task == CLASSES:
            return _classes(argument, columns[0])
    if task in ("auto", CLASSES, TAGS) and switches is not None:
        return encode_switches(argument, task, header, switches)
    if task == TAGS:
        name = next(h for h, c in zip(header, columns, strict=True) if _switches([c]) is None)
        raise DataError(f"{argument}: {name!r} is not a tag: it has values other than 0 and 1")
    if task == CLASSES or (task == "auto" and any(parse_number(cell) is None for cell in cells)):
        raise DataError(
            f"{argument} has {len(columns)} columns of labels ({first_of(list(header))}): classes "
            "are one column; tags (0 or 1) and numbers may be several; choose with --label-column"
        )
    numbers = [_parse_column(argument, *pair) for pair in zip(header, columns, strict=True)]
    return _known_values(argument, np.stack(numbers, axis=1), tuple(header))


def encode_switches(argument: str, task: str, header: Sequence[str], values: np.ndarray) -> Labels:
    """Encode (n, t) values of 0, 1, -1 and NaN as classes or tags.

    Where 0 and -1 occur, -1 is unknown like NaN. Where only 1 and -1 occur, -1 means 0.

    Args:
        argument: the start of every message.
        task: ``auto``, classification or multilabel.
        header: the names of the columns.
        values: float64.

    Raises:
        UserError: no row is known completely, or classification is wanted of rows without exactly
            one 1.
    """
    remarks = []
    if (values == UNKNOWN).any():
        has_zero = bool((values == 0).any())
        values = np.where(values == UNKNOWN, np.nan if has_zero else 0.0, values)
        if not has_zero:
            remarks.append(f"{argument}: -1 is read as 0, because it has only 1 and -1")
    known = ~np.isnan(values).any(axis=1)
    _check_known(argument, known, header)
    remarks += _unknown_remarks(argument, known)
    tags = values[known] == 1
    one_hot = tags.shape[1] > 1 and bool((tags.sum(axis=1) == 1).all())
    if task == TAGS or (task == "auto" and not one_hot):
        return Labels(tags, tuple(header), known, tuple(remarks))
    if not one_hot:
        raise DataError(
            f"{argument} has {len(header)} columns of 0 and 1, which are classes only if each row "
            "has exactly one 1"
        )
    if task == "auto":
        remarks.append(
            f"{argument}: each row has exactly one 1, so the columns are classes (--task "
            "multilabel reads them as tags)"
        )
    used = tags.any(axis=0)
    names = tuple(name for name, is_used in zip(header, used, strict=True) if is_used)
    return Labels(tags[:, used].argmax(axis=1), names, known, tuple(remarks))


def is_switch(values: np.ndarray) -> bool:
    """Whether all ``values`` are 0, 1, -1 or NaN, and some are 0 or 1."""
    return bool(np.isin(values[~np.isnan(values)], (0, 1, UNKNOWN)).all()) and bool(
        np.isin(values, (0, 1)).any()
    )


def _switches(columns: Sequence[Sequence[str]]) -> np.ndarray | None:
    """The (n, t) values of columns of 0 and 1; None for others."""
    allowed = {**dict.fromkeys(("0", "1", "-1")), **SWITCHES}
    for cell in {cell for column in columns for cell in column if cell}:
        if cell.lower() not in allowed and parse_number(cell) not in (0, 1, UNKNOWN):
            return None
    if len(columns) == 1 and any(cell.lower() in SWITCHES for cell in columns[0]):
        return None  # words of a class
    values = np.array([[_number(cell) for cell in column] for column in columns]).T
    return values if is_switch(values) else None


def _number(cell: str) -> float:
    """The number of a cell of a column of 0 and 1; NaN for an empty cell."""
    if not cell:
        return math.nan
    value = SWITCHES.get(cell.lower())
    return float(cell) if value is None else value


def _classes(argument: str, cells: Sequence[str]) -> Labels:
    """Classes from words or integers; -1 is unknown where two other integers are classes."""
    names = {cell for cell in cells if cell}
    unknown = unknown_numbers(names)
    known = np.array([bool(cell) and cell not in unknown for cell in cells])
    remarks: tuple[str, ...] = ()
    if unknown:
        count = sum(cell in unknown for cell in cells)
        names -= unknown
        rows = f"{count:,} of {len(cells):,} rows"
        remarks = (f"{argument}: -1 is read as an unknown class ({rows})",)
    order = sorted(names, key=_natural_key)
    number = {name: i for i, name in enumerate(order)}
    values = [number[cell] for cell, is_known in zip(cells, known, strict=True) if is_known]
    return Labels(np.array(values, dtype=np.int64), tuple(order), known, remarks)


def _tag_lists(cells: Sequence[str]) -> Labels:
    """Tags from cells such as ``a|b``."""
    sign = next((sign for sign in _SEPARATORS if any(sign in cell for cell in cells)), "|")
    known = np.array([bool(cell) for cell in cells])
    lists = [[t for tag in c.split(sign) if (t := tag.strip())] for c in cells if c]
    names = sorted({tag for tags in lists for tag in tags}, key=_natural_key)
    number = {name: i for i, name in enumerate(names)}
    values = np.zeros((len(lists), len(names)), dtype=bool)
    for row, tags in enumerate(lists):
        values[row, [number[tag] for tag in tags]] = True
    return Labels(values, tuple(names), known)


def _tags_remark(argument: str, cells: Sequence[str]) -> tuple[str]:
    """The line about cells with a bar, which the names of classes may have as well."""
    bars = [cell for cell in cells if "|" in cell]
    return (
        f"{argument}: {len(bars):,} of {len(cells):,} cells have a |, such as {bars[0]!r}, so all "
        "are read as tags (--task classification reads them as names of classes)",
    )


def _known_values(argument: str, values: np.ndarray, header: tuple[str, ...]) -> Labels:
    """The rows of ``values`` (n, t) without NaN."""
    known = ~np.isnan(values).any(axis=1)
    _check_known(argument, known, header)
    remarks = _unknown_remarks(argument, known)
    return Labels(values[known], header, known, tuple(remarks))


def _check_known(argument: str, known: np.ndarray, header: Sequence[str]) -> None:
    if not known.any():
        raise DataError(
            f"{argument} has no row whose {len(header)} labels are all known: choose columns with "
            "--label-column"
        )


def _unknown_remarks(argument: str, known: np.ndarray) -> list[str]:
    count = int((~known).sum())
    lines = f"{argument}: {count:,} of {len(known):,} rows have unknown labels and are not used"
    return [lines] if count else []


def _are_fractions(cells: Sequence[str]) -> bool:
    """Whether all cells are numbers, and not all of them integers."""
    numbers = all(parse_number(cell) is not None for cell in cells)
    return numbers and not all(map(_is_integer, cells))


def _parse_column(argument: str, name: str, cells: Sequence[str]) -> np.ndarray:
    """Parse the cells of a column as finite float64 numbers; NaN for an empty cell."""
    for row, cell in enumerate(cells, 1):
        number = parse_number(cell) if cell else 0.0
        if number is None or not math.isfinite(number):
            raise DataError(f"{argument}: row {row} has {cell!r} under {name!r}: not a number")
        if number and not SMALLEST <= abs(number) <= LARGEST:
            raise DataError(f"{argument}: row {row} has {cell!r} under {name!r}: {MAGNITUDES}")
    return np.array([cell or "nan" for cell in cells], dtype=np.float64)


def _is_integer(cell: str) -> bool:
    return _INTEGER.fullmatch(cell) is not None


def _natural_key(name: str) -> tuple[bool, float, str]:
    """A sort key that puts integers in numeric order before words."""
    return (not _is_integer(name), int(name) if _is_integer(name) else 0, name)
