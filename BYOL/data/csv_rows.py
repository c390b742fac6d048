"""A CSV file with a row for every picture: reading it, and finding the row of each picture."""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from BYOL._console import first_of
from BYOL.data.dataset import FileImages, Images
from BYOL.data.formats.supported import SUFFIXES
from BYOL.data.shards.dataset import StreamedImages
from BYOL.data.shards.write import member_key
from BYOL.errors import UserError


@dataclass(frozen=True, eq=False)
class RowFile:
    """A file of rows.

    Args:
        argument: the flag and the path, which every message begins with.
        rows: the row of every picture by its name.
        header: names of the columns, without the first.
        columns: their cells, as many as there are rows.
    """

    argument: str
    rows: dict[str, int]
    header: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]


def read_rows(flag: str, path: str | Path, content: str, *, unfilled: bool = False) -> RowFile:
    """Read a CSV file with a header, whose first column is the picture's file.

    Args:
        flag: what the file was given as, such as ``--labels``.
        path: the file, in UTF-8.
        content: what its rows say of pictures, in a word, for messages.
        unfilled: rows of a file and nothing else are passed over, not refused.

    Raises:
        UserError: it cannot be read, lacks columns or rows, a cell is empty, a file stands there
            twice.
    """
    argument = f"{flag}={path}"
    header, body = _table(argument, Path(path), content)
    body = _filled(argument, header, body, content, unfilled)
    rows: dict[str, int] = {}
    for number, row in enumerate(body):
        name = Path(row[0]).as_posix()
        if name in rows:
            raise UserError(f"{argument}: {row[0]} stands there twice")
        rows[name] = number
    columns = tuple(tuple(row[c] for row in body) for c in range(1, len(header)))
    return RowFile(argument, rows, tuple(header[1:]), columns)


def match_rows(
    parts: Sequence[Images | None], argument: str, rows: dict[str, int]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Find the rows of the pictures of a data set.

    A picture is named by its path in the folder that the user gave, or below its ``train`` or
    ``test`` (as ``byol embed`` names it), with DATA before it (as ``byol outliers`` does), or by
    its absolute path; one in memory by its number; one in a shard also without the shard's name, so
    that what fits a folder fits the shards that were made of it.

    Args:
        parts: of the set, None for one that there is not.
        argument: of :class:`RowFile`, and so are ``rows``.
        rows: by name.

    Returns:
        For each part the (m,) numbers of its pictures that have a row, and (m,) their rows.

    Raises:
        UserError: a row fits two pictures, or none.
    """
    found: set[int] = set()
    matched = []
    rows = {**{name.strip(): row for name, row in rows.items()}, **rows}  # spaces may be its own
    for images in parts:
        kept, numbers = _matched(images, argument, rows) if images is not None else ([], [])
        if found & set(numbers):
            name = next(name for name, row in rows.items() if row in found & set(numbers))
            raise UserError(f"{argument}: {name} is in two folders: name it with its own")
        found |= set(numbers)
        matched.append((np.array(kept, dtype=np.int64), np.array(numbers, dtype=np.int64)))
    missing = list({row: name for name, row in rows.items() if row not in found}.values())
    if missing:
        raise UserError(
            f"{argument} names pictures that are not there ({len(missing):,}): {first_of(missing)}"
        )
    return matched


def _matched(images: Images, argument: str, rows: dict[str, int]) -> tuple[list[int], list[int]]:
    kept, numbers = [], []
    known, sharded = rows, isinstance(images, StreamedImages)
    if isinstance(images, StreamedImages) and images.index.kind != "parquet":
        known = _with_members(known)  # Parquet keeps the paths as they were
    own = [known.get(_own_name(images, index)) for index in range(len(images))]
    exact, folders = set(own), _folders(images)
    for index, row in enumerate(own):
        if row is None:  # by another name, unless the row is of the picture that has it for its own
            others = (known.get(name) for name in _other_names(images, index, folders))
            row = next((row for row in others if row is not None and row not in exact), None)
        if row is not None:
            kept.append(index)
            numbers.append(row)
    if len(set(numbers)) < len(numbers):
        twice = next(row for row, count in Counter(numbers).items() if count > 1)
        name = next(name for name, row in rows.items() if row == twice)
        how = f"SHARD/{name}" if sharded else "its path in DATA"
        raise UserError(f"{argument}: {name} is there twice: name it as {how}")
    return kept, numbers


def row_name(images: Images, index: int, several: bool) -> str:
    """What a row calls a picture, so that :func:`match_rows` finds it again.

    Args:
        images: of which it is.
        index: its number there.
        several: there are other sets, with pictures that may have the same name.
    """
    name = images.sample_name(index)
    return f"{images.root.name}/{name}" if several and isinstance(images, FileImages) else name


def _own_name(images: Images, index: int) -> str:
    """The path in its folder, or its number, or its name in its shard."""
    return images.sample_name(index).replace(os.sep, "/")


def _folders(images: Images) -> tuple[str, ...]:
    """What may stand before a path: the folder's name, all of it as given, and absolute."""
    if not isinstance(images, FileImages):
        return ()
    absolute = Path(os.path.abspath(images.root))  # noqa: PTH100  # links keep their names
    return images.root.name, images.root.as_posix(), absolute.as_posix()


def _other_names(images: Images, index: int, folders: tuple[str, ...]) -> Iterator[str]:
    """By which else a picture may be known than by :func:`_own_name`."""
    name = _own_name(images, index)
    for folder in folders:
        yield f"{folder}/{name}"
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


def _table(argument: str, path: Path, content: str) -> tuple[list[str], list[list[str]]]:
    try:
        # A name of a file, which a group may have too, may hold bytes that are no text.
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            first = file.readline()
            delimiter = next((sign for sign in ",;\t" if sign in first), ",")
            file.seek(0)
            read = csv.reader(file, delimiter=delimiter, strict=True)
            lines = [[row[0], *(cell.strip() for cell in row[1:])] for row in read if row]
            if content == "labels":
                "".join(cell for row in lines for cell in row[1:]).encode()
    except (OSError, UnicodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{argument} cannot be read: {reason}") from error
    if len(lines) < 2 or len(lines[0]) < 2:
        raise UserError(
            f"{argument} has no {content}: give a header and a row for every picture, "
            f"first its file, then its {content}, separated by commas"
        )
    if Path(lines[0][0]).suffix.lower() in SUFFIXES:
        raise UserError(
            f"{argument} begins with a picture, {lines[0][0]}: its first line is to be a header"
        )
    header, *body = lines
    for number, row in enumerate(body, 1):
        if len(row) != len(header):
            raise UserError(
                f"{argument}: row {number} has {len(row)} cells, the header {len(header)}"
            )
    return header, body


def _filled(
    argument: str, header: list[str], body: list[list[str]], content: str, unfilled: bool
) -> list[list[str]]:
    """The rows, or those that say something, without an empty cell."""
    kept = []
    for number, row in enumerate(body, 1):
        if unfilled and row[0] and not any(row[1:]):
            continue
        if "" in row:
            raise UserError(
                f"{argument}: row {number} ({row[0]}) has nothing under {header[row.index('')]!r}"
            )
        kept.append(row)
    if not kept:
        raise UserError(f"{argument} has no {content} yet: fill them in for some of its rows")
    return kept
