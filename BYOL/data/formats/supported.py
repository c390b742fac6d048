"""Which kinds of picture files are read, and what further libraries add to them.

pillow-heif and our own reader of DICOM teach Pillow: everything that opens a picture by Pillow then
opens theirs. Each is there where its library is; without it its files are counted, not read.
"""

from contextlib import suppress
from importlib.util import find_spec

from PIL import Image

from BYOL.data.formats.dicom import ENDINGS, DicomImageFile

_PILLOWS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm",
     ".pgm", ".jp2", ".avif")
)  # fmt: skip
# What an extra of the package adds: the library that reads them, and their endings.
_EXTRAS = {
    "dicom": ("pydicom", ENDINGS),
    "heif": ("pillow_heif", (".heic", ".heif")),
}
_PRESENT = [extra for extra, (library, _) in _EXTRAS.items() if find_spec(library)]
SUFFIXES = _PILLOWS.union(*(_EXTRAS[extra][1] for extra in _PRESENT))
# Pictures of a kind that an extra would read, and its name.
MISSING = {
    ending: extra
    for extra, (_, endings) in _EXTRAS.items()
    if extra not in _PRESENT
    for ending in endings
}
# Pictures of a kind that is not read: counted, so that nobody misses them without a word.
UNREAD = frozenset(
    (".nii", ".svs", ".ndpi", ".mrxs", ".czi", ".nd2", ".lif", ".raw", ".cr2", ".cr3", ".nef",
     ".arw", ".dng", ".psd", ".exr", ".hdr", ".fits", ".jxl", ".j2k", *MISSING)
)  # fmt: skip


def teach_pillow() -> None:
    """Register the readers of the libraries that are there; costs milliseconds."""
    Image.preinit()  # Pillow's own common kinds stay the first that are tried
    if "heif" in _PRESENT:
        with suppress(ImportError):  # of its own parts: then its files are broken, no others
            from pillow_heif import register_heif_opener

            register_heif_opener()
    if "dicom" in _PRESENT:
        Image.register_open(DicomImageFile.format, DicomImageFile)
