"""Tables from CSV files as spreadsheets, pandas, R and labelling tools write them."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from BYOL._untrusted import open_plain
from BYOL.data.formats.supported import SUFFIXES
from BYOL.errors import DataError

_MOST_BYTES = 1 << 31  # of a table of labels: ten million rows take a quarter of it
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_BINARY = (
    (b"PK\x03\x04", "a workbook or a zip archive"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"PAR1", "a Parquet file"),
    (b"\x1f\x8b", "compressed"),
    (b"%PDF", "a PDF"),
)
_CONTROL = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f\x7f]")  # in no text; NUL is in UTF-16
_INSPECTED = 1 << 16  # characters from which the delimiter is detected
_SEPARATOR_LINE = re.compile(r"sep=(.)\r?\n", re.IGNORECASE)  # the first line of some Excel files
_SPACE_AND_QUOTE = re.compile(r'[,;\t|] +"')


@dataclass(frozen=True, eq=False)
class Table:
    """A table of text.

    Args:
        header: the names of the columns, without spaces around them.
        rows: the cells of each row, as many as columns. Bytes that are not valid UTF-8 are
            surrogates, because file names may have such bytes.
    """

    header: tuple[str, ...]
    rows: list[list[str]]


def read_text(argument: str, path: Path) -> str:
    """Read a text file in UTF-8, UTF-16 or UTF-32; other bytes become surrogates.

    Args:
        argument: the flag and the path, the start of every message.
        path: the file.

    Raises:
        UserError: the file cannot be read or is no text.
    """
    try:
        with open_plain(path, _MOST_BYTES) as file:
            data = file.read()
    except OSError as error:
        raise DataError(f"{argument} cannot be read: {error.strerror or error}") from error
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _decode(argument, data[len(mark) :], encoding)
    kind = next((name for magic, name in _BINARY if data.startswith(magic)), None)
    if kind is None and (b"\0" in data or _CONTROL.search(data[:_INSPECTED])):
        if (order := _utf16_without_mark(data)) is not None:
            return _decode(argument, data, order)
        kind = "binary"
    if kind is not None:
        raise DataError(f"{argument} is {kind}, not text: save it as a CSV file in UTF-8")
    return _decode(argument, data, "utf-8")


def marked_encoding(head: bytes) -> tuple[str, int]:
    """The encoding of a text, from its first bytes, and the length of its byte order mark.

    It is UTF-8 unless there is a mark, or NULs as UTF-16 has them.
    """
    for mark, encoding in _BOMS:
        if head.startswith(mark):
            return encoding, len(mark)
    without_mark = _utf16_without_mark(head[: len(head) & ~1]) if b"\0" in head else None
    return without_mark or "utf-8", 0


def decode_windows(argument: str, cells: list[str]) -> list[str]:
    """Decode cells with bytes that are not UTF-8 as Windows-1252.

    Args:
        argument: see :func:`read_text`.
        cells: of one column of a :class:`Table`.

    Raises:
        UserError: a cell has bytes that are not in Windows-1252 either.
    """
    try:
        return [windows_text(cell) for cell in cells]
    except UnicodeDecodeError as error:
        raise DataError(
            f"{argument} cannot be read: it is neither UTF-8, UTF-16 nor Windows-1252; save it "
            "as UTF-8"
        ) from error


def windows_text(cell: str) -> str:
    """``cell``, whose surrogates stand for bytes, decoded as Windows-1252 if it has any.

    Raises:
        UnicodeDecodeError: it has bytes that are not in Windows-1252.
    """
    if cell.isascii() or not any("\udc80" <= sign <= "\udcff" for sign in cell):
        return cell
    return cell.encode("utf-8", "surrogateescape").decode("cp1252")


def parse_table(argument: str, text: str, content: str) -> Table:
    """Parse CSV with any usual delimiter.

    Args:
        argument: see :func:`read_text`.
        text: of the file.
        content: a word for the columns after the file name, used in messages.

    Raises:
        UserError: ``text`` is not a table of at least two columns with a header and rows.
    """
    if line := _SEPARATOR_LINE.match(text):
        text, delimiter = text[line.end() :], line[1]
    else:
        delimiter = _delimiter(text)
    try:
        lines = list(_records(text, delimiter, strict=True))
    except csv.Error as error:
        raise DataError(f"{argument} cannot be read: {error}") from error
    lines = [row for row in lines if any(cell.strip() for cell in row)]
    if len(lines) < 2 or len(lines[0]) < 2:
        raise DataError(
            f"{argument} has no {content}: write a header and a row for every image, "
            f"first its file, then its {content}, separated by commas"
        )
    if Path(lines[0][0]).suffix.lower() in SUFFIXES:
        raise DataError(
            f"{argument} starts with an image, {lines[0][0]}: its first line must be a header"
        )
    return _rectangular(argument, *lines)


def _decode(argument: str, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding, "surrogateescape" if encoding == "utf-8" else "strict")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{argument} cannot be read: it is not valid {encoding.upper()}; save it as UTF-8"
        ) from error


def _utf16_without_mark(data: bytes) -> str | None:
    """The byte order of UTF-16 without a mark: its ASCII characters have NULs on one side."""
    even, odd = data[0::2].count(0), data[1::2].count(0)
    if len(data) % 2 or (even and odd) or not (even or odd):
        return None
    encoding = "utf-16-le" if odd else "utf-16-be"
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return encoding


def _records(text: str, delimiter: str, *, strict: bool) -> Iterator[list[str]]:
    spaced = _SPACE_AND_QUOTE.search(text) is not None
    lines = io.StringIO(text, newline="")
    return csv.reader(lines, delimiter=delimiter, strict=strict, skipinitialspace=spaced)


def _delimiter(text: str) -> str:
    """The delimiter that gives the first rows the same number of cells, the largest of several."""

    def quality(delimiter: str) -> tuple[bool, bool, int]:
        try:
            rows = [row for row in islice(_records(start, delimiter, strict=False), 50) if row]
        except csv.Error:
            return False, False, 0
        rows = rows[:-1] if len(rows) > 2 and len(start) < len(text) else rows  # the last is cut
        width = len(rows[0]) if rows else 0
        return width > 1, all(len(row) == width for row in rows), width

    start = text[:_INSPECTED]
    return max(",;\t|", key=quality)


def _rectangular(argument: str, header: list[str], *rows: list[str]) -> Table:
    """Check the lengths of the rows, and remove empty columns at the end.

    Raises:
        UserError: a row differs from the header in length.
    """
    names = [name.strip("\ufeff \t\r\n") for name in decode_windows(argument, header)]
    for number, row in enumerate(rows, 1):
        if len(row) > len(names) and not any(cell.strip() for cell in row[len(names) :]):
            del row[len(names) :]
        if len(row) != len(names):
            raise DataError(
                f"{argument}: row {number} has {len(row)} cells, the header {len(names)}"
            )
    while len(names) > 2 and not names[-1] and not any(row[-1].strip() for row in rows):
        names.pop()
        for row in rows:
            row.pop()
    return Table(tuple(name or f"column {i}" for i, name in enumerate(names, 1)), list(rows))
