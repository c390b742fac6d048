"""NIfTI volumes in one file, ``.nii`` and ``.nii.gz``, read by nibabel slice by slice."""

import gzip
import io
import math
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from BYOL.data.formats.checksums import verify
from BYOL.data.formats.frames import (
    MOST_BYTES,
    FrameFile,
    check_bytes,
    check_complete,
    choose_frame,
    require,
)
from BYOL.data.formats.stored import Encoded, ReadOptions
from BYOL.data.formats.volumes import Volume, decompressed, file_key

_GZIP = b"\x1f\x8b"
_SIZES = (348, 540)  # bytes of the headers of NIfTI-1 and NIfTI-2
_LARGEST_EXTENSION = 1 << 24  # bytes between the header and the voxels
_VECTOR = (1005, 1006, 1007, 2003, 2004)  # intents whose fifth axis holds values of one voxel


def open_nifti(source: Encoded, head: bytes, options: ReadOptions) -> FrameFile | None:
    """Open a NIfTI volume; None if the file has another format.

    Raises:
        ValueError: the header is damaged, or the voxels are in another file.
    """
    packed = head[:2] == _GZIP
    start = _unpacked(head, _SIZES[1] + 4) if packed else head
    version = _version(start)
    if version is None:
        return None
    require("nibabel", "medical")
    header = _header(start, version)
    if isinstance(source, Path) and not _has_ending(source, packed):
        source = source.read_bytes()  # nibabel decides by the ending
    key = file_key(source, options) if packed else None
    return choose_frame(NiftiVolume(source, header, version, packed, key), options)


class NiftiVolume(Volume):
    """An opened volume.

    Args:
        source: the file, or its content.
        header: nibabel's, checked.
        version: 1 or 2.
        packed: whether the file is compressed.
        key: of :func:`BYOL.data.formats.volumes.file_key`, to keep the decompressed values.
    """

    def __init__(self, source: Encoded, header: Any, version: int, packed: bool, key: Any = None):
        import nibabel

        check_bytes(header.get_data_shape(), header.get_data_dtype())
        self._key = key
        kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
        if isinstance(source, Path):
            self._image = kind.from_filename(source)
        else:
            self._image = kind.from_bytes(_whole(source) if packed else source)
        shape = tuple(int(n) for n in self._image.shape)
        self._colours_of = self._image.get_data_dtype().names or ()
        if not packed:
            check_complete(source, int(header["vox_offset"]), shape, self._image.get_data_dtype())
        vector = len(shape) == 5 and int(header["intent_code"]) in _VECTOR
        self._vector = vector and not self._colours_of
        spatial = (*shape[:3], 1, 1, 1)[:3]
        self._needed = int(header["vox_offset"])
        self._needed += math.prod(shape) * self._image.get_data_dtype().itemsize
        self._packed = source if packed and isinstance(source, Path) else None
        self._further = shape[3:4] if self._vector else shape[3:]
        bands = shape[4] if self._vector else max(len(self._colours_of), 1)
        dtype = np.dtype(np.uint8) if self._colours_of else self._scaled_type()
        orientation = nibabel.io_orientation(self._image.affine)
        if np.isnan(orientation).any():
            raise ValueError("its affine matrix is singular")
        axes, signs = orientation[:, 0].astype(int), orientation[:, 1].astype(int)
        times = int(np.prod(self._further)) if self._further else 1
        super().__init__(spatial, tuple(axes.tolist()), tuple(signs.tolist()), times, bands, dtype)

    def _scaled_type(self) -> np.dtype:
        image: Any = self._image
        slope, inter = image.dataobj.slope, image.dataobj.inter
        stored = self._image.get_data_dtype()
        return np.dtype(stored if (slope, inter) == (1, 0) else np.float64)

    def _box(self, axis: int, number: int, time: int) -> np.ndarray:
        dimensions = len(self._image.shape)
        cut: list[Any] = [slice(None)] * min(dimensions, 3)
        if axis < dimensions:
            cut[axis] = slice(number, number + 1)
        if self._further:
            cut += np.unravel_index(time, self._further, order="F")
        if self._packed is not None:
            verify(self._packed, 0, None, self._needed)
        stored = self._image.dataobj
        if self._key:
            stored = decompressed.get(self._key, lambda: np.asanyarray(self._image.dataobj))
        values = np.asanyarray(stored[tuple(cut)])
        if self._colours_of:
            values = np.stack([values[name] for name in self._colours_of], axis=-1)
        several = self.bands > 1
        return values.reshape(*_layer(self.sizes, axis), *([self.bands] if several else []))


def _layer(sizes: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return tuple(1 if i == axis else size for i, size in enumerate(sizes))


def _version(head: bytes) -> int | None:
    """1 or 2 if ``head`` is the start of a NIfTI header, else None.

    Raises:
        ValueError: the voxels are in another file.
    """
    for version, size, place, magics in (
        (1, _SIZES[0], 344, (b"n+1\0", b"ni1\0")),
        (2, _SIZES[1], 4, (b"n+2\0", b"ni2\0")),
    ):
        sizes = (size.to_bytes(4, "little"), size.to_bytes(4, "big"))
        if head[:4] in sizes and head[place : place + 4] in magics:
            if head[place + 1 : place + 2] == b"i":
                raise ValueError("its voxels are in another file: convert it to one .nii file")
            return version
    return None


def _header(head: bytes, version: int) -> Any:
    """nibabel's header, without its extensions.

    Raises:
        ValueError: it declares more than a valid file can have.
    """
    import nibabel

    kind = nibabel.Nifti1Header if version == 1 else nibabel.Nifti2Header
    header = kind(binaryblock=head[: _SIZES[version - 1]], check=False)
    if not _SIZES[version - 1] <= float(header["vox_offset"]) <= _LARGEST_EXTENSION:
        raise ValueError("its header declares an implausible start of its voxels")
    if not 1 <= int(header["dim"][0]) <= 7:
        raise ValueError("its header declares no dimensions")
    return header


def _has_ending(path: Path, packed: bool) -> bool:
    return path.name.lower().endswith(".nii.gz" if packed else ".nii")


def _unpacked(head: bytes, most: int) -> bytes:
    with suppress(zlib.error):
        return zlib.decompressobj(31).decompress(head, most)
    return b""


def _whole(packed: bytes) -> bytes:
    """All bytes of a compressed file.

    Raises:
        ValueError: they are more than any accepted volume has.
    """
    limit = MOST_BYTES + _LARGEST_EXTENSION
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError("it is larger than its header says")
    return content
