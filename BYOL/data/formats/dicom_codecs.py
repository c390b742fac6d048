"""DICOM compressions that pydicom and Pillow do not decode, decoded by imagecodecs.

This is a pydicom plugin for lossless JPEG and JPEG-LS, which hospital archives use, 12-bit JPEG,
JPEG 2000 with deep colours and high-throughput JPEG 2000. Of the libraries that pydicom recommends,
GDCM crashes the process on damaged files, and pylibjpeg-libjpeg is licensed under the GPL.
"""

from functools import cache
from importlib.util import find_spec
from typing import Any

from pydicom import uid
from pydicom.pixels import get_decoder

_JPEG = (uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGExtended12Bit)
_JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
_JPEG_2000 = (uid.JPEG2000Lossless, uid.JPEG2000)
_HTJ2K = (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
DECODER_DEPENDENCIES = dict.fromkeys((*_JPEG, *_JPEG_LS, *_JPEG_2000, *_HTJ2K), ("imagecodecs",))


@cache
def register_decoders() -> None:
    """Register the plugin, once."""
    for syntax in DECODER_DEPENDENCIES:
        get_decoder(syntax).add_plugin("imagecodecs", (__name__, "decode_frame"))


def is_available(syntax: str) -> bool:
    """Whether frames with the transfer syntax ``syntax`` can be decoded."""
    return syntax in DECODER_DEPENDENCIES and find_spec("imagecodecs") is not None


def decode_frame(encoded: bytes, runner: Any) -> bytes:
    """Decode a frame to pixel-interleaved bytes; pydicom then corrects the signs."""
    import imagecodecs

    syntax = runner.transfer_syntax
    if syntax in _JPEG_LS:
        decode = imagecodecs.jpegls_decode
    elif syntax in _JPEG:
        decode = imagecodecs.jpeg_decode
    else:
        decode = imagecodecs.jpeg2k_decode
        if runner.photometric_interpretation in ("YBR_ICT", "YBR_RCT"):
            runner.set_option("photometric_interpretation", "RGB")  # as the decoder returns them
    values = decode(encoded)
    runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", 8 * values.dtype.itemsize)
    return values.tobytes()
