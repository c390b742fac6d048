"""The command ``byol select``."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np

from BYOL._files import check_output_file, write_csv
from BYOL._links import open_plain
from BYOL.cli.commands.common import Answer
from BYOL.config.curation import SelectConfig
from BYOL.curation.contact_sheet import SIDE, Tile, save_grid
from BYOL.curation.feature_store import Collection
from BYOL.curation.run_features import Features, open_features
from BYOL.curation.selection import Selection, select_representatives
from BYOL.data.csv_rows import RowFile, match_rows, read_rows, row_name
from BYOL.errors import UserError

_DRAWN = 400  # maximum number of images in the contact sheet
_HEADER = ("file", "label")


def select_run(config: SelectConfig) -> Answer:
    """Choose images to label, the most informative first, and write a file to fill in.

    Raises:
        UserError: there is no run, there are no images left to label, the labels do not fit, or a
            file cannot be written.
    """
    out = check_output_file("out", config.out, ".csv")
    grid = None if config.grid is None else check_output_file("grid", config.grid, ".png")
    features = open_features(config)
    labels = config.labels or (features.run.config.labels if config.data is None else None)
    file = read_rows("--labels", labels, "labels", unfilled=True) if labels else None
    _check_unfilled(out, labels)
    with features.collect() as collection:
        labelled, blank = _labelled(features, collection, file), collection.blank()
        found = select_representatives(
            collection.features, config.count, config.seed, allowed=~blank, labelled=labelled
        )
        if not len(found.positions):
            raise UserError("there is no image left to label")
        names = [_name(features, collection, place) for place in found.positions.tolist()]
        _write(out, file, names)
        if grid:
            _draw(collection, found, names, grid)
        answer = {
            "out": str(out),
            "grid": str(grid) if grid else None,
            "pictures": len(collection),
            "left_out": features.total - len(collection),
            "blank": int(blank.sum()),
            "labelled": int(labelled.sum()),
            "selected": names,
        }
    return answer, _text(answer, file)


def _text(answer: dict[str, Any], file: RowFile | None) -> str:
    existing = f", in addition to the {answer['labelled']:,} that have a label" if file else ""
    drawn = f", drawn in {answer['grid']}" if answer["grid"] else ""
    column = file.header[0] if file else _HEADER[1]
    return (
        f"{len(answer['selected']):,} of {answer['pictures']:,} images to label{existing}, in "
        f"{answer['out']}{drawn}\nfill in the column {column!r}, then --labels={answer['out']}"
    )


def _check_unfilled(out: Path, labels: str | None) -> None:
    """Check that no labels are overwritten that somebody has filled in.

    Raises:
        UserError: the file ``out`` has labels, and it is not the file ``labels``.
    """
    if not out.exists() or (labels and out.samefile(labels)):
        return
    if _has_labels(out):
        raise UserError(
            f"--out={out} has labels, which would be lost: give it as --labels too, or "
            "another --out"
        )


def _has_labels(out: Path) -> bool:
    """Whether a file has a cell after the first one of a row, or is not a table at all."""
    try:
        with io.TextIOWrapper(open_plain(out), "utf-8", "replace", newline="") as lines:
            rows = [row for row in csv.reader(lines) if row]
    except (OSError, csv.Error):
        return True
    # a row with one cell comes from a spreadsheet that separates cells by semicolons
    return any(len(row) < 2 or any(map(str.strip, row[1:])) for row in rows[1:])


def _labelled(features: Features, collection: Collection, file: RowFile | None) -> np.ndarray:
    """(n,) bool: whether the file has a row for each image."""
    found = np.zeros(len(collection), dtype=bool)
    if file is None:
        return found
    parts = {"train": features.splits.train, "test": features.splits.test}
    matched = match_rows(list(parts.values()), file.argument, file.rows)
    numbers = {name: number for number, name in enumerate(features.sets)}
    for name, (kept, _) in zip(parts, matched, strict=True):
        if name in numbers:
            own = collection.locations[:, 0] == numbers[name]
            found |= own & np.isin(collection.locations[:, 1], kept)
    return found


def _name(features: Features, collection: Collection, place: int) -> str:
    images, index = collection.location(place)
    return row_name(images, index, features.splits.test is not None)


def _write(out: Path, file: RowFile | None, names: list[str]) -> None:
    """Write the rows that have a label, then those of the chosen images."""
    header = _HEADER if file is None else (_HEADER[0], *file.header)
    labelled = [] if file is None else zip(file.rows, *file.columns, strict=True)
    empty = ("",) * (len(header) - 1)
    write_csv(out, header, [*labelled, *((name, *empty) for name in names)])


def _draw(collection: Collection, found: Selection, names: list[str], path: Path) -> None:
    tiles = []
    chosen = zip(found.positions.tolist(), found.sizes.tolist(), names, strict=True)
    for rank, (place, size, name) in enumerate(list(chosen)[:_DRAWN], 1):
        image = collection.thumbnail(place, SIDE)
        if image is not None:
            tiles.append(Tile(image, (f"{rank}: of {size:,} alike", Path(name).name)))
    save_grid([tiles], path)
