"""Checksums of compressed volumes, which are verified before the values are used.

The libraries that read volumes stop at the last value that they need, which is before the checksum,
and ITK's reader of MetaImages returns damaged values. So the compressed bytes of a file are read
once more, the first time that one of its slices is decoded.
"""

import io
import zlib
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from BYOL._untrusted import open_plain
from BYOL.data.formats.stored import Encoded

GZIP, GZIP_OR_ZLIB = 31, 47  # what zlib accepts
_GZIP_START = b"\x1f\x8b"
_CHUNK = 1 << 18
_MOST_FURTHER = 1 << 24  # bytes before and after the values
_KEPT = 1 << 16  # files that need not be verified again


def verify(source: Encoded, start: int, length: int | None, needed: int, kind: int = GZIP) -> None:
    """Check that compressed values are complete and have the right checksum.

    Args:
        source: the file, or its content.
        start: the place of the first compressed byte.
        length: the number of compressed bytes; None: to the end of the file.
        needed: the number of bytes that they decompress to, at least.
        kind: :data:`GZIP`, or :data:`GZIP_OR_ZLIB`.

    Raises:
        ValueError: they are truncated, damaged, or far longer than ``needed``.
    """
    if isinstance(source, Path):
        status = source.stat()
        version = status.st_mtime_ns, status.st_size
        _verify_file(source, version, start, length, needed, kind)
    else:
        _verify(io.BytesIO(source), start, length, needed, kind)


@lru_cache(maxsize=_KEPT)
def _verify_file(
    path: Path, version: tuple[int, int], start: int, length: int | None, needed: int, kind: int
) -> None:
    """As :func:`verify`; ``version`` changes when the file does."""
    with closing(open_plain(path)) as file:
        _verify(file, start, length, needed, kind)


def _verify(file: BinaryIO, start: int, length: int | None, needed: int, kind: int) -> None:
    file.seek(start)
    left = file.seek(0, io.SEEK_END) - start if length is None else length
    file.seek(start)
    total, inflate, waiting = 0, zlib.decompressobj(kind), b""
    try:
        while True:
            if not waiting:
                waiting = file.read(min(_CHUNK, max(left, 0)))
                left -= len(waiting)
                if not waiting:
                    break
            total += len(inflate.decompress(waiting, _CHUNK))
            waiting = inflate.unconsumed_tail
            if total > needed + _MOST_FURTHER:
                raise ValueError("it is larger than its header says")
            if inflate.eof:
                waiting = inflate.unused_data + file.read(min(2, max(left, 0)))
                left -= 2
                if not waiting.startswith(_GZIP_START):  # a file may be compressed in several parts
                    break
                inflate = zlib.decompressobj(kind)
    except zlib.error as error:
        reason = str(error).partition(": ")[2] or "another checksum"
        raise ValueError(f"its compressed values are damaged: {reason}") from error
    if not inflate.eof or total < needed:
        raise ValueError("the file is truncated")
