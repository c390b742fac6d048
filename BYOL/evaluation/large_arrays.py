"""Arrays in memory, and beyond a limit in a temporary file, so that memory does not grow with n."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from math import prod

import numpy as np
from numpy.typing import DTypeLike

from BYOL._temporary import no_space

HELD = 1 << 28  # numbers that are held in memory: 1 GB of float32
_CHUNK_NUMBERS = 1 << 25  # of a larger array, at a time: 128 MB of float32


def fits_memory(numbers: int) -> bool:
    """Return whether an array of so many numbers is held in memory."""
    return numbers <= HELD


def empty_array(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Return an array without values; of more than :data:`HELD` numbers, memory-mapped.

    Its file has no name, so the system removes it with the array, however the program ends.

    Raises:
        UserError: the temporary folder has too little free space.
    """
    if fits_memory(prod(shape)):
        return np.empty(shape, dtype)
    folder, size = tempfile.gettempdir(), prod(shape) * np.dtype(dtype).itemsize
    if shutil.disk_usage(folder).free < size:
        raise no_space(folder, size)
    with tempfile.TemporaryFile() as file:
        if hasattr(os, "posix_fallocate"):  # a full disk would end the process at a later access
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                raise no_space(folder, size) from error
        return np.memmap(file, dtype, "w+", shape=shape)


def chunk_rows(width: int) -> int:
    """Return the number of rows of ``width`` numbers that are read from a large array at a time."""
    return max(_CHUNK_NUMBERS // max(width, 1), 1)


def chunks(array: np.ndarray) -> Iterator[slice]:
    """Yield slices that divide the rows of ``array`` (n, d) into parts of 128 MB."""
    rows = chunk_rows(array.shape[1])
    for start in range(0, len(array), rows):
        yield slice(start, min(start + rows, len(array)))
