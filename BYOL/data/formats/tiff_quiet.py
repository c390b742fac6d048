"""tifffile without its log messages, which repeat what an error or a line of ours says."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from inspect import signature
from logging import LogRecord, getLogger
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from BYOL._opening import open_plain
from BYOL.data.formats.stored import Encoded, readable

_MOST_METADATA = 1 << 28  # bytes that are read of a file of metadata
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
            metadata = _metadata_elsewhere(source, file)
            if metadata is None:
                yield file
                return
        with TiffFile(readable(source), omexml=metadata) as file:
            yield file


def _metadata_elsewhere(source: Encoded, file: Any) -> str | None:
    """The OME metadata that are in another file; None if ``file`` has its own, or none."""
    from tifffile import TiffFile

    text = (file.ome_metadata or "") if file.is_ome else ""
    if "BinaryOnly" not in text:
        return None
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    tags = (element for element in root if element.tag.endswith("BinaryOnly"))
    name = next((element.get("MetadataFile", "") for element in tags), None)
    if name is None:
        return None
    # A name that leads to another folder is none: a file from somebody else could name any file.
    plain = Path(name).name == name and "\\" not in name
    if not isinstance(source, Path) or not plain or not (source.parent / name).is_file():
        raise ValueError(f"the file {name or 'without a name'} with its metadata is missing")
    if "omexml" not in signature(TiffFile).parameters:
        raise ValueError(f"its metadata are in {name}: pip install -U tifffile")
    path = source.parent / name
    if not name.lower().endswith((".tif", ".tiff")):
        with open_plain(path) as stream:
            return stream.read(_MOST_METADATA).decode("utf-8", "replace")
    with TiffFile(readable(path)) as other:
        return other.ome_metadata


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
