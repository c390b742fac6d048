"""From the stored numbers of a DICOM frame to its values: bits, padding, rescale, photometry.

Attributes are looked up in the functional groups of the frame, then in the shared ones, then in the
object itself, because enhanced multi-frame objects keep them there (PS3.3, C.7.6.16).
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np

_CT_LEAST = -1500.0  # Hounsfield units; air is -1000, lower numbers mark what is outside the field
_PADDING = ("PixelPadding", "FloatPixelPadding", "DoubleFloatPixelPadding")  # by type of the pixels


def attribute(data: Any, frame: int, keyword: str) -> Any:
    """The value of an attribute for one frame; None if it is nowhere.

    Args:
        data: the object.
        frame: its number, from 0.
        keyword: the name of the attribute in pydicom.
    """
    each = data.get("PerFrameFunctionalGroupsSequence") or []
    shared = data.get("SharedFunctionalGroupsSequence") or []
    for group in (*each[frame : frame + 1], *shared[:1]):
        for element in group:
            if element.VR == "SQ" and element.value and keyword in element.value[0]:
                return element.value[0][keyword].value
    return data.get(keyword)


def is_plain(data: Any) -> bool:
    """Whether stored grey numbers are unsigned, of 8 bits, and need no calibration."""
    bits = data.get("BitsAllocated"), data.get("BitsStored"), data.get("PixelRepresentation")
    names = ("ModalityLUTSequence", "PixelPaddingValue")
    calibrated = _rescale(data, 0) or any(attribute(data, 0, n) is not None for n in names)
    return bits == (8, 8, 0) and not calibrated


def stored_values(file: BinaryIO, header: Any, frame: int, read: Callable[[], Any]) -> np.ndarray:
    """The stored numbers of one frame, (H, W) or (H, W, 3); YCbCr is converted to RGB.

    Args:
        file: open for reading. Of several frames, only the bytes of this one are read if possible.
        header: the attributes.
        frame: the number of the frame.
        read: reads the complete object.
    """
    from pydicom.pixels import pixel_array
    from pydicom.uid import DeflatedExplicitVRLittleEndian as Deflated
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    from BYOL.data.formats.dicom_codecs import register_decoders

    register_decoders()
    syntax = header.file_meta.get("TransferSyntaxUID")
    # pydicom masks the lowest bits, which is wrong if the highest bit is another one.
    shift = _unused_low_bits(header, syntax)
    options = {"bits_stored": header.BitsAllocated} if shift else {}
    if syntax not in (None, Deflated) and int(header.get("NumberOfFrames") or 1) > 1:
        return _used_bits(pixel_array(file, index=frame, **options), header, shift)
    data = read()
    if syntax is None:  # of a file without preamble
        implicit = data.original_encoding[0]
        data.file_meta.TransferSyntaxUID = (
            ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        )
    return _used_bits(pixel_array(data, index=frame, **options), header, shift)


def _unused_low_bits(header: Any, syntax: Any) -> int:
    """The number of bits below the stored ones: 0 unless HighBit is above BitsStored - 1."""
    from pydicom.uid import RLELossless

    if None in (high := header.get("HighBit"), stored := header.get("BitsStored")):
        return 0
    whole_words = syntax is None or syntax == RLELossless or not syntax.is_encapsulated
    shift = int(high) - (int(stored) - 1)
    return shift if whole_words and 0 < shift <= header.BitsAllocated - stored else 0


def _used_bits(values: np.ndarray, header: Any, shift: int) -> np.ndarray:
    if not shift:
        return values
    sign = 1 << (header.BitsStored - 1) if header.PixelRepresentation else 0
    used = values.astype(np.int64) >> shift & ((1 << header.BitsStored) - 1)
    return ((used ^ sign) - sign).astype(values.dtype)


def colours(stored: np.ndarray, header: Any, frame: int) -> np.ndarray:
    """(H, W, 3) uint8 sRGB of stored colours or of indices of a palette."""
    from pydicom.pixels import apply_icc_profile

    if header.PhotometricInterpretation == "PALETTE COLOR":
        values = _look_up(stored, header)
    else:
        values = (stored >> max(header.BitsStored - 8, 0)).astype(np.uint8)[..., :3]
    if attribute(header, frame, "ICCProfile"):
        with suppress(Exception):  # a damaged profile: the colours as they are stored
            return np.asarray(apply_icc_profile(values, header))
    return values


def _look_up(stored: np.ndarray, header: Any) -> np.ndarray:
    """The colours (H, W, 3) uint8 of indices of a palette (PS3.3, C.7.6.3.1.5)."""
    from pydicom.pixels import apply_color_lut

    entries, first, bits = (int(n) for n in header.RedPaletteColorLookupTableDescriptor)
    entries = entries or 1 << 16
    names = [f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")]
    if names[0] not in header:  # segments of a table, which pydicom expands
        colours = apply_color_lut(stored, header)[..., :3]
        return (colours >> (8 * colours.dtype.itemsize - 8)).astype(np.uint8)
    parts = [bytes(header.get(name) or b"") for name in names]
    wide = min(map(len, parts)) >= 2 * entries
    if min(map(len, parts)) < entries:
        raise ValueError(f"its palette has fewer than the declared {entries} entries")
    tables = [np.frombuffer(part, np.dtype("<u2" if wide else "u1"), entries) for part in parts]
    table = np.stack(tables, axis=1) >> _further_bits(bits, wide, max(t.max() for t in tables))
    indices = (stored.astype(np.int64) - first).clip(0, entries - 1)
    return table.astype(np.uint8)[indices]


def _further_bits(declared: int, wide: bool, most: int) -> int:
    """The number of bits below the highest 8 of the entries of a palette.

    Some files have entries of 8 bits in words of 16, with 8 or 16 declared bits.

    Args:
        declared: bits of an entry.
        wide: whether an entry has 16 bits in the file.
        most: the largest entry, which decides if it contradicts the declared bits.
    """
    if not wide or most <= 255:
        return 0
    return max(declared, int(most).bit_length()) - 8 if declared <= 16 else 8


def grey_values(stored: np.ndarray, header: Any, frame: int) -> np.ndarray:
    """Grey values: (H, W) uint8 if :func:`is_plain`, else floats in which padding is NaN."""
    plain = is_plain(header)
    values = _modality(stored, header, frame)
    if attribute(header, frame, "PhotometricInterpretation") == "MONOCHROME1":
        inverted = _inverted(values, header, frame)
    else:
        inverted = values
    if plain:
        return inverted.astype(np.uint8)
    exact = values.dtype == np.float64 or (stored.dtype.kind in "iu" and stored.itemsize > 2)
    result = inverted.astype(np.float64 if exact else np.float32)
    result[_padding(stored, header, frame)] = np.nan
    if _has_hounsfield_units(header, frame):
        result[values < _CT_LEAST] = np.nan
    return result


def _has_hounsfield_units(header: Any, frame: int) -> bool:
    """Whether the values of a frame are those of a CT."""
    from pydicom.uid import UID

    if modality := header.get("Modality"):
        return str(modality) == "CT"
    calibrated = attribute(header, frame, "RescaleIntercept") is not None
    return calibrated and "CT Image" in UID(str(header.get("SOPClassUID", ""))).name


def _rescale(header: Any, frame: int) -> tuple[float, float] | None:
    """Slope and intercept; None if there are none or they change nothing."""
    slope, intercept = (attribute(header, frame, f"Rescale{n}") for n in ("Slope", "Intercept"))
    if slope is None or intercept is None or (float(slope), float(intercept)) == (1.0, 0.0):
        return None
    return float(slope), float(intercept)


def _modality(stored: np.ndarray, header: Any, frame: int) -> np.ndarray:
    """The values of the modality: by a table, by slope and intercept, or as they are stored."""
    from pydicom import Dataset
    from pydicom.pixels import apply_modality_lut

    if table := attribute(header, frame, "ModalityLUTSequence"):
        alone = Dataset()
        alone.ModalityLUTSequence = table
        alone.PixelRepresentation = header.get("PixelRepresentation", 0)
        return np.asarray(apply_modality_lut(stored, alone))
    if rescale := _rescale(header, frame):
        slope, intercept = rescale
        return stored.astype(np.float64) * slope + intercept
    return stored


def _inverted(values: np.ndarray, header: Any, frame: int) -> np.ndarray:
    """Mirror values about the middle of what the stored bits can represent; floats about 0."""
    if header.get("BitsStored") is None:
        return -values
    half = 1 << (header.BitsStored - 1)
    ends = np.array([-half, half - 1] if header.PixelRepresentation else [0, 2 * half - 1])
    darkest, brightest = _modality(ends, header, frame)
    return float(darkest) + float(brightest) - values.astype(np.float64)


def _padding(stored: np.ndarray, header: Any, frame: int) -> np.ndarray:
    """The mask of padding values (PS3.3, C.7.5.1.1.2)."""
    for name in _PADDING:
        first = attribute(header, frame, f"{name}Value")
        if first is None:
            continue
        last = attribute(header, frame, f"{name}RangeLimit")
        ends = [_as_stored(end, header) for end in (first, first if last is None else last)]
        return (stored >= min(ends)) & (stored <= max(ends))
    return np.zeros(stored.shape, dtype=bool)


def _as_stored(value: Any, header: Any) -> float:
    """A padding value with the signedness of the pixels; files often declare it with the other."""
    if header.get("BitsStored") is None:
        return float(value)
    modulus = 1 << header.BitsAllocated
    wrapped = int(value) % modulus
    return wrapped - modulus if header.PixelRepresentation and wrapped >= modulus // 2 else wrapped
