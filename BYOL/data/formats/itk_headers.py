"""Headers of NRRD and MetaImage files, checked before ITK reads them.

ITK opens any file that a header names, and its parsers accept more than the formats describe: a
carriage return ends a line, and a colon separates a MetaImage's field. So a header is accepted only
if it can be read in one way.
"""

import re

_NOT_TEXT = re.compile(rb"[\0-\x08\x0b-\x1f\x7f]")  # all control characters but tabs and line ends
_MOST_KEY = 100  # characters; MetaIO copies a key to a buffer of 255 without a check
_MOST_LINE = 480  # characters; MetaIO stops at a line of 500
_END = re.compile(rb"\r?\n\r?\n")  # of the header of a NRRD
_GZIP = (b"gzip", b"gz")
_ELSEWHERE = "its voxels are in another file: convert it to one {} file"


def check_nrrd(head: bytes) -> int | None:
    """Reject a header that names another file (http://teem.sourceforge.net/nrrd/format.html).

    Args:
        head: the start of the file.

    Returns:
        The place of the first compressed byte; None if the values are not compressed by gzip.

    Raises:
        ValueError: its header names another file, or is not valid.
    """
    end = _END.search(head)
    if end is None:
        raise ValueError("its header is too long or has no end")
    header = head[: end.start()].replace(b"\r\n", b"\n")
    fields: dict[bytes, bytes] = {}
    for line in re.split(rb"[\r\n]", header):
        name, *value = re.split(rb"[:=]", line, maxsplit=1)
        key = b"".join(name.lower().split())
        if key == b"datafile":
            raise ValueError(_ELSEWHERE.format(".nrrd"))
        fields[key] = b"".join(value).strip().lower()
    _check_text(header)
    if fields.get(b"encoding") not in _GZIP:
        return None
    start = end.end()
    skipped = fields.get(b"lineskip", b"0")
    for _ in range(int(skipped) if skipped.isdigit() else 0):
        start = head.find(b"\n", start) + 1
        if not start:
            raise ValueError("its header skips too many lines")
    return start


def check_meta(head: bytes) -> tuple[dict[bytes, bytes], int]:
    """Reject a header that is not valid or names another file; ITK prints messages about them.

    Args:
        head: the start of the file.

    Returns:
        The fields, and the place of the first value.

    Raises:
        ValueError: the header names another file, or is not valid.
    """
    start, fields = 0, dict[bytes, bytes]()
    for line in head.split(b"\n"):
        start += len(line) + 1
        for part in line.split(b"\r"):
            name, _, value = part.replace(b":", b"=").partition(b"=")
            if name.strip().lower() == b"elementdatafile" and value.strip() != b"LOCAL":
                raise ValueError(_ELSEWHERE.format(".mha"))
        text = line.removesuffix(b"\r")
        _check_text(text)
        if not text.strip():
            continue
        name, separator, value = text.partition(b"=")
        name = name.strip()
        if not separator or not _is_key(name) or name in fields or len(text) > _MOST_LINE:
            raise ValueError("its header has a line that is no field, a long one, or one twice")
        fields[name] = value.strip()
        if name == b"ElementDataFile":
            _check_fields(fields)
            return fields, start
    raise ValueError("its header does not say where its voxels are")


def _is_key(name: bytes) -> bool:
    return 0 < len(name) <= _MOST_KEY and b":" not in name and name.isascii()


def _check_text(header: bytes) -> None:
    if _NOT_TEXT.search(header):
        raise ValueError("its header has control characters")


def _check_fields(fields: dict[bytes, bytes]) -> None:
    sides = fields.get(b"DimSize", b"").split()
    valid = all(side.isdigit() and int(side) for side in sides)
    if not valid or not 2 <= len(sides) <= 4 or fields.get(b"NDims") != b"%d" % len(sides):
        raise ValueError("its header declares no valid size")
    if not fields.get(b"ElementType", b"").startswith(b"MET_"):
        raise ValueError("its header declares no type")
