"""The supported image formats, including those of optional libraries, and names of files.

Without its library, a format is counted as not supported.
"""

import io
import os
import re
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from BYOL.data.formats.dicom import ENDINGS

ARRAYS = (".npy", ".npz")
_BUILT_IN = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm",
     ".pgm", ".pnm", ".pbm", ".jp2", ".j2k", ".j2c", ".jpx", ".jpf", ".avif", ".lsm", ".stk",
     ".btf", ".tf8", *ARRAYS)
)  # fmt: skip
# Library, extra of the package that installs it, and endings that it adds.
_OPTIONAL = (
    ("pydicom", "dicom", ENDINGS),
    ("pillow_heif", "heif", (".heic", ".heif")),
    ("nibabel", "medical", (".nii", ".nii.gz")),
    ("SimpleITK", "medical", (".nrrd", ".mha")),
    ("zarr", "zarr", (".zarr",)),
)
_INSTALLED = [library for library, _, _ in _OPTIONAL if find_spec(library)]
SUFFIXES = _BUILT_IN.union(*(ends for library, _, ends in _OPTIONAL if library in _INSTALLED))
# Endings that need an extra which is not installed, and the extra.
MISSING = {
    ending: extra
    for library, extra, endings in _OPTIONAL
    if library not in _INSTALLED
    for ending in endings
}
READS_DICOM = "pydicom" in _INSTALLED
FOLDERS = (".zarr",)  # endings of folders that are one image each
SLIDES = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".qptiff")
# Endings of files that are read in another way than as an image of a folder.
ELSEWHERE = {
    **dict.fromkeys(SLIDES, "cut whole slides into tiles with byol tile"),
    **dict.fromkeys((".h5", ".hdf5", ".hdf"), "name one array as DATA=FILE.h5::DATASET"),
    **dict.fromkeys((".mhd", ".nhdr"), "their pixels are in other files: convert them first"),
    **dict.fromkeys((".tar", ".parquet"), "name shards as DATA, or keep them in a folder alone"),
}
# Unsupported image formats; their files are counted and reported.
UNREAD = frozenset(
    (".czi", ".nd2", ".lif", ".oib", ".oif", ".vsi", ".dm3", ".dm4", ".mrc", ".raw", ".cr2", ".cr3",
     ".nef", ".arw", ".dng", ".psd", ".exr", ".hdr", ".img", ".fits", ".mat", ".jxl",
     ".mgz", ".nii.bz2", ".nii.zst", ".zarr")
)  # fmt: skip
# Pillow's names of the formats that it may read, in the order in which it tries them. Its other
# plugins are not tried, whatever the name of a file: that of EPS starts Ghostscript.
_PILLOW = ("BMP", "GIF", "JPEG", "PPM", "PNG", "HEIF", "AVIF", "JPEG2000", "TIFF", "WEBP")
_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".lz4", ".zip")
_ENDING = re.compile(r"\.[a-z][a-z0-9_~+-]{0,11}")  # "1.2.840.17" and "scan.0012" have none
_BY_CONTENT = ("", ".ima")  # endings of DICOM files as scanners and archives name them


def split_ending(name: str) -> tuple[str, str]:
    """The stem and the lower-case ending of a file name; ``.nii.gz`` is one ending.

    An ending starts with a letter: numbered names such as ``1.2.840.17`` have none.
    """
    stem, last = os.path.splitext(name)  # noqa: PTH122
    ending = last.lower()
    if not _ENDING.fullmatch(ending):
        return name, ""
    if ending in _COMPRESSED:
        inner, before = os.path.splitext(stem)  # noqa: PTH122
        if _ENDING.fullmatch(before.lower()):
            return inner, before.lower() + ending
    return stem, ending


def ending_of(name: bytes | str) -> str:
    """The lower-case ending of a file name, or ``""``."""
    return split_ending(os.fsdecode(name))[1]


def may_be_dicom(ending: str) -> bool:
    """Whether only the content shows if a file with this ``ending`` is a DICOM file."""
    return ending in _BY_CONTENT


def open_image(file: Path | io.BytesIO) -> Image.Image:
    """Open a file of a supported format by Pillow; the pixels are not decoded.

    Raises:
        UnidentifiedImageError: it has another format.
        Exception: of any kind, if it is damaged.
    """
    heif = "HEIF" in Image.OPEN  # Pillow itself has no plugin for it
    return Image.open(file, formats=[name for name in _PILLOW if heif or name != "HEIF"])


def register_readers() -> None:
    """Register the readers of the installed libraries; takes milliseconds."""
    Image.preinit()  # Pillow tries its own common formats first
    if "pillow_heif" in _INSTALLED:
        with suppress(ImportError):  # of its dependencies: then only its own files are unreadable
            from pillow_heif import register_heif_opener

            register_heif_opener()
