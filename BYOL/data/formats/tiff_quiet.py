"""tifffile without its log messages, which repeat what an error or a line of ours says."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from logging import LogRecord, getLogger
from typing import Any

from BYOL.data.formats.ome_files import metadata_elsewhere
from BYOL.data.formats.stored import Encoded, readable

_messages: ContextVar[list[str] | None] = ContextVar("messages", default=None)


@contextmanager
def tiff_file(source: Encoded) -> Iterator[Any]:
    """Open a TiffFile whose log messages are kept from the user; see :func:`messages`.

    If its OME metadata are in another file next to it, they are read from there.

    Raises:
        ValueError: the file with the metadata is missing.
    """
    from tifffile import TiffFile

    with quiet():
        with TiffFile(readable(source)) as file:
            metadata = metadata_elsewhere(source, file)
            if metadata is None:
                yield file
                return
        with TiffFile(readable(source), omexml=metadata) as file:
            yield file


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the messages that tifffile logs in the block from the user; see :func:`messages`."""
    _silence()
    token = _messages.set([])
    try:
        yield
    finally:
        _messages.reset(token)


def messages() -> list[str]:
    """What tifffile has logged about the open file: damages that it does not treat as errors."""
    return list(_messages.get() or ())


@cache
def _silence() -> None:
    """Keep tifffile's messages about files that this package reads; other uses are unchanged."""
    getLogger("tifffile").addFilter(_keep)


def _keep(record: LogRecord) -> bool:
    kept = _messages.get()
    if kept is None:
        return True
    kept.append(record.getMessage())
    return False
