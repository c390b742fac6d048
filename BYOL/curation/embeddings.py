"""Batches of features with the names and labels of their images, to be written to a file."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from BYOL._files import to_json
from BYOL.data.dataset import Images
from BYOL.errors import UserError

# split, its images, image numbers (B,), features (B, d) or (B, h, w, d)
Batches = Iterator[tuple[str, Images, np.ndarray, np.ndarray]]
Columns = dict[str, list[str]]


@dataclass
class Embeddings:
    """Batches of features and their common properties.

    Args:
        batches: see :data:`Batches`.
        dtype: float32 or float16.
        metadata: strings that are stored in the file.
        count: number of rows so far.
        shape: shape of the features of one image, (d,) or (h, w, d). It is set by the first batch.
    """

    batches: Batches
    dtype: str = "float32"
    metadata: dict[str, str] = field(default_factory=dict)
    count: int = 0
    shape: tuple[int, ...] = ()

    def rows(self) -> Iterator[tuple[Columns, np.ndarray]]:
        """Yield names, splits and labels of each batch, and its features.

        Raises:
            UserError: there are no images, or ``dtype`` cannot represent a value.
        """
        yield from self.rows_or_none()
        if not self.count:
            raise UserError("no image can be read: there is nothing to embed")

    def rows_or_none(self) -> Iterator[tuple[Columns, np.ndarray]]:
        """Do the same as :meth:`rows`; no images are no error."""
        for split, images, ids, vectors in self.batches:
            self.count += len(ids)
            self.shape = vectors.shape[1:]
            columns = {
                "file": [images.file_name(i) for i in ids.tolist()],
                "split": [split] * len(ids),
                "label": _labels(images, ids),
            }
            yield columns, self._cast(vectors)

    def with_shape(self) -> dict[str, str]:
        """Return the metadata with the shape as JSON."""
        return {**self.metadata, "shape": to_json(self.shape)}

    def _cast(self, vectors: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            cast = np.ascontiguousarray(vectors, dtype=self.dtype)
        if self.dtype == "float16" and np.isinf(cast).any():
            largest = float(np.abs(vectors).max())
            raise UserError(f"--dtype=float16 cannot hold a feature of {largest:g}: use float32")
        return cast


def parquet_text(name: str) -> str:
    """Replace undecodable bytes of a file name, which Parquet does not accept."""
    return name.encode("utf-8", "replace").decode()


def _labels(images: Images, ids: np.ndarray) -> list[str]:
    """The label of each image as text: a class, tags as ``a|b``, or values with spaces between."""
    if images.labels is None:
        return [""] * len(ids)
    names, labels = images.classes, images.labels[ids]
    if labels.dtype == bool:
        return [
            "|".join(name for name, tag in zip(names, row, strict=True) if tag) for row in labels
        ]
    if labels.ndim > 1:
        return [" ".join(f"{value:g}" for value in row) for row in labels]
    # labels without a class name, as in foreign shards, keep their number
    return [names[k] if k < len(names) else str(k) for k in labels.tolist()]
