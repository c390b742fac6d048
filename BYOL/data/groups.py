"""Which pictures belong together, from a CSV file: those of one patient, camera or part."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from BYOL._console import first_of
from BYOL.data.csv_rows import match_rows, read_rows
from BYOL.data.dataset import Images
from BYOL.data.open import Splits
from BYOL.errors import UserError


@dataclass(frozen=True, eq=False)
class GroupFile:
    """What a file says of pictures.

    Args:
        argument: the flag and the path, which every message begins with.
        rows: the row of every picture by its name.
        groups: (n,) int64 number of each row's group.
        names: of the groups.
    """

    argument: str
    rows: dict[str, int]
    groups: np.ndarray
    names: tuple[str, ...]


def read_groups(path: str | Path) -> GroupFile:
    """Read a CSV file with a header: the picture's file, and the name of its group.

    Args:
        path: the file, in UTF-8.

    Raises:
        UserError: it cannot be read, has not two columns or no row, a cell is empty, a file stands
            there twice.
    """
    file = read_rows("--groups", path, "group")
    if len(file.columns) > 1:
        raise UserError(
            f"{file.argument} has {1 + len(file.columns)} columns: give two, the picture's file "
            "and the name of its group"
        )
    names, groups = np.unique(file.columns[0], return_inverse=True)
    return GroupFile(file.argument, file.rows, groups.astype(np.int64), tuple(names.tolist()))


def group_splits(splits: Splits, file: GroupFile) -> Splits:
    """Say of every picture that may be labelled which group it belongs to.

    They are named as :func:`BYOL.data.csv_rows.match_rows` says. A picture without a row gets -1:
    it may yet prove to have no label either, see :func:`check_grouped`.

    Raises:
        UserError: the file names pictures that are not there.
    """
    parts = (splits.labelled or splits.train, splits.test)
    matched = match_rows(parts, file.argument, file.rows)
    train, test = (
        images and _grouped(images, file, *found)
        for images, found in zip(parts, matched, strict=True)
    )
    assert train is not None
    if splits.labelled:
        return dataclasses.replace(splits, labelled=train, test=test)
    return dataclasses.replace(splits, train=train, test=test)


def _grouped(images: Images, file: GroupFile, kept: np.ndarray, rows: np.ndarray) -> Images:
    groups = np.full(len(images), -1, dtype=np.int64)
    groups[kept] = file.groups[rows]
    return dataclasses.replace(images, groups=groups)


def check_grouped(parts: Sequence[Images | None], file: GroupFile) -> None:
    """See that every picture has a group.

    Args:
        parts: what :func:`group_splits` made, or some of it; None for one that there is not.
        file: of the groups.

    Raises:
        UserError: some have none; it counts them and names the first.
    """
    missing = []
    for images in parts:
        if images is not None and images.groups is not None:
            missing += [images.sample_name(int(i)) for i in np.flatnonzero(images.groups < 0)]
    if missing:
        raise UserError(
            f"{file.argument} has no row for {len(missing):,} of the labelled pictures: "
            f"{first_of(missing)}"
        )


def in_both(train: Images, test: Images, file: GroupFile) -> str | None:
    """A line about the groups with pictures to learn from and pictures that judge, or None."""
    if train.groups is None or test.groups is None:
        return None
    shared = [file.names[group] for group in np.intersect1d(train.groups, test.groups)]
    if not shared:
        return None
    return (
        f"{file.argument}: with pictures on both sides ({len(shared):,}), so that accuracy is too "
        f"good for new groups: {first_of(shared)}"
    )
