"""DICOM files, read by pydicom: X-rays, CT and MR slices, ultrasound, enhanced multi-frame objects.

Grey values are those of the modality (Hounsfield units for CT), not those of a display window. One
range for a whole set converts them to 8 bits, as for other images of high bit depth. How stored
numbers become values is in :mod:`BYOL.data.formats.dicom_values`.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np
from PIL import ImageFile

_MAGIC_AT, _MAGIC = 128, b"DICM"
HEAD_BYTES = _MAGIC_AT + len(_MAGIC)
ENDINGS = (".dcm", ".dicom")
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# Parts of names of SOP classes whose pixels are labels or drawings instead of an image.
_NO_IMAGES = ("Segmentation", "Label Map", "Presentation State", "Tractography")


def is_dicom(head: bytes) -> bool:
    """Whether ``head`` is the start of a DICOM file."""
    return head[_MAGIC_AT:].startswith(_MAGIC)


class DicomImage:
    """The image of a DICOM object, one frame or several.

    Args:
        file: open for reading; it must stay open until the pixels are read.

    Raises:
        ValueError: the object has no image; the message names its kind.
    """

    def __init__(self, file: BinaryIO):
        self.file = file
        self.header = self._read(stop_before_pixels=True)
        self._check_kind()
        self.height, self.width = int(self.header.Rows), int(self.header.Columns)
        self.frames = int(self.header.get("NumberOfFrames") or 1)
        palette = self.header.PhotometricInterpretation == "PALETTE COLOR"
        self.bands = 3 if palette or self.header.SamplesPerPixel == 3 else 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and number of bands of a frame."""
        return self.height, self.width, self.bands

    @cached_property
    def is_plain(self) -> bool:
        """Whether grey values are 8-bit numbers as they are, from 0 to 255."""
        from BYOL.data.formats.dicom_values import is_plain

        return is_plain(self.header)

    def values(self, frame: int = 0) -> np.ndarray:
        """The values of a frame.

        Args:
            frame: its number, from 0.

        Returns:
            (H, W, 3) uint8 for colours; (H, W) uint8 for plain 8-bit grey; otherwise (H, W)
            float32, or float64 for numbers of more than 16 bits, in which padding is NaN.

        Raises:
            ValueError: the frame does not exist, or its size is not what the header declares.
        """
        from BYOL.data.formats.dicom_values import colours, grey_values, stored_values

        if not 0 <= frame < self.frames:
            raise ValueError(f"it has no frame {frame}, only {self.frames}")
        with _lenient():
            stored = stored_values(self.file, self.header, frame, self._read)
            values = (colours if self.bands == 3 else grey_values)(stored, self.header, frame)
        if values.shape[:2] != (self.height, self.width):
            size = values.shape[:2]
            raise ValueError(f"it has {size} pixels, but its header says {self.shape[:2]}")
        return values

    def _check_kind(self) -> None:
        from pydicom.uid import UID

        name = UID(str(self.header.get("SOPClassUID", ""))).name
        if "Rows" not in self.header or any(part in name for part in _NO_IMAGES):
                    kind = name.removesuffix(" Storage") or "a DICOM object of unknown kind"
            raise ValueError(f"it holds no image but: {kind}")

    def _read(self, **options: Any) -> Any:
        import pydicom

        self.file.seek(0)
        with _lenient():
            return pydicom.dcmread(self.file, force=True, **options)


@contextmanager
def _lenient() -> Iterator[None]:
    """Ignore harmless violations of the standard, of which pydicom warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class DicomImageFile(ImageFile.ImageFile):
    """The first frame of a DICOM file in mode L (8-bit grey), F (other grey) or RGB.

    The header is read when the file is opened, the pixels when they are requested.
    """

    format = "DICOM"
    format_description = "DICOM"
    _loaded = False

    def _open(self) -> None:
        assert self.fp is not None
        named = str(self.filename or "").lower().endswith(ENDINGS)  # old files have no preamble
        if not is_dicom(self.fp.read(HEAD_BYTES)) and not named:
            raise SyntaxError("not a DICOM file")
        try:
            self._dicom = DicomImage(self.fp)  # type: ignore[arg-type]
            self._size = self._dicom.width, self._dicom.height
            self._mode = "RGB" if self._dicom.bands == 3 else "L" if self._dicom.is_plain else "F"
        except Exception as error:  # pydicom raises nearly any exception on hostile bytes
            raise SyntaxError(f"a DICOM file without an image: {error}") from error

    def load(self) -> Any:
        """Decode the first frame, once."""
        if not self._loaded and self.fp is not None:
            pixels = self._dicom.values()
            pixels = pixels.astype(np.float32) if self.mode == "F" else pixels
            self.load_prepare()
            self.frombytes(np.ascontiguousarray(pixels).tobytes())
            self._loaded = True
            if getattr(self, "_exclusive_fp", False):
                self.fp.close()
            self.fp = None
        return super().load()
