"""DICOM files as Pillow images, read by pydicom: X-rays, CT and MR slices, ultrasound.

Grey values are those of the modality (Hounsfield units for CT), not those of a display window. One
range for a whole set converts them to 8 bits, as for other images of high bit depth. MONOCHROME1
values, where low is bright, are inverted. Padding values become black. A file with several frames
yields the first frame.
"""

import warnings
from typing import Any

import numpy as np
from PIL import ImageFile

_MAGIC_AT, _MAGIC = 128, b"DICM"
ENDINGS = (".dcm", ".dicom")


def is_dicom(head: bytes) -> bool:
    """Whether ``head`` is the start of a DICOM file."""
    return head[_MAGIC_AT:].startswith(_MAGIC)


class DicomImageFile(ImageFile.ImageFile):
    """A DICOM file in mode L (8-bit grey), F (other or calibrated grey) or RGB.

    The header is read when the file is opened, the pixels when they are requested.
    """

    format = "DICOM"
    format_description = "DICOM"
    _loaded = False

    def _open(self) -> None:
        assert self.fp is not None
        named = str(self.filename or "").lower().endswith(ENDINGS)  # old files have no preamble
        if not is_dicom(self.fp.read(_MAGIC_AT + len(_MAGIC))) and not named:
            raise SyntaxError("not a DICOM file")
        try:
            header = self._read(stop_before_pixels=True)
            self._size = int(header.Columns), int(header.Rows)
            self._mode = _mode(header)
        except Exception as error:  # pydicom raises nearly any exception on hostile bytes
            raise SyntaxError(f"a DICOM file without an image: {error}") from error

    def load(self) -> Any:
        """Decode the first frame, once."""
        if not self._loaded and self.fp is not None:
            pixels = _pixels(self._read(), self.mode)
            size = pixels.shape[1::-1]
            if size != self.size:
                raise ValueError(f"it has {size} pixels, but its header says {self.size}")
            self.load_prepare()
            self.frombytes(np.ascontiguousarray(pixels).tobytes())
            self._loaded = True
            if getattr(self, "_exclusive_fp", False):
                self.fp.close()
            self.fp = None
        return super().load()

    def _read(self, **options: Any) -> Any:
        import pydicom

        assert self.fp is not None
        self.fp.seek(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # harmless violations of the standard
            return pydicom.dcmread(self.fp, force=True, **options)


def _mode(header: Any) -> str:
    if header.SamplesPerPixel == 3 or header.PhotometricInterpretation == "PALETTE COLOR":
        return "RGB"
    calibrated = "ModalityLUTSequence" in header or _rescaled(header)
    return "F" if calibrated or header.BitsStored != 8 else "L"


def _rescaled(header: Any) -> bool:
    slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    return None not in (slope, intercept) and (float(slope), float(intercept)) != (1.0, 0.0)


def _pixels(data: Any, mode: str) -> np.ndarray:
    """The first frame: (H, W) float32 for F, uint8 for L, (H, W, 3) uint8 for RGB."""
    from pydicom.pixels import pixel_array
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    from BYOL.data.formats.dicom_codecs import register_decoders

    register_decoders()
    if "TransferSyntaxUID" not in data.file_meta:  # of a file without preamble
        implicit = data.original_encoding[0]
        data.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        )
    stored = pixel_array(data, index=0)
    if mode == "RGB":
        return _colours(stored, data)
    values = _grey(stored, data)
    if mode == "F":
        values = values.astype(np.float32)
        values[_padding(stored, data)] = np.nan
    return values


def _colours(stored: np.ndarray, data: Any) -> np.ndarray:
    from pydicom.pixels import apply_color_lut

    bits = data.BitsStored
    if data.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, data)
        bits = 8 * stored.dtype.itemsize
    return (stored >> max(bits - 8, 0)).astype(np.uint8)[..., :3]


def _grey(stored: np.ndarray, data: Any) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut

    values = apply_modality_lut(stored, data)
    if data.PhotometricInterpretation != "MONOCHROME1":
        return values
    half = 1 << (data.BitsStored - 1)
    ends = np.array([-half, half - 1] if data.PixelRepresentation else [0, 2 * half - 1])
    darkest, brightest = apply_modality_lut(ends, data)
    return (darkest + brightest - values.astype(np.float64)).astype(values.dtype)


def _padding(stored: np.ndarray, data: Any) -> np.ndarray:
    """The mask of padding values (PS3.3, C.7.5.1.1.2)."""
    first = data.get("PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, dtype=bool)
    low, high = sorted((int(first), int(data.get("PixelPaddingRangeLimit", first))))
    return (stored >= low) & (stored <= high)
