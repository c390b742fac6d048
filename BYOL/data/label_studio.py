"""Exports of Label Studio: its JSON, JSON-MIN and CSV files as tables of labels.

An export has one entry for each annotation. Cancelled annotations count as missing. An image whose
annotators disagree has no label.
"""

import json
import re
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from BYOL.data.csv_table import Table
from BYOL.errors import DataError

# Columns that describe an annotation, not the image.
_META = frozenset(
    ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement",
     "inner_id", "total_annotations", "cancelled_annotations", "total_predictions",
     "comment_count", "unresolved_comment_count", "last_comment_updated_at", "project",
     "updated_by", "comment_authors", "file_upload", "drafts", "predictions", "meta",
     "allow_skip", "precomputed_agreement")
)  # fmt: skip
_MARKS = frozenset(("annotation_id", "annotator"))  # every CSV export has both
_PLACE = re.compile(r"[A-Za-z][\w+.-]*://|/data/(upload|local-files)/")
_UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")  # written before the name of an uploaded file
# The data of an image, and its labels by the name of their control; None if the data has them too.
Entry = tuple[dict[str, str], dict[str, str] | None]
_VALUES = ("choices", "number", "rating", "taxonomy", "text")  # of whole images


def is_place(name: str) -> bool:
    """Whether ``name`` is a URL, or a path that Label Studio gives to a file."""
    return _PLACE.match(name) is not None


def path_of_place(name: str) -> list[str]:
    """The parts of the path that a URL or a path of Label Studio names.

    The prefix that Label Studio writes before the names of uploaded files is kept.
    """
    try:
        parts = urlsplit(name)
    except ValueError:  # of a host in broken brackets
        return []
    local = parse_qs(parts.query).get("d", [""])[0]
    path = local or unquote(parts.path)
    return [part for part in path.replace("\\", "/").split("/") if part]


def without_upload_prefix(name: str) -> str:
    """The original name of an uploaded file."""
    return _UPLOAD.sub("", name)


def is_export(table: Table) -> bool:
    """Whether a CSV file is an export of Label Studio."""
    return set(table.header) >= _MARKS


def table_of_csv(argument: str, table: Table) -> Table:
    """The images and labels of a CSV export, with the column of the images first.

    Raises:
        UserError: no column names images, or there are no labels.
    """
    records = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    return _merged(argument, [(r, None) for r in records], table.header)


def table_of_json(argument: str, text: str) -> Table:
    """The images and labels of a JSON or JSON-MIN export.

    Raises:
        UserError: it is not JSON, or not an export of Label Studio with labels of whole images.
    """
    try:
        tasks = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{argument} cannot be read: it is neither CSV nor JSON") from error
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise DataError(f"{argument} is JSON, but not an export of Label Studio: give a CSV file")
    entries: list[Entry] = []
    for task in tasks:
        data = task.get("data")
        if not isinstance(data, dict):  # JSON-MIN: images and labels side by side
            entries.append(({str(k): _cell(argument, v) for k, v in task.items()}, None))
            continue
        images = {str(k): v for k, v in data.items() if isinstance(v, str)}
        found = task.get("annotations") or task.get("completions") or []
        kept = [a for a in found if isinstance(a, dict) and not a.get("was_cancelled")]
        entries += [(images, _labels(argument, a.get("result"))) for a in kept] or [(images, {})]
    names = dict.fromkeys(name for images, labels in entries for name in (*images, *(labels or ())))
    return _merged(argument, entries, tuple(names))


def _labels(argument: str, result: Any) -> dict[str, str]:
    """The labels of one annotation, by the name of the control that set them."""
    labels: dict[str, str] = {}
    for region in result if isinstance(result, list) else []:
        value = region.get("value") if isinstance(region, dict) else None
        if not isinstance(value, dict):
            continue
        kind = next((kind for kind in _VALUES if kind in value), None)
        if kind is None:
            raise DataError(
                f"{argument} has regions of images ({region.get('type', 'unknown')}): only labels "
                "of whole images can be used"
            )
        labels[str(region.get("from_name", kind))] = _cell(argument, value[kind])
    return labels


def _cell(argument: str, value: Any) -> str:
    """A value of an export as the cell of a table: several choices are separated by ``|``."""
    if isinstance(value, dict):
        kind = next((kind for kind in _VALUES if kind in value), None)
        return "" if kind is None else _cell(argument, value[kind])
    if isinstance(value, list):
        if any(isinstance(item, dict) for item in value):
            raise DataError(
                f"{argument} has regions of images: only labels of whole images can be used"
            )
        # A path of a taxonomy is a list in the list.
        return "|".join("/".join(map(str, i)) if isinstance(i, list) else str(i) for i in value)
    return "" if value is None else str(value)


def _merged(argument: str, entries: list[Entry], names: tuple[str, ...]) -> Table:
    """One row per image from entries of images and labels, and the image column first."""
    inputs = [name for name in names if name not in _META and any(name in e for e, _ in entries)]
    image = _image_column(argument, entries, inputs)
    columns = list(dict.fromkeys(name for _, labels in entries for name in labels or ()))
    if all(labels is None for _, labels in entries):
        columns = [name for name in inputs if name != image]
    if not columns:
        raise DataError(f"{argument} is an export of Label Studio without labels")
    rows: dict[str, list[set[str]]] = {}
    for images, labels in entries:
        cells = rows.setdefault(images.get(image, ""), [set() for _ in columns])
        for cell, column in zip(cells, columns, strict=True):
            cell.add(_choices(argument, (images if labels is None else labels).get(column, "")))
    merged = [[name, *map(_agreed, cells)] for name, cells in rows.items()]
    return Table((image, *columns), merged)


def _agreed(cells: set[str]) -> str:
    """The label that all annotators of an image gave, else an empty cell."""
    given = cells - {""}
    return given.pop() if len(given) == 1 else ""


def _choices(argument: str, cell: str) -> str:
    """A cell of the CSV export, in which several choices are JSON."""
    if cell[:1] not in ("{", "["):
        return cell
    try:
        return _cell(argument, json.loads(cell))
    except ValueError:
        return cell


def _image_column(argument: str, entries: list[Entry], inputs: list[str]) -> str:
    """The column whose cells are places of files, else the one with the usual name."""
    for name in inputs:
        cells = [images.get(name, "") for images, _ in entries]
        if any(cells) and all(is_place(cell) for cell in cells if cell):
            return name
    usual = next((name for name in inputs if name.lower() in ("image", "img", "file")), None)
    if usual is None:
        raise DataError(f"{argument} is an export of Label Studio without a column of images")
    return usual
