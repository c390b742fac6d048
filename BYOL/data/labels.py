"""Labels from a CSV file: one class, several tags, or numbers for every image."""

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from BYOL.data.csv_rows import RowFile, read_rows
from BYOL.data.dataset import Images
from BYOL.data.encode_labels import encode_cells
from BYOL.data.match_rows import match_rows
from BYOL.data.sources import Splits
from BYOL.errors import DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LabelFile:
    """The content of a file of labels.

    Args:
        source: the rows whose labels are known.
        labels: (n,) int64 classes, (n, t) bool tags or (n, t) float64 values.
        names: the names of the classes, tags or values.
    """

    source: RowFile
    labels: np.ndarray
    names: tuple[str, ...]

    @property
    def argument(self) -> str:
        """The flag and the path, the start of every message."""
        return self.source.argument

    @property
    def rows(self) -> dict[str, int]:
        """Maps the name of an image to the index of its row."""
        return self.source.rows


def read_labels(
    path: str | Path,
    task: str = "auto",
    *,
    file_column: str | None = None,
    label_column: str | None = None,
) -> LabelFile:
    """Read a CSV file with a header: first the image file, then its labels.

    Rows without labels are unlabelled images and are skipped, and so are rows with an unknown
    label, see :func:`BYOL.data.encode_labels.encode_cells`.

    Args:
        path: the file, see :func:`BYOL.data.csv_rows.read_rows`.
        task: the kind of the columns, see :func:`BYOL.data.encode_labels.encode_cells`.
        file_column: the column of the image files; None: the first.
        label_column: the columns of the labels, with commas between; None: all others.

    Raises:
        UserError: the file cannot be read, lacks columns or rows, has a cell that does not fit the
            task, or names a file twice.
    """
    file = read_rows(
        "--labels",
        path,
        "labels",
        unfilled=True,
        file_column=file_column,
        columns=label_column,
    )
    encoded = encode_cells(file.argument, task, file.header, file.columns)
    for remark in encoded.remarks:
        log.info(remark)
    return LabelFile(file.subset(encoded.known), encoded.values, encoded.names)


def label_splits(splits: Splits, file: LabelFile) -> tuple[Splits, int]:
    """Replace the labels of ``splits`` by those of ``file``.

    Rows are matched as in :func:`BYOL.data.match_rows.match_rows`.

    Returns:
        The labelled images, and the number of images that are left out because they have no label.
        The test split is None if it has no labelled images.

    Raises:
        UserError: the file names images that do not exist, or no training image.
    """
    parts = (splits.nameable, splits.test)
    matched = match_rows(parts, file.argument, file.rows)
    train, test = (
        _labelled(images, file, *match) for images, match in zip(parts, matched, strict=True)
    )
    if train is None:
        raise DataError(f"{file.argument} has no training image: it names only test images")
    all_ = sum(len(images) for images in parts if images is not None)
    return Splits(train, test), all_ - sum(len(kept) for kept, _ in matched)


def _labelled(
    images: Images | None, file: LabelFile, kept: np.ndarray, rows: np.ndarray
) -> Images | None:
    """The images at ``kept`` with the labels of ``rows``; None without any."""
    if images is None or not len(kept):
        return None
    part = dataclasses.replace(images, labels=None).subset(kept)
    return dataclasses.replace(part, labels=file.labels[rows], classes=file.names)
