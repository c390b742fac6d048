"""Slides in several files: the names of the others are checked before OpenSlide opens them.

MIRAX (``.mrxs``) and Hamamatsu (``.vms``, ``.vmu``) have a list of their files, which may come from
somebody else. Hamamatsu's is recognized by its content. DICOM slides are not read, because all
files next to one would be opened.
"""

import re
from pathlib import Path

from BYOL._untrusted import open_plain, read_start, reason_not_to_open
from BYOL.data.formats.dicom import is_dicom
from BYOL.data.formats.stored import HEAD_BYTES

_MOST_BYTES = 1 << 20  # of a list; OpenSlide reads no larger one
_HAMAMATSU = b"Virtual Microscope Specimen"
_LINE = re.compile(
    rb"^[ \t]*(?:INDEXFILE|FILE_\d+|ImageFile[^=]*|MapFile|OptimisationFile|MacroImage)"
    rb"[ \t]*=[ \t]*([^\r\n]*?)[ \t]*\r?$",
    re.MULTILINE,
)


def check_slide(path: Path) -> None:
    """Check that a slide leads only to files in its own folder.

    Args:
        path: the slide, a plain file.

    Raises:
        OSError: its list of files cannot be read.
        ValueError: it names another place, or what is no plain file.
    """
    head = read_start(path, HEAD_BYTES)
    if is_dicom(head):
        raise ValueError("a DICOM slide is not read")
    if path.name.lower().endswith(".mrxs"):
        folder = path.with_suffix("")
        if (folder / "Slidedat.ini").exists():
            with open_plain(folder / "Slidedat.ini", _MOST_BYTES) as file:
                _check_names(folder, file.read())
    elif _HAMAMATSU in head:
        _check_names(path.parent, head)


def _check_names(folder: Path, content: bytes) -> None:
    for match in _LINE.finditer(content):
        name = match[1].decode("utf-8", "surrogateescape")
        if name and (Path(name).name != name or "\\" in name or name == ".."):
            raise ValueError(f"its part {name} would be outside of its folder")
        if reason := reason_not_to_open(folder / name):
            raise ValueError(f"its part {name} {reason}")
