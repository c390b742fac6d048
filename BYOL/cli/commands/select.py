"""The command ``byol select``."""

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np

from BYOL._console import first_of
from BYOL._files import check_output_file, write_csv
from BYOL._untrusted import open_plain
from BYOL.cli.commands.common import Answer, images_text
from BYOL.config.curation import SelectConfig
from BYOL.curation.contact_sheet import SIDE, Tile, save_grid
from BYOL.curation.feature_store import Collection
from BYOL.curation.run_features import Features, open_features
from BYOL.curation.selection import Selection, select_representatives
from BYOL.data.annotations import AnnotationFiles
from BYOL.data.csv_rows import RowFile
from BYOL.data.match_rows import match_rows
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
    files = _label_files(config, features)
    labels = files.read_labels()
    file = labels.source if labels else None
    _check_unfilled(out, files.labels, file)
    with features.collect() as collection:
        known = _known(features, file)
        labelled, blank = _labelled(features, collection, known), collection.blank()
        found = select_representatives(
            collection.features, config.count, config.seed, allowed=~blank, labelled=labelled
        )
        if not len(found.positions):
            reason = "all images are blank" if blank.all() else "all have labels or are blank"
            raise UserError(f"there is no image left to label: {reason}")
        names = [collection.file(place) for place in found.positions.tolist()]
        _write(out, features, file, known, names)
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
    images = images_text(answer["pictures"], answer["left_out"])
    column = file.header[0] if file else _HEADER[1]
    return (
        f"{len(answer['selected']):,} of {images} to label{existing}, in "
        f"{answer['out']}{drawn}\nfill in the column {column!r}, then --labels={answer['out']}"
    )


def _label_files(config: SelectConfig, features: Features) -> AnnotationFiles:
    """The file of existing labels: that of the command, or without DATA that of the run."""
    if config.labels is None and config.data is None:
        return dataclasses.replace(AnnotationFiles.of(features.run.config), groups=None)
    return AnnotationFiles(
        config.labels, label_column=config.label_column, file_column=config.file_column
    )


def _check_unfilled(out: Path, labels: str | None, file: RowFile | None) -> None:
    """Check that nothing is overwritten that somebody has filled in.

    Raises:
        UserError: the file ``out`` has labels, and it is not the file ``labels``, or it has columns
            that are not written again.
    """
    if not out.exists():
        return
    if labels and out.samefile(labels):
        if file and file.others:
            raise UserError(
                f"--out={out} has columns that would be lost ({first_of(file.others)}): give "
                "another --out"
            )
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


def _known(features: Features, file: RowFile | None) -> dict[str, list[tuple[int, int]]]:
    """The images with a label by split: the index of each, and of its row in ``file``."""
    if file is None:
        return {}
    parts = {"train": features.splits.train, "test": features.splits.test}
    matched = match_rows(list(parts.values()), file.argument, file.rows)
    return {
        name: list(zip(kept.tolist(), rows.tolist(), strict=True))
        for name, (kept, rows) in zip(parts, matched, strict=True)
    }


def _labelled(
    features: Features, collection: Collection, known: dict[str, list[tuple[int, int]]]
) -> np.ndarray:
    """(n,) bool: whether each image has a label."""
    found = np.zeros(len(collection), dtype=bool)
    for number, name in enumerate(features.sets):
        own = collection.locations[:, 0] == number
        kept = [index for index, _ in known.get(name, ())]
        found |= own & np.isin(collection.locations[:, 1], kept)
    return found


def _write(
    out: Path,
    features: Features,
    file: RowFile | None,
    known: dict[str, list[tuple[int, int]]],
    names: list[str],
) -> None:
    """Write the rows that have a label, then those of the chosen images."""
    header = _HEADER if file is None else (_HEADER[0], *file.header)
    parts = {"train": features.splits.train, "test": features.splits.test}
    name_of = {
        row: images.file_name(index)
        for name, images in parts.items()
        if images is not None
        for index, row in known.get(name, ())
    }
    columns = file.columns if file else ()
    labelled = [(name_of[row], *(c[row] for c in columns)) for row in sorted(name_of)]
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
