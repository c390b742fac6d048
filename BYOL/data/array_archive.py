"""The arrays of an .npz file, each of which is read when it is used."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from BYOL.errors import DataError

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class ArrayArchive(Mapping[str, np.ndarray]):
    """The arrays of an .npz by their names in lower case; each is read when it is looked up.

    Args:
        path: the file.
    """

    def __init__(self, path: Path):
        self._path = path
        with ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name.endswith(".npy")]
        self._members = {member.removesuffix(".npy").lower(): member for member in members}

    def __getitem__(self, name: str) -> np.ndarray:
        """The array called ``name``.

        Raises:
            UserError: it cannot be read.
        """
        member = self._members[name]
        key = member.removesuffix(".npy")
        with (
            readable_arrays(self._path, key),
            ZipFile(self._path) as archive,
            archive.open(member) as file,
        ):
            return np.lib.format.read_array(file, allow_pickle=False)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of an array, from its header."""
        member = self._members[name]
        with (
            readable_arrays(self._path, name),
            ZipFile(self._path) as archive,
            archive.open(member) as file,
        ):
            read = _HEADERS.get(np.lib.format.read_magic(file))
            if read is None:
                raise ValueError(f"{member} has an unknown version of the format")
            return tuple(read(file)[0])

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


@contextmanager
def readable_arrays(path: Path, name: str = "it") -> Iterator[None]:
    """Turn errors of numpy about a file, or the array ``name`` in it, into one line."""
    try:
        yield
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        reason = str(error)
        if "allow_pickle" in reason:
            reason = f"{name} holds Python objects; save an array of numbers or words"
        raise DataError(f"DATA={path} cannot be read as arrays: {reason}") from error


def array_shape(arrays: Mapping[str, Any], name: str) -> tuple[int, ...]:
    """The shape of one of several arrays, without reading it."""
    return arrays.shape(name) if isinstance(arrays, ArrayArchive) else arrays[name].shape
