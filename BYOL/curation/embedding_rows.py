"""Features on their way to a file, counted, each with its picture's name."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from BYOL._files import to_json
from BYOL.data.csv_rows import row_name
from BYOL.data.dataset import Images
from BYOL.errors import UserError

# split, its pictures, numbers of some of them (B,), their features (B, d) or (B, h, w, d)
Batches = Iterator[tuple[str, Images, np.ndarray, np.ndarray]]
Columns = dict[str, list[str]]


@dataclass
class Embeddings:
    """Batches of features, and what is known of all of them.

    Args:
        batches: see :data:`Batches`.
        dtype: float32 or float16.
        metadata: plain strings that the file keeps.
        several: there are other sets with pictures that may have the same names, so each is named
            as :func:`BYOL.data.csv_rows.row_name` does, as ``--labels`` takes it.
        count: rows that have passed.
        shape: of one picture's features: (d,) or (h, w, d); known from the first row on.
    """

    batches: Batches
    dtype: str = "float32"
    metadata: dict[str, str] = field(default_factory=dict)
    several: bool = False
    count: int = 0
    shape: tuple[int, ...] = ()

    def rows(self) -> Iterator[tuple[Columns, np.ndarray]]:
        """Names, splits and labels of a batch, and its features.

        Raises:
            UserError: not one picture, or numbers that ``dtype`` cannot hold.
        """
        for split, images, ids, vectors in self.batches:
            self.count += len(ids)
            self.shape = vectors.shape[1:]
            names = [row_name(images, i, self.several) for i in ids.tolist()]
            columns = {
                "name": names,
                "split": [split] * len(ids),
                "label": _labels(images, ids),
            }
            yield columns, self._cast(vectors)
        if not self.count:
            raise UserError("not one picture can be read: there is nothing to embed")

    def with_shape(self) -> dict[str, str]:
        """The metadata, and the shape as JSON."""
        return {**self.metadata, "shape": to_json(self.shape)}

    def _cast(self, vectors: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            cast = np.ascontiguousarray(vectors, dtype=self.dtype)
        if self.dtype == "float16" and np.isinf(cast).any():
            most = float(np.abs(vectors).max())
            raise UserError(f"--dtype=float16 cannot hold a feature of {most:g}: use float32")
        return cast


def _labels(images: Images, ids: np.ndarray) -> list[str]:
    if images.labels is None:
        return [""] * len(ids)
    names = images.classes  # a label that a stranger's shards do not name is called by its number
    return [names[k] if k < len(names) else str(k) for k in images.labels[ids].tolist()]
