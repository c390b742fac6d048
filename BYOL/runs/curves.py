"""The curves of a run folder, ``logs/metrics.csv``, checked when they are read."""

import csv
import io
from pathlib import Path
from typing import Any

from BYOL._console import printable
from BYOL.config.schema import read_text
from BYOL.errors import DataError

_MOST_COLUMNS = 1000
_WHOLE = ("step", "epoch")  # columns of whole numbers


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Return the rows of a ``metrics.csv``: text by column, without empty cells.

    Values may be ``nan`` or ``inf``, which a run writes. Without a file there are no rows.

    Raises:
        DataError: it is damaged; the message names the file, the line and the column.
    """
    text = read_text(path)
    if not text:
        return []
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        names = reader.fieldnames or []
        if "step" not in names or len(names) > _MOST_COLUMNS or len(set(names)) < len(names):
            raise DataError(f"{path} is damaged: its first line is not the columns of curves")
        return [_checked_row(row, reader.line_num, path) for row in reader]
    except csv.Error as error:
        raise DataError(f"{path} is damaged: {error}") from error


def _checked_row(row: dict[Any, Any], line: int, path: Path) -> dict[str, str]:
    kept = {name: value for name, value in row.items() if value}
    for name, value in kept.items():
        if name is None or not _is_number(value, whole=name in _WHOLE):
            column = "a further column" if name is None else printable(name)
            raise DataError(
                f"{path} is damaged: line {line}: {column} is {printable(value)!r}: it must be a "
                f"{'whole ' if name in _WHOLE else ''}number"
            )
    if "step" not in kept:
        raise DataError(f"{path} is damaged: line {line} has no step")
    return {printable(name): value for name, value in kept.items()}


def _is_number(text: Any, *, whole: bool) -> bool:
    try:
        number = float(text)
    except (TypeError, ValueError):
        return False
    if whole:
        return 0 <= number <= 2**53 and number == int(number)
    return not abs(number) > 1e100 or number in (float("inf"), -float("inf"))
