"""The files of tiles: PNG for what it represents without a change of meaning, else TIFF."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from BYOL.data.formats.stored import COLOURS
from BYOL.data.formats.windows import Form

_GDAL_NO_DATA = 42113  # the tag
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KINDS = {2: 4, 4: 6}  # colour types with an opacity, by the number of values of a pixel
_UP = 2  # PNG's filter that subtracts the row above


def suffix_of(tile: np.ndarray, form: Form) -> str:
    """``.png`` for what it represents without a change of meaning, else ``.tif``."""
    bands = 1 if tile.ndim == 2 else tile.shape[2]
    plain = bands == COLOURS[form.layout] + form.transparent and form.no_data is None
    deep = tile.dtype == np.uint16 and (bands == 1 or form.transparent)
    return ".png" if plain and (tile.dtype == np.uint8 or deep) else ".tif"


def write_tile(tile: np.ndarray, path: Path, form: Form) -> None:
    """Write a tile with what its image declares.

    Raises:
        OSError: it cannot be written.
    """
    if path.suffix == ".png":
        _write_png(tile, path, form)
    else:
        _write_tiff(tile, path, form)


def _write_png(tile: np.ndarray, path: Path, form: Form) -> None:
    if tile.dtype == np.uint16 and form.transparent:
        path.write_bytes(_deep_png(tile, form.profile))
        return
    profile: dict[str, Any] = {"icc_profile": form.profile} if form.profile else {}
    # half the time of the default level for 5 % more bytes
    Image.fromarray(np.ascontiguousarray(tile)).save(path, "PNG", compress_level=1, **profile)


def _deep_png(tile: np.ndarray, profile: bytes | None) -> bytes:
    """A PNG of 16 bits with an opacity, which Pillow does not write."""
    height, width, bands = tile.shape
    rows = np.ascontiguousarray(tile.astype(">u2")).view(np.uint8).reshape(height, -1)
    filtered = np.full((height, rows.shape[1] + 1), _UP, np.uint8)
    filtered[0, 1:] = rows[0]
    filtered[1:, 1:] = rows[1:] - rows[:-1]
    header = struct.pack(">2I5B", width, height, 16, _PNG_KINDS[bands], 0, 0, 0)
    parts = [_PNG, _chunk(b"IHDR", header)]
    if profile:
        parts.append(_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile)))
    parts += [_chunk(b"IDAT", zlib.compress(filtered.tobytes(), 1)), _chunk(b"IEND", b"")]
    return b"".join(parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def _write_tiff(tile: np.ndarray, path: Path, form: Form) -> None:
    from tifffile import imwrite

    options: dict[str, Any] = {"photometric": "minisblack", "compression": "zlib"}
    if tile.ndim == 3:
        options["planarconfig"] = "contig"  # the bands of a pixel are contiguous
    if form.layout == "rgb":
        options |= {"photometric": "rgb", "iccprofile": form.profile}
    further = 0 if tile.ndim == 2 else tile.shape[2] - COLOURS[form.layout]
    if further and form.layout != "bands":
        first = "unassalpha" if form.alpha else "unspecified"
        options["extrasamples"] = [first, *["unspecified"] * (further - 1)]
    if form.no_data is not None:
        options["extratags"] = [(_GDAL_NO_DATA, 2, 0, f"{form.no_data:.17g}", True)]
    imwrite(path, np.ascontiguousarray(tile), **options)
