"""CSV files with one row per image: choosing their columns."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from BYOL.data.csv_table import Table, decode_windows, parse_table, read_text
from BYOL.data.label_studio import is_export, is_place, table_of_csv, table_of_json
from BYOL.errors import DataError, SettingsError

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class RowFile:
    """The content of a CSV file with one row per image.

    Args:
        argument: the flag and the path, the start of every message.
        rows: maps the name of an image to the index of its row.
        header: the names of the chosen columns, without the one of the names.
        columns: the cells of each of these columns, one per row.
        others: the names of all other columns, without the one of the names.
    """

    argument: str
    rows: dict[str, int]
    header: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    others: tuple[str, ...] = ()

    def subset(self, kept: np.ndarray) -> "RowFile":
        """The rows where the mask ``kept`` (n,) is true."""
        if kept.all():
            return self
        numbers = np.cumsum(kept) - 1
        rows = {name: int(numbers[row]) for name, row in self.rows.items() if kept[row]}
        columns = tuple(
            tuple(cell for cell, is_kept in zip(cells, kept, strict=True) if is_kept)
            for cells in self.columns
        )
        return replace(self, rows=rows, columns=columns)


def read_rows(
    flag: str,
    path: str | Path,
    content: str,
    *,
    unfilled: bool = False,
    file_column: str | None = None,
    columns: str | None = None,
    optional: bool = False,
) -> RowFile:
    """Read a CSV file with a header, or an export of Label Studio.

    Args:
        flag: the flag that passed the file, such as ``--labels``.
        path: the file, in UTF-8, UTF-16 or Windows-1252.
        content: a word for the other columns, used in messages.
        unfilled: accept empty cells, and skip rows that hold only a file name.
        file_column: the column of the image files; None: the first.
        columns: the name of a column to read, or several with commas between; None: all.
        optional: whether the first column names the images where ``file_column`` is missing.

    Raises:
        UserError: the file cannot be read, lacks columns or rows, has an empty cell or names a file
            twice.
    """
    argument = f"{flag}={path}"
    table = _read_table(argument, Path(path), content)
    if optional and file_column not in table.header:
        file_column = None
    names = _name_column(argument, table, file_column)
    chosen = _chosen_columns(argument, table, names, columns, flag)
    kept = _filled(argument, table, names, chosen, content, unfilled)
    rows: dict[str, int] = {}
    for number, row in enumerate(kept):
        name = row[names] if is_place(row[names].strip()) else Path(row[names]).as_posix()
        if name in rows:
            raise DataError(f"{argument}: {row[names]} is listed twice{_hint(table, file_column)}")
        rows[name] = number
    cells = [[row[column].strip() for row in kept] for column in chosen]
    if content == "labels":
        cells = _decoded(argument, cells)
    others = (h for i, h in enumerate(table.header) if i not in (names, *chosen))
    header = tuple(table.header[column] for column in chosen)
    return RowFile(argument, rows, header, tuple(map(tuple, cells)), tuple(others))


def _hint(table: Table, file_column: str | None) -> str:
    """The end of a message if the first column may not be the one of the image files."""
    if file_column is not None or len(table.header) < 3:
        return ""
    return (
        f"; if another column names the images, give it as --file-column: {', '.join(table.header)}"
    )


def _read_table(argument: str, path: Path, content: str) -> Table:
    text = read_text(argument, path)
    if text.lstrip()[:1] in ("[", "{"):
        return table_of_json(argument, text)
    table = parse_table(argument, text, content)
    return table_of_csv(argument, table) if is_export(table) else table


def _name_column(argument: str, table: Table, wanted: str | None) -> int:
    """The index of the column of the image files; the first after a counter if none is wanted."""
    if wanted is not None:
        return _index_of(argument, table, wanted, "--file-column")
    return 1 if _has_counter(table) else 0


def _has_counter(table: Table) -> bool:
    """Whether the first of several columns only counts the rows, as pandas and R write it."""
    if table.header[0] not in ("column 1", "Unnamed: 0") or len(table.header) < 3:
        return False
    cells = [row[0].strip() for row in table.rows]
    return any(cells == [str(first + i) for i in range(len(cells))] for first in (0, 1))


def _chosen_columns(
    argument: str, table: Table, names: int, wanted: str | None, flag: str
) -> list[int]:
    """The indices of the ``wanted`` columns, or of all but those of the names and of a counter.

    Raises:
        UserError: a column does not exist, or two chosen ones have one name and other content.
    """
    if wanted is None:
        first = 1 if _has_counter(table) else 0
        chosen = [column for column in range(first, len(table.header)) if column != names]
    else:
        parts = [wanted] if wanted in table.header else wanted.split(",")
        name = "--label-column" if flag == "--labels" else "--group-column"
        chosen = [_index_of(argument, table, part.strip(), name) for part in parts]
    unique: dict[str, int] = {}
    for column in chosen:
        first = unique.setdefault(table.header[column], column)
        if any(row[first].strip() != row[column].strip() for row in table.rows):
            raise DataError(
                f"{argument} has two columns named {table.header[column]!r}: rename one of them"
            )
    return list(unique.values())


def _index_of(argument: str, table: Table, wanted: str, flag: str) -> int:
    if wanted in table.header:
        return table.header.index(wanted)
    same = [i for i, name in enumerate(table.header) if name.lower() == wanted.lower()]
    if len(same) != 1:
        raise SettingsError(
            f"{flag}={wanted} is not a column of {argument}: it has {', '.join(table.header)}"
        )
    return same[0]


def _filled(
    argument: str,
    table: Table,
    names: int,
    chosen: Sequence[int],
    content: str,
    unfilled: bool,
) -> list[list[str]]:
    """The rows with content; without ``unfilled`` no cell may be empty.

    Raises:
        UserError: a cell is empty, or no row remains.
    """
    kept = []
    for number, row in enumerate(table.rows, 1):
        if not row[names].strip():
            raise DataError(f"{argument}: row {number} has nothing under {table.header[names]!r}")
        empty = [column for column in chosen if not row[column].strip()]
        if unfilled and len(empty) == len(chosen):
            continue
        if empty and not unfilled:
            raise DataError(
                f"{argument}: row {number} ({row[names]}) has nothing under "
                f"{table.header[empty[0]]!r}"
            )
        kept.append(row)
    if not kept:
        raise DataError(f"{argument} has no {content} yet: fill them in for some of its rows")
    return kept


def _decoded(argument: str, columns: list[list[str]]) -> list[list[str]]:
    decoded = [decode_windows(argument, cells) for cells in columns]
    if decoded != columns:
        log.info(f"{argument} is not in UTF-8: its labels are read as Windows-1252")
    return decoded
