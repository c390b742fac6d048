"""Compressions of DICOM files that pydicom and Pillow do not undo, by imagecodecs.

A plugin as pydicom wants it: lossless JPEG and JPEG-LS, in which the archives of hospitals keep
what they get, and JPEG of 12 bits. Of the libraries that pydicom itself names for them GDCM was
tried, which crashes on damaged files, with the process and all; pylibjpeg-libjpeg is under the GPL.
"""

from functools import cache
from importlib.util import find_spec
from typing import Any

from pydicom import uid
from pydicom.pixels import get_decoder

_JPEG = (uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGExtended12Bit)
_JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
DECODER_DEPENDENCIES = dict.fromkeys((*_JPEG, *_JPEG_LS), ("imagecodecs",))


@cache
def teach_pydicom() -> None:
    """Register the plugin, once."""
    for syntax in DECODER_DEPENDENCIES:
        get_decoder(syntax).add_plugin("imagecodecs", (__name__, "decode_frame"))


def is_available(syntax: str) -> bool:
    """Whether such a file can be decoded here."""
    return syntax in DECODER_DEPENDENCIES and find_spec("imagecodecs") is not None


def decode_frame(encoded: bytes, runner: Any) -> bytes:
    """The values of a frame, colours of a pixel side by side; pydicom sets their signs right."""
    import imagecodecs

    ls = runner.transfer_syntax in _JPEG_LS
    values = (imagecodecs.jpegls_decode if ls else imagecodecs.jpeg_decode)(encoded)
    runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", 8 * values.dtype.itemsize)
    return values.tobytes()
