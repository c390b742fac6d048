"""NRRD and MetaImage volumes in one file, ``.nrrd`` and ``.mha``, read by SimpleITK."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from BYOL.data.formats.checksums import GZIP, GZIP_OR_ZLIB, verify
from BYOL.data.formats.frames import FrameFile, check_bytes, check_complete, choose_frame, require
from BYOL.data.formats.itk_headers import check_meta, check_nrrd
from BYOL.data.formats.stored import HEAD_BYTES, Encoded, ReadOptions
from BYOL.data.formats.volumes import Volume, decompressed, file_key, patient_axes
from BYOL.errors import ran_out_of_memory

_NRRD = b"NRRD000"
_META = (b"ObjectType", b"NDims")  # first words of a MetaImage
_TRUE = (b"T", b"t", b"1")  # how a value that MetaIO takes for true starts
_TO_RAS = np.diag([-1.0, -1.0, 1.0])  # ITK's axes point to the left and to the back


def open_itk(source: Encoded, head: bytes, options: ReadOptions) -> FrameFile | None:
    """Open a NRRD or MetaImage volume; None if the file has another format.

    Raises:
        ValueError: the header is damaged, or names another file as the place of its voxels.
    """
    if head.startswith(_NRRD):
        packed = check_nrrd(head[:HEAD_BYTES])
        volume = ItkVolume(source, "NrrdImageIO", ".nrrd", options)
        if packed is not None:
            volume.packed = packed, None, GZIP
        return choose_frame(volume, options)
    if head.startswith(_META):
        fields, start = check_meta(head[:HEAD_BYTES])
        volume = ItkVolume(source, "MetaImageIO", ".mha", options)
        volume.text = fields.get(b"BinaryData", b"True")[:1] not in _TRUE
        if volume.text or fields.get(b"CompressedData", b"")[:1] not in _TRUE:
            shape = *volume.sizes, volume.times, volume.bands
            least = np.dtype(np.uint8) if volume.text else volume.dtype  # a digit for each number
            check_complete(source, start, shape, least)
            return choose_frame(volume, options)
        size = fields.get(b"CompressedDataSize", b"")
        if not size.isdigit() or not int(size):  # ITK needs it
            raise ValueError("its header does not say how many compressed bytes it has")
        check_complete(source, start, (int(size),), np.dtype(np.uint8))
        volume.packed = start, int(size), GZIP_OR_ZLIB
        return choose_frame(volume, options)
    return None


class ItkVolume(Volume):
    """An opened volume.

    Args:
        source: the file, or its content.
        reader: the name of ITK's reader.
        ending: that the reader expects.
        options: of reading.

    Attributes:
        packed: start, number and kind of the compressed bytes, see
            :func:`BYOL.data.formats.checksums.verify`; None: the values are not compressed.
        text: whether the values are decimal numbers. Of these, ITK's reader of MetaImages writes
            all into the memory of a part, so only the whole is read.
    """

    packed: tuple[int, int | None, int] | None = None
    text = False

    def __init__(self, source: Encoded, reader: str, ending: str, options: ReadOptions):
        require("SimpleITK", "medical")
        import SimpleITK

        self._source, self._key = source, file_key(source, options)
        self._copy: Any = None
        if not (isinstance(source, Path) and source.name.lower().endswith(ending)):
            self._copy = tempfile.NamedTemporaryFile(suffix=ending)  # noqa: SIM115
            self._copy.write(source.read_bytes() if isinstance(source, Path) else source)
            self._copy.flush()
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
        self._reader = SimpleITK.ImageFileReader()
        self._reader.SetImageIO(reader)
        self._reader.SetFileName(str(self._copy.name if self._copy else source))
        with _reasons("its header is damaged or not supported"):
            self._reader.ReadImageInformation()
        self._size = tuple(int(n) for n in self._reader.GetSize())
        bands = int(self._reader.GetNumberOfComponents())
        dtype = _dtype(self._reader.GetPixelID())
        check_bytes((*self._size, bands), dtype)
        dimensions = len(self._size)
        directions = np.eye(3)
        spatial = min(dimensions, 3)
        given = np.reshape(self._reader.GetDirection(), (dimensions, dimensions))
        directions[:spatial, :spatial] = given[:spatial, :spatial]
        sizes = (*self._size[:3], 1)[:3]
        times = int(np.prod(self._size[3:])) if dimensions > 3 else 1
        super().__init__(sizes, *patient_axes(_TO_RAS @ directions), times, bands, dtype)

    def _box(self, axis: int, number: int, time: int) -> np.ndarray:
        start, size = [0] * len(self._size), list(self._size)
        if axis < len(size):
            start[axis], size[axis] = number, 1
        if further := self._size[3:]:
            start[3:] = [int(i) for i in np.unravel_index(time, further, order="F")]
            size[3:] = [1] * len(further)
        if self._key or self.text:
            read = partial(self._part, [0] * len(size), self._size)
            whole = decompressed.get(self._key, read) if self._key else read()
            values = whole[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))[::-1]]
        else:
            values = self._part(start, size)
        several = self.bands > 1
        layer = [1 if i == axis else n for i, n in enumerate(self.sizes)]
        # numpy's order of the axes is the opposite of ITK's; the values of a voxel stay last.
        values = values.reshape(*layer[::-1], *([self.bands] if several else []))
        return values.transpose(2, 1, 0, *([3] if several else []))

    def _part(self, start: Sequence[int], size: Sequence[int]) -> np.ndarray:
        """The values of a box in numpy's order of the axes."""
        import SimpleITK

        if self.packed is not None:
            place, length, kind = self.packed
            shape = *self.sizes, self.times, self.bands
            needed = math.prod(shape) * self.dtype.itemsize
            verify(self._source, place, length, needed, kind)
        self._reader.SetExtractIndex(list(start))
        self._reader.SetExtractSize(list(size))
        with _reasons("the file is truncated or damaged"):
            return SimpleITK.GetArrayFromImage(self._reader.Execute())

    def close(self) -> None:
        """Delete the copy of content that was not a file."""
        if self._copy is not None:
            self._copy.close()


@contextmanager
def _reasons(what: str) -> Iterator[None]:
    """Turn ITK's errors, whose first line is a path of its build, into ``what`` and the reason."""
    try:
        yield
    except RuntimeError as error:
        if ran_out_of_memory(error):
            raise MemoryError("memory ran out while it was read") from error
        lines = [line for line in str(error).splitlines() if line.startswith("[nrrd]")]
        reason = lines[-1].partition(": ")[2] if lines else ""  # MetaImageIO's is not the reason
        raise ValueError(f"{what}: {reason}" if reason else what) from error


def _dtype(pixel_id: int) -> np.dtype:
    import SimpleITK

    name = SimpleITK.GetPixelIDValueAsString(pixel_id).removeprefix("vector of ")
    kinds = {
        "8-bit unsigned integer": np.uint8, "8-bit signed integer": np.int8,
        "16-bit unsigned integer": np.uint16, "16-bit signed integer": np.int16,
        "32-bit unsigned integer": np.uint32, "32-bit signed integer": np.int32,
        "64-bit unsigned integer": np.uint64, "64-bit signed integer": np.int64,
        "32-bit float": np.float32, "64-bit float": np.float64,
    }  # fmt: skip
    if name not in kinds:
        raise ValueError(f"its values are {name}, not real numbers")
    return np.dtype(kinds[name])
