"""Image numbers by name, with 16 bytes per image."""

from collections.abc import Iterator

import numpy as np

from BYOL._console import counted, printable
from BYOL.curation.embeddings import parquet_text
from BYOL.data.dataset import Images
from BYOL.errors import DataError


class NameIndex:
    """Finds images by the names in the column ``file`` of tables.

    Args:
        sets: the images by split.
        argument: the table, as messages name it.
    """

    def __init__(self, sets: dict[str, Images], argument: str):
        self._sets = list(sets.values())
        self._argument = argument
        self._ends = np.cumsum([len(images) for images in self._sets])
        names = (name for images in self._sets for name in _names(images))
        hashes = np.fromiter(map(hash, names), np.int64, int(self._ends[-1]))
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]
        self._found = np.zeros(len(hashes), bool)

    @property
    def count(self) -> int:
        """The number of images."""
        return len(self._found)

    def locate(self, names: list[str]) -> np.ndarray:
        """Return the positions (n,) int64 in the concatenation of the sets; -1 for other names.

        Images with the same name, as in a list that repeats a path, are found one after the other.

        Raises:
            UserError: a name appears more often than it has images.
        """
        wanted = np.fromiter(map(hash, names), np.int64, len(names))
        places = np.searchsorted(self._hashes, wanted)
        known = places < len(self._hashes)
        known[known] = self._hashes[places[known]] == wanted[known]
        positions = np.full(len(names), -1)
        positions[known] = self._order[places[known]]
        fresh = np.zeros(len(names), bool)
        fresh[np.unique(positions, return_index=True)[1]] = True
        fresh &= known & ~self._found[positions]
        self._found[positions[fresh]] = True
        for row in np.flatnonzero(known & ~fresh).tolist():
            positions[row] = self._next_unused(int(places[row]), names[row])
        return positions

    def check_all_found(self) -> None:
        """Check that :meth:`locate` has found every image.

        Raises:
            UserError: it has not.
        """
        missing = np.flatnonzero(~self._found)
        if len(missing):
            number = int(np.searchsorted(self._ends, missing[0], "right"))
            images = self._sets[number]
            name = images.file_name(int(missing[0] - self._ends[number]) + len(images))
            raise DataError(
                f"{self._argument} has no row for {counted(len(missing), 'image')} of "
                f"{len(self._found):,}, such as {printable(name)}"
            )

    def _next_unused(self, place: int, name: str) -> int:
        """Return the position of the next image called ``name``, for a name that repeats."""
        for other in range(place, int(np.searchsorted(self._hashes, self._hashes[place], "right"))):
            position = int(self._order[other])
            if not self._found[position]:
                self._found[position] = True
                return position
        raise DataError(f"{self._argument} has two rows for {printable(name)}")


def _names(images: Images) -> Iterator[str]:
    return (parquet_text(images.file_name(i)) for i in range(len(images)))
