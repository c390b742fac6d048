"""CSV files with one row per image: parsing them and matching rows with images."""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from BYOL._console import first_of
from BYOL._links import open_plain
from BYOL.data.dataset import FileImages, Images
from BYOL.data.formats.supported import SUFFIXES
from BYOL.data.shards.dataset import StreamedImages
from BYOL.data.shards.write import member_key
from BYOL.errors import DataError

_MOST_BYTES = 1 << 31  # of a table of labels: ten million rows take a quarter of it
_MOST_HEADER = 1 << 16  # letters of the first line that are searched for a delimiter


@dataclass(frozen=True, eq=False)
class RowFile:
    """The content of a CSV file with one row per image.

    Args:
        argument: the flag and the path, the start of every message.
        rows: maps the name of an image to the index of its row.
        header: the names of the columns, without the first.
        columns: the cells of each of these columns, one per row.
    """

    argument: str
    rows: dict[str, int]
    header: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]


def read_rows(flag: str, path: str | Path, content: str, *, unfilled: bool = False) -> RowFile:
    """Read a CSV file with a header whose first column names the image file.

    Args:
        flag: the flag that passed the file, such as ``--labels``.
        path: the file, in UTF-8.
        content: a word for the other columns, used in messages.
        unfilled: skip rows that hold only a file name instead of rejecting them.

    Raises:
        UserError: the file cannot be read, lacks columns or rows, has an empty cell or names a file
            twice.
    """
    argument = f"{flag}={path}"
    header, body = _table(argument, Path(path), content)
    body = _filled(argument, header, body, content, unfilled)
    rows: dict[str, int] = {}
    for number, row in enumerate(body):
        name = Path(row[0]).as_posix()
        if name in rows:
            raise DataError(f"{argument}: {row[0]} is listed twice")
        rows[name] = number
    columns = tuple(tuple(row[c] for row in body) for c in range(1, len(header)))
    return RowFile(argument, rows, tuple(header[1:]), columns)


def match_rows(
    parts: Sequence[Images | None], argument: str, rows: dict[str, int]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Match the rows of a file with the images of a data set.

    A row names an image by its path in DATA, or below ``train`` or ``test`` (as ``byol embed``
    names it), by DATA and this path (as ``byol outliers`` does) or by its absolute path. An image
    in memory is named by its index. The name of a shard may be omitted, so rows that fit a folder
    also fit the shards made from it.

    Args:
        parts: the splits of the data set; None for a missing split.
        argument: see :class:`RowFile`.
        rows: see :class:`RowFile`.

    Returns:
        For each part, the (m,) indices of the images that have a row, and the (m,) indices of
        these rows.

    Raises:
        UserError: a row matches several images or none.
    """
    used: set[int] = set()
    matched = []
    # Names with their spaces take precedence over stripped ones.
    rows = {**{name.strip(): row for name, row in rows.items()}, **rows}
    for images in parts:
        kept, numbers = _match_part(images, argument, rows) if images is not None else ([], [])
        if used & set(numbers):
            name = next(name for name, row in rows.items() if row in used & set(numbers))
            raise DataError(f"{argument}: {name} is in two folders: put its folder before its name")
        used |= set(numbers)
        matched.append((np.array(kept, dtype=np.int64), np.array(numbers, dtype=np.int64)))
    missing = list({row: name for name, row in rows.items() if row not in used}.values())
    if missing:
        raise DataError(
            f"{argument} names images that are not there ({len(missing):,}): {first_of(missing)}"
        )
    return matched


def _match_part(images: Images, argument: str, rows: dict[str, int]) -> tuple[list[int], list[int]]:
    """Match ``rows`` with one split: the indices of its images that have a row, and of the rows."""
    kept, numbers = [], []
    known, sharded = rows, isinstance(images, StreamedImages)
    if isinstance(images, StreamedImages) and images.index.kind != "parquet":
        known = _with_member_names(known)  # Parquet keeps the original paths
    own = [known.get(_own_name(images, index)) for index in range(len(images))]
    exact, folders = set(own), _folders(images)
    for index, row in enumerate(own):
        if row is None:  # try alternative names; rows that match an image exactly are taken
            names = _alternative_names(images, index, folders)
            matches = (known.get(name) for name in names)
            row = next((row for row in matches if row is not None and row not in exact), None)
        if row is not None:
            kept.append(index)
            numbers.append(row)
    if len(set(numbers)) < len(numbers):
        twice = next(row for row, count in Counter(numbers).items() if count > 1)
        name = next(name for name, row in rows.items() if row == twice)
        unique = f"SHARD/{name}" if sharded else "its path in DATA"
        raise DataError(f"{argument}: {name} matches two images: name it as {unique}")
    return kept, numbers


def row_name(images: Images, index: int, several: bool) -> str:
    """The name of an image that :func:`match_rows` resolves to the same image.

    Args:
        images: the set that holds the image.
        index: the index of the image in ``images``.
        several: whether other sets may hold an image of the same name.
    """
    name = images.sample_name(index)
    return f"{images.root.name}/{name}" if several and isinstance(images, FileImages) else name


def _own_name(images: Images, index: int) -> str:
    """The path of an image in its folder, its index, or its name in its shard, with ``/``."""
    return images.sample_name(index).replace(os.sep, "/")


def _folders(images: Images) -> tuple[str, ...]:
    """The prefixes accepted before a path: the folder's name, its passed and its absolute path."""
    if not isinstance(images, FileImages):
        return ()
    absolute = Path(os.path.abspath(images.root))  # noqa: PTH100  # symlinks are not resolved
    return images.root.name, images.root.as_posix(), absolute.as_posix()


def _alternative_names(images: Images, index: int, folders: tuple[str, ...]) -> Iterator[str]:
    """Yield the accepted names of an image other than :func:`_own_name`."""
    name = _own_name(images, index)
    for folder in folders:
        yield f"{folder}/{name}"
    if isinstance(images, StreamedImages):
        inner = Path(images.inner_name(index)).as_posix()
        yield f"{re.split(r'[-_.]', name)[0]}/{inner}"  # train/… for train-000000.tar
        yield inner


def _with_member_names(rows: dict[str, int]) -> dict[str, int]:
    """Add the member names that ``byol shard`` creates to ``rows``; ambiguous names are dropped."""
    members = {name: "".join(member_key(name)) for name in rows}
    count = Counter(members.values())
    unique = {members[name]: row for name, row in rows.items() if count[members[name]] == 1}
    return {**unique, **{name: row for name, row in rows.items() if count[name] < 2}}


def _table(argument: str, path: Path, content: str) -> tuple[list[str], list[list[str]]]:
    """Parse a CSV file into its header and its rows.

    Raises:
        UserError: the file cannot be read, or a row differs from the header in length.
    """
    try:
        # File names, which also serve as groups, may contain bytes that are not valid UTF-8.
        with io.TextIOWrapper(
            open_plain(path, _MOST_BYTES), "utf-8-sig", "surrogateescape", newline=""
        ) as file:
            first = file.readline(_MOST_HEADER)
            delimiter = next((sign for sign in ",;\t" if sign in first), ",")
            file.seek(0)
            read = csv.reader(file, delimiter=delimiter, strict=True)
            lines = [[row[0], *(cell.strip() for cell in row[1:])] for row in read if row]
            if content == "labels":
                "".join(cell for row in lines for cell in row[1:]).encode()
    except (OSError, UnicodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{argument} cannot be read: {reason}") from error
    if len(lines) < 2 or len(lines[0]) < 2:
        raise DataError(
            f"{argument} has no {content}: write a header and a row for every image, "
            f"first its file, then its {content}, separated by commas"
        )
    if Path(lines[0][0]).suffix.lower() in SUFFIXES:
        raise DataError(
            f"{argument} starts with an image, {lines[0][0]}: its first line must be a header"
        )
    header, *body = lines
    for number, row in enumerate(body, 1):
        if len(row) != len(header):
            raise DataError(
                f"{argument}: row {number} has {len(row)} cells, the header {len(header)}"
            )
    return header, body


def _filled(
    argument: str, header: list[str], body: list[list[str]], content: str, unfilled: bool
) -> list[list[str]]:
    """Check that no cell is empty; with ``unfilled``, skip rows that hold only a file name.

    Raises:
        UserError: a cell is empty, or no row remains.
    """
    kept = []
    for number, row in enumerate(body, 1):
        if unfilled and row[0] and not any(row[1:]):
            continue
        if "" in row:
            raise DataError(
                f"{argument}: row {number} ({row[0]}) has nothing under {header[row.index('')]!r}"
            )
        kept.append(row)
    if not kept:
        raise DataError(f"{argument} has no {content} yet: fill them in for some of its rows")
    return kept
