"""A compact table of millions of file names, without one Python object per name."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

_CHUNK = 1 << 16  # names that are joined together


class PathTable:
    """Names stored as one byte string and an array of end positions: 8 bytes plus the letters each.

    Args:
        paths: in the order of the set; text, or bytes as in the file system. They are consumed
            one at a time, so a generator of millions needs no list.
    """

    def __init__(self, paths: Iterable[str | bytes]):
        blob, ends, here = bytearray(), [np.zeros(0, dtype=np.int64)], 0
        chunk: list[bytes] = []

        def flush() -> None:
            nonlocal here
            lengths = np.fromiter(map(len, chunk), dtype=np.int64, count=len(chunk))
            blob.extend(b"".join(chunk))
            ends.append(here + np.cumsum(lengths))
            here = len(blob)
            chunk.clear()

        for path in paths:
            chunk.append(
                path if isinstance(path, bytes) else path.encode("utf-8", "surrogateescape")
            )
            if len(chunk) == _CHUNK:
                flush()
        flush()
        self._bytes: Any = blob
        self._ends = np.concatenate(ends)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        return self.raw(index).decode("utf-8", "surrogateescape")

    def raw(self, index: int) -> bytes:
        """The name at ``index`` as bytes, as in the file system."""
        start = int(self._ends[index - 1]) if index else 0
        return bytes(self._bytes[start : int(self._ends[index])])

    @property
    def nbytes(self) -> int:
        """The memory of the names in bytes."""
        return len(self._bytes) + self._ends.nbytes

    def digest(self) -> str:
        """A hash of the names and their order."""
        digest = hashlib.blake2b(self._bytes, digest_size=16)
        digest.update(np.ascontiguousarray(self._ends).data)
        return digest.hexdigest()

    def holds(self, letters: bytes) -> bool:
        """Whether any name contains ``letters``."""
        return letters in bytes(self._bytes)

    def take(self, indices: np.ndarray) -> "PathTable":
        """The names at ``indices``, in that order."""
        import pyarrow as pa

        rows = np.ascontiguousarray(indices, dtype=np.int64)
        # From a buffer, because pyarrow imports pandas to convert an array (half a second).
        at = pa.Array.from_buffers(pa.int64(), len(rows), [None, pa.py_buffer(rows)])
        return PathTable.from_arrow(self.arrow().take(at))

    def sorted(self) -> "PathTable":
        """The names in the order of their bytes, which for UTF-8 is the order of the letters."""
        import pyarrow.compute as pc

        names = self.arrow()
        return PathTable.from_arrow(names.take(pc.sort_indices(names)))

    def arrow(self) -> Any:
        """The names as a :class:`pyarrow.LargeBinaryArray` that shares the memory."""
        import pyarrow as pa

        starts = np.concatenate([[0], self._ends]).astype(np.int64)
        buffers = [None, pa.py_buffer(starts), pa.py_buffer(self._bytes)]
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(self), buffers)

    @classmethod
    def from_arrow(cls, names: Any) -> "PathTable":
        """The table of a pyarrow array of strings or bytes."""
        import pyarrow as pa

        names = names.cast(pa.large_binary())
        if isinstance(names, pa.ChunkedArray):
            names = names.combine_chunks()
        table = cls(())
        _, offsets, content = names.buffers()
        ends = np.frombuffer(offsets, dtype=np.int64)[names.offset :][: len(names) + 1]
        first = int(ends[0]) if len(ends) else 0
        table._bytes = memoryview(content)[first : int(ends[-1])] if content else b""
        table._ends = ends[1:] - first
        return table

    def __getstate__(self) -> tuple[bytes, np.ndarray]:
        return bytes(self._bytes), self._ends

    def __setstate__(self, state: tuple[bytes, np.ndarray]) -> None:
        self._bytes, self._ends = state
