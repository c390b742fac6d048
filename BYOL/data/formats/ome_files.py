"""OME images in several files: the files of the image, and metadata that are in another file.

Names come from files of somebody else, so none that leads to another folder is opened.
"""

from collections.abc import Iterable
from inspect import signature
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from BYOL._untrusted import open_plain
from BYOL.data.formats.stored import Encoded, readable

_MOST_METADATA = 1 << 28  # bytes that are read of a file of metadata


def metadata_elsewhere(source: Encoded, file: Any) -> str | None:
    """The OME metadata that are in another file; None if ``file`` has its own, or none.

    Args:
        source: the file, or its content.
        file: its TiffFile.

    Raises:
        ValueError: the file with the metadata is missing, or tifffile is too old to use it.
    """
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
    if not isinstance(source, Path) or missing_parts(source.parent, [name]):
        raise ValueError(f"the file {name or 'without a name'} with its metadata is missing")
    if "omexml" not in signature(TiffFile).parameters:
        raise ValueError(f"its metadata are in {name}: pip install -U tifffile")
    path = source.parent / name
    if not name.lower().endswith((".tif", ".tiff")):
        with open_plain(path) as stream:
            return stream.read(_MOST_METADATA).decode("utf-8", "replace")
    with TiffFile(readable(path)) as other:
        return other.ome_metadata


def ome_parts(file: Any) -> frozenset[str]:
    """The names of the files that hold an OME image, its own among them; empty for one file.

    Args:
        file: a TiffFile. The other files are those that tifffile would open: those with another
            UUID, whatever the syntax of the XML.
    """
    text = (file.ome_metadata or "") if file.is_ome else ""
    if "FileName" not in text:
        return frozenset()
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:  # then tifffile ignores it, too
        return frozenset()
    own = root.get("UUID")
    others = set()
    for element in root.iter():
        name = element.get("FileName")
        if name is None or not element.tag.endswith("UUID"):
            continue
        if own is None and name.lower() == file.filename.lower():
            own = element.text
        if own is None or element.text != own:
            others.add(name)
    here = file.filename if file.filehandle.is_file else ""
    return frozenset((here, *others)) if others else frozenset()


def check_parts(source: Encoded, parts: frozenset[str]) -> None:
    """Check that all files of an OME image of several files exist next to each other.

    Args:
        source: the file, or its content.
        parts: from :func:`ome_parts`.

    Raises:
        ValueError: names the first file that is missing.
    """
    if not parts:
        return
    if not isinstance(source, Path):
        others = ", ".join(sorted(parts - {""})[:3])
        raise ValueError(f"its other parts are in other files: {others}")
    if missing := missing_parts(source.parent, parts):
        raise ValueError(f"its part {missing[0]} is missing")


def missing_parts(folder: Path, parts: Iterable[str]) -> list[str]:
    """The names of ``parts`` that are no files in ``folder``.

    A name that leads to another folder is none: a file from another person could name any file.
    """
    return [
        part
        for part in sorted(parts)
        if Path(part).name != part or "\\" in part or not _is_file(folder / part)
    ]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
