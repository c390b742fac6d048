"""The supported image formats, including those of optional libraries.

pillow-heif and :mod:`BYOL.data.formats.dicom` register with Pillow, so everything that opens images
by Pillow supports their formats. Without its library, a format is counted as not supported.
"""

from contextlib import suppress
from importlib.util import find_spec

from PIL import Image

from BYOL.data.formats.dicom import ENDINGS, DicomImageFile

_PILLOW_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm",
     ".pgm", ".jp2", ".avif")
)  # fmt: skip
# Extras of the package: the library, and the suffixes that it adds.
_EXTRAS = {
    "dicom": ("pydicom", ENDINGS),
    "heif": ("pillow_heif", (".heic", ".heif")),
}
_INSTALLED = [extra for extra, (library, _) in _EXTRAS.items() if find_spec(library)]
SUFFIXES = _PILLOW_SUFFIXES.union(*(_EXTRAS[extra][1] for extra in _INSTALLED))
# Suffixes that need an extra which is not installed, and the extra.
MISSING = {
    ending: extra
    for extra, (_, endings) in _EXTRAS.items()
    if extra not in _INSTALLED
    for ending in endings
}
# Unsupported image formats; their files are counted and reported.
UNREAD = frozenset(
    (".nii", ".svs", ".ndpi", ".mrxs", ".czi", ".nd2", ".lif", ".raw", ".cr2", ".cr3", ".nef",
     ".arw", ".dng", ".psd", ".exr", ".hdr", ".fits", ".jxl", ".j2k", *MISSING)
)  # fmt: skip


def register_readers() -> None:
    """Register the readers of the installed libraries; takes milliseconds."""
    Image.preinit()  # Pillow tries its own common formats first
    if "heif" in _INSTALLED:
        with suppress(ImportError):  # of its dependencies: then only its own files are unreadable
            from pillow_heif import register_heif_opener

            register_heif_opener()
    if "dicom" in _INSTALLED:
        Image.register_open(DicomImageFile.format, DicomImageFile)
