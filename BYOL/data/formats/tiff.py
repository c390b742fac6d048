"""TIFFs, read by tifffile: every type, layout, compression and photometric interpretation.

Pillow reads only what it reads in the same way and faster: upright 8-bit RGB and grey without
further samples. Extra samples are never treated as an opacity, because many files declare a
near-infrared band as one.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from BYOL.data.formats.frames import check_bytes
from BYOL.data.formats.libtiff import check_complete_page
from BYOL.data.formats.micromanager_files import micromanager_set
from BYOL.data.formats.ome_files import check_parts, ome_parts
from BYOL.data.formats.pillow import PillowFile
from BYOL.data.formats.stored import (
    Encoded,
    Header,
    ImageSource,
    Layout,
    ReadOptions,
    StoredImage,
    upright_size,
    whole,
)
from BYOL.data.formats.tiff_missing import (
    check_tiles,
    declares_no_data,
    is_sparse,
    mask_page,
    masked,
    no_data_value,
    prepare,
)
from BYOL.data.formats.tiff_quiet import tiff_file
from BYOL.data.formats.tiff_stack import read_stack, read_values
from BYOL.views.colour import cmyk_to_rgb

SUFFIXES = (".tif", ".tiff")
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # also BigTIFF
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_LAB = (8, 9, 10)
_UNCOMPRESSED, _JPEG = 1, 7
_PILLOW_COMPRESSIONS = (_UNCOMPRESSED, 5, _JPEG, 8, 32946, 32773)  # LZW, Deflate (two), PackBits
_ORIENTATION, _PROFILE = 274, 34675
_ALPHA = (1, 2)  # extra samples that are declared as an opacity


def open_tiff(source: Encoded, head: bytes, options: ReadOptions) -> ImageSource | None:
    """Open a TIFF; None for any other file, and for a TIFF that only Pillow reads."""
    if head[:4] not in MAGIC:
        return None
    with tiff_file(source) as file:
        check_parts(source, ome_parts(file))  # before tifffile opens them
        page = file.pages.first
        check_tiles(page)
        has_gaps = declares_no_data(page) or is_sparse(page) or mask_page(file) is not None
        if _is_simple(page) and not has_gaps:
            stack = read_stack(file)
            if stack.series is None or stack.shape == page.shape:
                return PillowFile(whole(source, head), options, stack.notes(options))
        elif _only_pillow_reads(page, has_gaps):
            if is_sparse(page):
                colours = "YCbCr or CIELAB without JPEG"
                raise ValueError(
                    f"some of its strips or tiles are empty, its colours are {colours}"
                )
            return None
        return TiffImage(source, options, file)


def parts_of_image(path: Path) -> frozenset[str]:
    """The names of the files that hold the image in ``path``; empty or one name for most files."""
    try:
        with tiff_file(path) as file:
            return ome_parts(file) or micromanager_set(file)
    except Exception:  # the file is reported when it is read
        return frozenset()


class TiffImage:
    """A TIFF that tifffile reads.

    Args:
        source: the file, or its content.
        options: see :class:`BYOL.data.formats.stored.ReadOptions`.
        file: its TiffFile, which need not stay open.
    """

    def __init__(self, source: Encoded, options: ReadOptions, file: Any):
        self.source = source
        self.options = options
        page, stack = file.pages.first, read_stack(file)
        self.frames = stack.frames
        rows, columns = stack.length("Y"), stack.length("X")
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        if rows * columns > limit:
            raise Image.DecompressionBombError(f"{rows} × {columns} pixels")
        if page.dtype is None or np.issubdtype(page.dtype, np.complexfloating):
            raise ValueError(f"its values are {page.dtype or 'of an unknown type'}")
        layout, bands, channels = _layout(page, stack.length("C"), stack.length("S"))
        check_bytes((rows, columns, bands), page.dtype)  # hundreds of bands fit into a small file
        self.header = Header(
            upright_size(rows, columns, _orientation(page)),
            layout,
            bands,
            channels,
            page.dtype not in (np.uint8, bool) and page.photometric not in (_PALETTE, _CMYK),
            stack.notes(options),
        )

    def read(self, channels: int, min_size: tuple[int, int] = (0, 0)) -> StoredImage:
        """Decode all bands of one slice."""
        with tiff_file(self.source) as file:
            page, stack = file.pages.first, read_stack(file)
            check_complete_page(page, file.filehandle.size)
            prepare(page)
            no_data = no_data_value(page)
            ignored = self.options.no_data if no_data is None else no_data
            try:
                values = read_values(stack, page, self.options.choice(), ignored)
            except ValueError as error:
                if "imagecodecs" in str(error):
                    raise ValueError(f"{error}: pip install 'BYOL[tiff]'") from error
                raise
            stored = _stored(values, page, self.header.layout, no_data)
            if stack.series is None:
                stored = replace(stored, missing=masked(file, stored.missing))
        height, width, bands = stored.values.shape
        size = upright_size(height, width, stored.orientation)
        if size != self.header.size or bands != self.header.bands:
            raise ValueError(
                f"its values are {stored.values.shape}, but its header says {self.header.size} and "
                f"{self.header.bands} bands"
            )
        return stored

    def close(self) -> None:
        """Nothing is open."""


def _layout(page: Any, channels: int, samples: int) -> tuple[Layout, int, int]:
    """The layout, the number of bands, and the number of channels by default.

    Args:
        page: the first TiffPage.
        channels: of the stack.
        samples: of a pixel of a page.
    """
    bands = channels * samples
    alpha = any(extra in _ALPHA for extra in page.extrasamples)
    if channels > 1:
        return "bands", bands, bands
    if page.photometric == _PALETTE or (page.photometric == _CMYK and samples >= 4):
        return "rgb", 3, 3
    if page.photometric in (_RGB, _YCBCR) and samples >= 3:
        return "rgb", samples, 3 if samples == 4 and alpha else samples
    if samples == 1 or (samples == 2 and alpha):
        return "grey", samples, 1
    return "bands", samples, samples


def _stored(
    values: np.ndarray, page: Any, layout: Layout, no_data: float | int | None
) -> StoredImage:
    """The image of (H, W, C) decoded values."""
    missing, profile, limits, bits = None, profile_of(page), None, _bits(page)
    stored_bits = 8
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    if page.photometric in (_PALETTE, _CMYK) and layout == "rgb":
        if no_data is not None:  # of indices or inks, which are no colours
            missing, no_data = (values == no_data).all(axis=2), None
        if page.photometric == _PALETTE:
            values = _look_up(values[..., 0], page.colormap)
        else:
            values, profile = cmyk_to_rgb(_as_8_bits(values[..., :4]), profile), None
    elif values.dtype == bool:
        values, stored_bits = _scaled(values.astype(np.uint8), 1), 1
    elif values.dtype == np.uint8 and bits < 8:
        values, stored_bits = _scaled(values, bits), bits
    elif values.dtype.kind == "u" and bits < 8 * values.dtype.itemsize:
        limits = (0, (1 << bits) - 1)
    return StoredImage(
        values,
        layout,
        _orientation(page),
        page.photometric == _WHITE_IS_ZERO,
        limits,
        no_data,
        missing,
        profile=profile,
        stored_bits=stored_bits,
    )


def _look_up(indices: np.ndarray, colormap: Any) -> np.ndarray:
    """The colours (H, W, 3) uint8 of palette ``indices`` (H, W)."""
    if colormap is None:
        raise ValueError("it has no palette")
    table = np.asarray(colormap)
    if table.max(initial=0) > 255:  # some programs write 8-bit palettes
        table = table >> 8
    return table.astype(np.uint8).T[np.minimum(indices, table.shape[1] - 1)]


def _scaled(values: np.ndarray, bits: int) -> np.ndarray:
    """Scale uint8 values of fewer bits to 0 to 255."""
    table = np.rint(np.arange(256) * 255 / ((1 << bits) - 1)).clip(0, 255).astype(np.uint8)
    return table[values]


def _as_8_bits(values: np.ndarray) -> np.ndarray:
    """Unsigned values as uint8."""
    if values.dtype.kind != "u":
        raise ValueError(f"inks of {values.dtype} are not supported")
    return (values >> (8 * values.dtype.itemsize - 8)).astype(np.uint8)


def _is_simple(page: Any) -> bool:
    """Whether Pillow reads ``page`` as tifffile does: 8-bit, upright, one or three samples."""
    kind = page.photometric, page.samplesperpixel
    return (
        kind in ((_BLACK_IS_ZERO, 1), (_RGB, 3))
        and page.dtype == np.uint8
        and page.bitspersample == 8
        and not page.extrasamples
        and _orientation(page) == 1
        and page.planarconfig == 1
        and page.imagedepth == 1
        and page.fillorder == 1
        and page.compression in _PILLOW_COMPRESSIONS
        # Pillow 13 does not recognize a big-endian BigTIFF.
        and not (page.parent.is_bigtiff and page.parent.byteorder == ">")
    )


def _only_pillow_reads(page: Any, has_gaps: bool) -> bool:
    """Whether ``page`` has colours that tifffile returns unconverted, or reads more slowly."""
    needed = has_gaps or _orientation(page) != 1
    converted = page.compression == _JPEG and needed
    return page.photometric in _LAB or (page.photometric == _YCBCR and not converted)


def _tag(page: Any, code: int) -> Any:
    return page.tags.valueof(code)


def _orientation(page: Any) -> int:
    value = _tag(page, _ORIENTATION)
    return int(value) if value in range(1, 9) else 1


def _bits(page: Any) -> int:
    """The declared bits of a value; those of the type if the samples differ."""
    bits = page.bitspersample
    return int(bits) if isinstance(bits, int) else 8 * page.dtype.itemsize


def profile_of(page: Any) -> bytes | None:
    """The ICC profile of a page, or None."""
    profile = _tag(page, _PROFILE)
    return profile if isinstance(profile, bytes) else None
