"""Groups of images from a CSV file, such as the images of one patient, camera or scene."""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from BYOL._console import first_of
from BYOL.data.csv_rows import RowFile, read_rows
from BYOL.data.dataset import Images
from BYOL.data.frame_images import FrameImages
from BYOL.data.match_rows import match_rows
from BYOL.data.missing_cells import unknown_numbers, without_missing
from BYOL.data.sources import Splits
from BYOL.errors import DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class GroupFile:
    """The content of a file of groups.

    Args:
        argument: the flag and the path, the start of every message.
        rows: maps the name of an image to the index of its row, if its group is known.
        groups: (n,) int64 group number of each of these rows.
        names: the names of the groups.
    """

    argument: str
    rows: dict[str, int]
    groups: np.ndarray
    names: tuple[str, ...]


def read_groups(
    path: str | Path,
    *,
    file_column: str | None = None,
    group_column: str | None = None,
    optional: bool = False,
) -> GroupFile:
    """Read a CSV file with a header and two columns: the image file and the name of its group.

    A row whose group is unknown counts as missing: an empty cell, a word for a missing value, and
    -1 next to other integers. Such images are no group.

    Args:
        path: the file, see :func:`BYOL.data.csv_rows.read_rows`.
        file_column: the column of the image files; None: the first.
        group_column: the column of the groups; None: the only other column.
        optional: whether the first column names the images where ``file_column`` is missing.

    Raises:
        UserError: the file cannot be read, has no group or not exactly two columns, or names a
            file twice.
    """
    file = read_rows(
        "--groups",
        path,
        "group",
        unfilled=True,
        file_column=file_column,
        columns=group_column,
        optional=optional,
    )
    if len(file.columns) > 1:
        raise DataError(
            f"{file.argument} has {1 + len(file.columns)} columns: give two, the image's file "
            f"and the name of its group, or choose --group-column from {', '.join(file.header)}"
        )
    file = _known_rows(file)
    names, groups = np.unique(file.columns[0], return_inverse=True)
    return GroupFile(file.argument, file.rows, groups.astype(np.int64), tuple(names.tolist()))


def _known_rows(file: RowFile) -> RowFile:
    """Return the rows whose group is known, and log a line about words for a missing group."""
    (cells,), remarks = without_missing(file.argument, file.columns, "group")
    unknown = unknown_numbers(set(cells) - {""})
    known = np.array([bool(cell) and cell not in unknown for cell in cells])
    if unknown:
        rows = f"{sum(cell in unknown for cell in cells):,} of {len(cells):,} rows"
        remarks = (*remarks, f"{file.argument}: -1 is read as an unknown group ({rows})")
    if not known.any():
        raise DataError(f"{file.argument} has no group that is known: all are empty or missing")
    for remark in remarks:
        log.info(remark)
    return file.subset(known)


def group_splits(splits: Splits, file: GroupFile) -> Splits:
    """Add the groups of ``file`` to the labelled and the test images of ``splits``.

    Rows are matched as in :func:`BYOL.data.match_rows.match_rows`. An image without a row gets -1,
    because it may have no label either; :func:`check_all_grouped` checks this later.

    Raises:
        UserError: the file names images that do not exist.
    """
    parts = (splits.nameable, splits.test)
    matched = match_rows(parts, file.argument, file.rows)
    train, test = (
        images and _grouped(images, file, *match)
        for images, match in zip(parts, matched, strict=True)
    )
    assert train is not None and train.groups is not None
    if splits.labelled is None:
        return dataclasses.replace(splits, train=train, test=test)
    if splits.nameable is splits.labelled:
        return dataclasses.replace(splits, labelled=train, test=test)
    group_of = {train.sample_name(i): group for i, group in enumerate(train.groups.tolist())}
    names = map(splits.labelled.sample_name, range(len(splits.labelled)))
    groups = np.array([group_of[name] for name in names], dtype=np.int64)
    labelled = dataclasses.replace(splits.labelled, groups=groups)
    return dataclasses.replace(splits, train=train, test=test, labelled=labelled)


def _grouped(images: Images, file: GroupFile, kept: np.ndarray, rows: np.ndarray) -> Images:
    groups = np.full(len(images), -1, dtype=np.int64)
    groups[kept] = file.groups[rows]
    if isinstance(images, FrameImages):  # frames of one file stay together
        assert images.groups is not None
        _, first, inverse = np.unique(images.groups, return_index=True, return_inverse=True)
        groups = groups[first][inverse]
    return dataclasses.replace(images, groups=groups)


def check_all_grouped(parts: Sequence[Images | None], file: GroupFile) -> None:
    """Check that every image has a group.

    Args:
        parts: results of :func:`group_splits`, or subsets of them; None for a missing split.
        file: the groups.

    Raises:
        UserError: some images have no group; the message counts them and names the first ones.
    """
    missing = []
    for images in parts:
        if images is not None and images.groups is not None:
            missing += [images.sample_name(int(i)) for i in np.flatnonzero(images.groups < 0)]
    if missing:
        raise DataError(
            f"{file.argument} has no group for {len(missing):,} of the labelled images: "
            f"{first_of(missing)}"
        )


def shared_groups_warning(train: Images, test: Images, file: GroupFile) -> str | None:
    """A warning if groups have images in both ``train`` and ``test``, else None."""
    if train.groups is None or test.groups is None:
        return None
    shared = [file.names[group] for group in np.intersect1d(train.groups, test.groups)]
    if not shared:
        return None
    return (
        f"{file.argument}: groups with images in both training and test data ({len(shared):,}), "
        f"so accuracy on new groups is overestimated: {first_of(shared)}"
    )
