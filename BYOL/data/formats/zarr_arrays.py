"""Zarr arrays and OME-Zarr images in local folders, read by zarr plane by plane.

Metadata come from whoever made the folder. So names of arrays lead only downwards, and codecs are
only those that decompress: numcodecs also has one that executes what it decodes (pickle).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from BYOL.data.formats.array_files import band_axis
from BYOL.data.formats.frames import FrameFile, check_bytes, check_numbers, choose_frame, require
from BYOL.data.formats.stored import Layout, ReadOptions

_METADATA = ("zarr.json", ".zarray", ".zgroup")
_LARGEST_METADATA = 1 << 26  # bytes
_CODECS = frozenset(
    ("bytes", "endian", "transpose", "sharding_indexed", "crc32c", "crc32", "adler32", "fletcher32",
     "blosc", "gzip", "zlib", "zstd", "lz4", "bz2", "lzma", "shuffle", "bitshuffle", "delta",
     "fixedscaleoffset", "quantize", "bitround", "packbits", "astype", "jenkins_lookup3")
)  # fmt: skip
_AXES = "tczyx"  # of OME-Zarr; without declared axes, an array has the last ones
# What axes are called, or their types, instead.
_LETTERS = {
    "time": "t", "channel": "c", "channels": "c", "depth": "z", "height": "y", "width": "x"
}  # fmt: skip


def open_zarr(folder: Path, options: ReadOptions) -> FrameFile:
    """Open a folder as one image: the full resolution of an OME-Zarr image, or its only array.

    Raises:
        ValueError: it holds no image, or metadata that are not accepted.
    """
    scales = _multiscales(folder)
    if scales is None:
        names = array_names(folder)
        if len(names) != 1:
            held = ", ".join(names[:5]) or "no array"
            raise ValueError(f"it holds {held}: name one as DATA={folder.name}::NAME")
        array = open_zarr_array(folder, names[0])
        return choose_frame(ZarrFrames(array, _plain_axes(array.shape)), options)
    array = open_zarr_array(folder, str(scales["datasets"][0]["path"]))
    axes = [a if isinstance(a, dict) else {"name": a} for a in scales.get("axes") or ()]
    letters = _letters(axes) or _AXES[-array.ndim :]
    known = set("yx") <= set(letters) <= set(_AXES) and len(set(letters)) == len(letters)
    if len(letters) != array.ndim or not known:
        listed = ", ".join(str(axis.get("name")) for axis in axes)
        raise ValueError(f"its axes are {listed}; t, c, z, y, x are accepted, {array.ndim} of them")
    return choose_frame(ZarrFrames(array, letters), options)


def _letters(axes: list[dict[str, Any]]) -> str:
    """A letter for each declared axis, by its name or its type; "?" for an unknown one.

    Axes of space with other names are z, y and x in this order, as OME prescribes it.
    """
    letters: list[str] = []
    for axis in axes:
        name, kind = (str(axis.get(key) or "").lower() for key in ("name", "type"))
        letter = name if name in tuple(_AXES) else _LETTERS.get(name)
        letters.append(letter or _LETTERS.get(kind) or ("s" if kind == "space" else "?"))
    spaces = letters.count("s")
    if spaces in (2, 3) and not set("zyx") & set(letters):
        order = iter("zyx"[-spaces:])
        letters = [next(order) if letter == "s" else letter for letter in letters]
    return "".join(letters)


class ZarrFrames:
    """The planes of an array.

    Args:
        array: of zarr.
        axes: a letter for each of its axes: t, c, z, y, x.
    """

    def __init__(self, array: Any, axes: str):
        self._array, self._axes = array, axes
        sizes = dict(zip(axes, array.shape, strict=True))
        self._bands = sizes.get("c", 1)
        self._further = tuple(sizes.get(letter, 1) for letter in "tz")
        self.frames = self._further[0] * self._further[1]
        self.middle = self._further[0] // 2 * self._further[1] + self._further[1] // 2
        self._size = sizes["y"], sizes["x"]
        colours = self._bands == 3 and array.dtype == np.uint8 and axes.endswith("c")
        self.layout: Layout = "grey" if self._bands == 1 else "rgb" if colours else "bands"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and bands of a plane."""
        return *self._size, self._bands

    @property
    def deep(self) -> bool:
        """Whether the values are not 8-bit; of bool, 0 is black and 1 is white."""
        return self._array.dtype not in (np.uint8, bool)

    def values(self, frame: int) -> np.ndarray:
        """The values of a plane, (H, W) or (H, W, bands)."""
        t, z = divmod(frame, self._further[1])
        place: dict[str, Any] = {"t": t, "z": z}
        values = np.asarray(self._array[tuple(place.get(a, slice(None)) for a in self._axes)])
        kept = [letter for letter in self._axes if letter not in place]
        values = values.transpose([kept.index(letter) for letter in "yxc" if letter in kept])
        return values if values.dtype != bool else values.astype(np.uint8) * 255

    def close(self) -> None:
        """Nothing is kept open."""


def open_zarr_array(folder: Path, name: str, *, words: bool = False) -> Any:
    """Open an array of a local folder for reading.

    Args:
        folder: of Zarr.
        name: of the array in it; empty for the folder itself.
        words: whether it may hold words of a fixed length instead of numbers.

    Raises:
        ValueError: there is no such array, or its metadata are not accepted.
    """
    require("zarr", "zarr")
    import zarr
    from zarr.storage import LocalStore

    parts = [part for part in name.split("/") if part]
    if any(part in (".", "..") or ":" in part or "\\" in part for part in parts):
        raise ValueError(f"{name!r} is no name of an array")
    place = folder.joinpath(*parts)
    metadata = _metadata(place)
    if "shape" not in metadata:
        raise ValueError(f"it has no array {name!r}")
    _check_codecs(metadata)
    array: Any = zarr.open_array(store=LocalStore(place, read_only=True), mode="r")
    if not (words and array.dtype.kind in "US"):
        check_numbers(array.dtype)
    check_bytes(getattr(array, "shards", None) or array.chunks, array.dtype)
    return array


def array_names(folder: Path, most: int = 20) -> list[str]:
    """The names of arrays in a folder and its groups, ``""`` for the folder itself."""
    if "shape" in _metadata(folder):
        return [""]
    names: list[str] = []
    pending = [folder]
    while pending and len(names) < most:
        for place in sorted(path for path in pending.pop(0).iterdir() if path.is_dir()):
            if "shape" in (metadata := _metadata(place)):
                names.append(place.relative_to(folder).as_posix())
            elif metadata:
                pending.append(place)
    return names[:most]


def array_names_in(folder: Path, group: str) -> list[str]:
    """The names of the arrays of one group."""
    place = folder.joinpath(*filter(None, group.split("/")))
    return [path.name for path in sorted(place.iterdir()) if "shape" in _metadata(path)]


def _metadata(folder: Path) -> dict[str, Any]:
    """The metadata of an array or a group; empty without any."""
    for name in _METADATA:
        path = folder / name
        if path.is_file() and path.stat().st_size <= _LARGEST_METADATA:
            metadata = json.loads(path.read_bytes())
            if not isinstance(metadata, dict):
                break
            return metadata | {"zarr": True}
    return {}


def _multiscales(folder: Path) -> dict[str, Any] | None:
    """The first image that OME metadata declare, or None."""
    attributes: Any = _metadata(folder).get("attributes") or {}
    old = folder / ".zattrs"
    if not attributes and old.is_file() and old.stat().st_size <= _LARGEST_METADATA:
        attributes = json.loads(old.read_bytes())
    attributes = attributes.get("ome", attributes)
    if "plate" in attributes:
        raise ValueError("it is a plate of many images: name one as a folder of its own")
    scales = attributes.get("multiscales")
    return scales[0] if scales else None


def _check_codecs(metadata: Any) -> None:
    """Reject metadata with a codec that does not only decompress."""
    declared = [metadata.get("compressor"), *(metadata.get("filters") or ())]
    declared += metadata.get("codecs") or ()
    for codec in declared:
        if codec is None:
            continue
        name = str(codec.get("id") or codec.get("name")).removeprefix("numcodecs.")
        if name not in _CODECS:
            raise ValueError(f"its codec {name!r} is not accepted")
        inner = codec.get("configuration") or {}
        for key in ("codecs", "index_codecs"):
            _check_codecs({"codecs": inner.get(key)})


def _plain_axes(shape: tuple[int, ...]) -> str:
    """The axes of an array that declares none, see :func:`band_axis`."""
    bands = band_axis(shape)
    return {None: "yx" if len(shape) == 2 else "zyx", 0: "cyx", 2: "yxc"}[bands]
