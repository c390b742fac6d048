"""Stored features of images: a Parquet file, or a folder of Parquet files.

``byol embed`` writes such files. A Parquet file of another program needs the columns ``file`` (the
name of the image relative to DATA) and ``embedding`` (a list of numbers), in any order of rows.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from BYOL._console import printable
from BYOL.curation.embeddings import Batches, parquet_text
from BYOL.curation.feature_description import (
    Description,
    find_difference,
    find_other_images,
)
from BYOL.curation.feature_folder import FeatureFolder
from BYOL.curation.name_index import NameIndex
from BYOL.data.dataset import Images
from BYOL.errors import DataError, UserError, first_line

Locate = Callable[[slice], np.ndarray]
_CHUNK = 8192  # rows that are read at a time
_UNKNOWN = -(1 << 62)  # shifts the rows of other images to negative positions


@dataclass(frozen=True)
class FeatureTable:
    """Stored features, one row per image.

    Args:
        folder: the folder of the files.
        files: their names, in the order of the rows.
        description: see :mod:`BYOL.curation.feature_description`; empty for another program's file.
    """

    folder: FeatureFolder
    files: Sequence[str]
    description: Description

    @cached_property
    def counts(self) -> list[int]:
        """The number of rows of every file."""
        counts = []
        for name in self.files:
            with self.parquet(name) as file:
                missing = {"file", "embedding"} - set(file.schema_arrow.names)
                if missing:
                    raise self.error(f"{name} has no column {min(missing)}")
                counts.append(file.metadata.num_rows)
        return counts

    def __len__(self) -> int:
        return sum(self.counts)

    @cached_property
    def width(self) -> int:
        """The number of values of every row."""
        for _, batch in self.read(["embedding"]):
            if len(batch):
                return matrix_of(batch["embedding"], self.folder.argument).shape[1]
        raise self.error("it has no rows")

    @cached_property
    def has_thumbnails(self) -> bool:
        """Whether grey thumbnails are stored."""
        with self.parquet(self.files[0]) as file:
            return {"thumbnail", "contrast"} <= set(file.schema_arrow.names)

    def read(self, columns: list[str]) -> Iterator[tuple[int, Any]]:
        """Yield the number of the first row and a record batch of ``columns``, chunk by chunk."""
        start = 0
        for name in self.files:
            with self.parquet(name) as file:
                for batch in file.iter_batches(_CHUNK, columns=columns):
                    yield start, batch
                    start += len(batch)

    def check(self, wanted: Description, *, mirror: bool | None = None) -> None:
        """Check that the features are of the backbone and the images of ``wanted``.

        Args:
            wanted: from :func:`BYOL.curation.feature_description.describe`.
            mirror: whether they must be averaged over mirror images; None: either.

        Raises:
            UserError: they are not.
        """
        if not self.description:
            return
        if mirror is not None and self.description.get("mirror") != mirror:
            raise self.error(
                f"this command needs features {'with' if mirror else 'without'} --mirror"
            )
        other = find_difference(self.description, wanted)
        other = other or find_other_images(self.description, wanted)
        if other:
            raise self.error(f"its features are of {other}")

    def match(self, sets: dict[str, Images], *, complete: bool = False) -> "StoredFeatures":
        """Find the images of ``sets``: by order if all are stored, else by the column ``file``.

        Args:
            sets: images by split.
            complete: whether every image must have a row if another program wrote the table. In a
                table of ``byol embed`` an image without a row could not be read.

        Raises:
            UserError: an image has no row, or two.
        """
        if (locate := self._locate_in_order(sets)) is not None:
            return StoredFeatures(self, sets, locate)
        index = NameIndex(sets, self.folder.argument)
        positions = np.empty(len(self), np.min_scalar_type(-max(index.count, 1)))
        for start, batch in self.read(["file"]):
            positions[start : start + len(batch)] = index.locate(batch["file"].to_pylist())
        if complete and not self.description:
            index.check_all_found()
        if not (positions >= 0).any():
            raise self.error("it has no row for any of the images")
        return StoredFeatures(self, sets, lambda rows: positions[rows])

    def _locate_in_order(self, sets: dict[str, Images]) -> "Locate | None":
        """Return how rows are located without their names, or None if they are not in order."""
        stored = self.description.get("images", {})
        counts = np.array([images["count"] for images in stored.values()], np.int64)
        if not len(counts) or counts.sum() != len(self):
            return None
        ends = np.cumsum(counts)
        first = dict(zip(stored, (ends - counts).tolist(), strict=True))
        shifts = dict.fromkeys(stored, _UNKNOWN)  # from the number of a row to the position
        start = 0
        for name, part in sets.items():
            equal = (s for s, images in stored.items() if images["count"] == len(part))
            same = [split for split in equal if stored[split].get("digest") == part.digest]
            same = [name] if name in same else same
            if len(same) != 1 or shifts[same[0]] != _UNKNOWN:  # sets of the same names
                return None
            shifts[same[0]] = start - first[same[0]]
            start += len(part)
        shift = np.array(list(shifts.values()))

        def locate(rows: slice) -> np.ndarray:
            numbers = np.arange(rows.start, rows.stop)
            return np.maximum(numbers + shift[np.searchsorted(ends, numbers, "right")], -1)

        return locate

    @contextmanager
    def parquet(self, name: str) -> Iterator[Any]:
        """Open the file ``name`` as a :class:`pyarrow.parquet.ParquetFile` in a context."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        with self.folder.open(name) as stream:
            try:
                file = pq.ParquetFile(stream)
            except (pa.ArrowException, OSError) as error:
                raise self.error(f"{name} is not a Parquet file: {first_line(error)}") from error
            try:
                yield file
            except pa.ArrowException as error:
                raise self.error(f"{name} is damaged: {first_line(error)}") from error

    def error(self, reason: str) -> UserError:
        """Return the error for ``reason``, which names the table."""
        return DataError(f"{self.folder.argument}: {reason}")


@dataclass(frozen=True)
class StoredFeatures:
    """The rows of a table that belong to images.

    Args:
        table: the table.
        sets: the images by split.
        locate: returns for rows their positions (n,) in the concatenation of ``sets``, and -1 for
            rows of other images. For rows in order it is arithmetic, so that memory does not grow
            with the table.
    """

    table: FeatureTable
    sets: dict[str, Images]
    locate: Locate

    def batches(self, *, thumbnails: bool = False) -> Batches:
        """Yield batches of split, its images, image numbers and features.

        Args:
            thumbnails: whether the stored thumbnails and contrasts follow the features, as in
                :class:`BYOL.curation.feature_store.FeaturesWithThumbnail`.
        """
        table, splits = self.table, list(self.sets.items())
        ends = np.cumsum([len(images) for images in self.sets.values()])
        columns = ["file", "embedding", *(("thumbnail", "contrast") if thumbnails else ())]
        for start, batch in table.read(columns):
            positions = self.locate(slice(start, start + len(batch)))
            numbers = np.searchsorted(ends, positions, "right")
            numbers[positions < 0] = -1
            if not (numbers >= 0).any():
                continue
            vectors = matrix_of(batch["embedding"], table.folder.argument)
            if vectors.shape[1] != table.width:
                raise table.error("the rows of its column embedding have different lengths")
            if thumbnails:
                greys = matrix_of(batch["thumbnail"], table.folder.argument) / np.float32(255)
                contrasts = batch["contrast"].to_numpy()[:, None]
                vectors = np.concatenate([vectors, greys, contrasts], axis=1, dtype=np.float32)
            for number in np.unique(numbers[numbers >= 0]).tolist():
                split, images = splits[number]
                rows = np.flatnonzero(numbers == number)
                ids = positions[rows].astype(np.int64) - (ends[number] - len(images))
                self._check_name(images, int(ids[0]), batch["file"][int(rows[0])].as_py())
                yield split, images, ids, vectors[rows]

    def _check_name(self, images: Images, image: int, stored: str) -> None:
        """Check the first name of a batch, because a table in order is matched without names."""
        if parquet_text(images.file_name(image)) != stored:
            raise self.table.error(f"it has a row of {printable(stored)} for another image")


def matrix_of(column: Any, argument: str) -> np.ndarray:
    """Return a column of lists of numbers as (n, d).

    Args:
        column: a pyarrow array of lists.
        argument: the table, as messages name it.

    Raises:
        UserError: the lists have different lengths, or contain no numbers.
    """
    import pyarrow as pa

    try:
        values = column.flatten()
        complete = values.null_count == column.null_count == 0
        if complete and len(column) and len(values) % len(column) == 0:
            matrix: np.ndarray = values.to_numpy(zero_copy_only=False).reshape(len(column), -1)
            if matrix.dtype.kind in "fu":
                return matrix
    except (AttributeError, pa.ArrowException):  # no lists
        pass
    raise DataError(f"{argument}: its column embedding has no vectors of numbers of equal length")
