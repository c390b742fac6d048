"""DICOM files, read by pydicom: X-rays, CT and MR slices, ultrasound, enhanced multi-frame objects.

Grey values are those of the modality (Hounsfield units for CT), not those of a display window. One
range for a whole set converts them to 8 bits, as for other images of high bit depth. How stored
numbers become values is in :mod:`BYOL.data.formats.dicom_values`.
"""

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from BYOL.data.formats.frames import FrameFile, choose_frame, require
from BYOL.data.formats.stored import Encoded, Layout, ReadOptions

_MAGIC_AT, _MAGIC = 128, b"DICM"
MAGIC_BYTES = _MAGIC_AT + len(_MAGIC)
ENDINGS = (".dcm", ".dicom")
_FIRST_GROUPS = (2, 8)  # of the attributes that an object without a preamble starts with
# SOP classes whose pixels are labels or drawings: segmentations, presentation states.
_NO_IMAGES = ("1.2.840.10008.5.1.4.1.1.66.", "1.2.840.10008.5.1.4.1.1.11.")
_NEEDED = ("PhotometricInterpretation", "SamplesPerPixel", "Columns", "BitsAllocated")
_PALETTE = "RedPaletteColorLookupTableDescriptor"


def is_dicom(head: bytes) -> bool:
    """Whether ``head`` is the start of a DICOM file."""
    return head[_MAGIC_AT:].startswith(_MAGIC)


def starts_as_dicom(path: Any) -> bool:
    """Whether the content of the file ``path`` is that of a DICOM file; nothing else is read."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return is_dicom(file.read(MAGIC_BYTES))
    except OSError:
        return False


def open_dicom(source: Encoded, head: bytes, options: ReadOptions) -> FrameFile | None:
    """Open a DICOM file; None if the file has another format. Its image is the first frame.

    Raises:
        ValueError: the file has no image; the message names what it is.
    """
    named = isinstance(source, Path) and source.name.lower().endswith(ENDINGS)
    if not (is_dicom(head) or named or _is_bare(head)):
        return None
    require("pydicom", "dicom")
    return choose_frame(DicomImage(source), options, "frame", first=True)


def _is_bare(head: bytes) -> bool:
    """Whether ``head`` starts like an object without a preamble, as old devices write it."""
    if len(head) < MAGIC_BYTES:
        return False
    group, element, length = struct.unpack("<HHI", head[:8])
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    return group in _FIRST_GROUPS and element <= 0x20 and (explicit or 0 < length <= 128)


class DicomImage:
    """The image of a DICOM object, one frame or several.

    Args:
        source: the file, or its content.

    Raises:
        ValueError: the object has no image; the message names its kind.
    """

    def __init__(self, source: Encoded):
        self._source = source
        with self._file() as file:
            self.header = _read(file, stop_before_pixels=True)
        self._check_kind()
        self._check_declared()
        self.frames = int(self.header.get("NumberOfFrames") or 1)
        self.middle = self.frames // 2
        palette = self.header.PhotometricInterpretation == "PALETTE COLOR"
        self.layout: Layout = "rgb" if palette or self.header.SamplesPerPixel == 3 else "grey"

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and number of bands of a frame."""
        return int(self.header.Rows), int(self.header.Columns), 3 if self.layout == "rgb" else 1

    @cached_property
    def deep(self) -> bool:
        """Whether grey values are not simply 8-bit numbers from 0 to 255."""
        from BYOL.data.formats.dicom_values import is_plain

        return self.layout == "grey" and not is_plain(self.header)

    def values(self, frame: int) -> np.ndarray:
        """The values of a frame.

        Args:
            frame: its number, from 0.

        Returns:
            (H, W, 3) uint8 for colours; (H, W) uint8 for plain 8-bit grey; otherwise (H, W)
            float32, or float64 for rescaled or 32-bit numbers, in which padding is NaN.
        """
        from BYOL.data.formats.dicom_values import colours, grey_values, stored_values

        with self._file() as file, _lenient():
            stored = stored_values(file, self.header, frame, lambda: _read(file))
            if self.layout == "rgb":
                return colours(stored, self.header, frame)
            return grey_values(stored, self.header, frame)

    def close(self) -> None:
        """Nothing is kept open."""

    def _file(self) -> BinaryIO:
        source = self._source
        return source.open("rb") if isinstance(source, Path) else io.BytesIO(source)

    def _check_kind(self) -> None:
        from pydicom.uid import UID

        meta = self.header.file_meta
        uid = str(self.header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")
        kind = UID(uid).name.removesuffix(" Storage") or "a DICOM object of unknown kind"
        if uid.startswith(_NO_IMAGES):
            raise ValueError(f"it holds no image but: {kind}")
        if "Rows" not in self.header:
            problem = "it has no pixels" if "Image" in kind else "it holds no image but"
            raise ValueError(f"{problem}: {kind}")

    def _check_declared(self) -> None:
        palette = self.header.get("PhotometricInterpretation") == "PALETTE COLOR"
        names = (*_NEEDED, _PALETTE) if palette else _NEEDED
        missing = [name for name in names if self.header.get(name) is None]
        if missing:
            raise ValueError(f"its header has no {' and no '.join(missing)}")


def _read(file: BinaryIO, **options: Any) -> Any:
    import pydicom

    file.seek(0)
    with _lenient():
        return pydicom.dcmread(file, force=True, **options)


@contextmanager
def _lenient() -> Iterator[None]:
    """Ignore harmless violations of the standard, of which pydicom warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
