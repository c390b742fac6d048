"""TIFFs with several pages: the axes that OME, ImageJ, LSM and tifffile metadata declare."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from BYOL.data.formats.frames import Brightest
from BYOL.data.formats.micromanager_files import micromanager_parts
from BYOL.data.formats.stored import ReadOptions, Slice
from BYOL.data.formats.tiff_missing import MOST_SCALES, fill_empty, page_values
from BYOL.data.formats.tiff_quiet import messages

_NAMES = {"Z": "depth (Z)", "T": "time (T)", "Q": "an undeclared axis", "I": "pages"}
_FLAGS = ("is_ome", "is_imagej", "is_shaped", "is_lsm", "is_stk", "is_micromanager", "is_fluoview")
_KEPT = "YXCS"  # all others are reduced to one slice


@dataclass(frozen=True)
class Stack:
    """The axes of the values that are read.

    Args:
        axes: a letter for each dimension: Y, X, C (channels), S (samples of a pixel), and others.
        shape: the number of values along each axis.
        series: the tifffile series, or None if only the first page is read.
        pages: of the file.
        images: that the metadata declare, such as positions of a microscope.
    """

    axes: str
    shape: tuple[int, ...]
    series: Any
    pages: int
    images: int = 1

    def length(self, letter: str) -> int:
        """The number of values along the axis ``letter``; 1 without it."""
        return self.shape[self.axes.index(letter)] if letter in self.axes else 1

    @property
    def frames(self) -> int:
        """The number of slices along all axes that are no channels."""
        return math.prod(n for a, n in zip(self.axes, self.shape, strict=True) if a not in _KEPT)

    def place(self, choice: Slice | int) -> dict[str, int]:
        """The index along each axis that is no channel.

        Args:
            choice: how a slice is chosen, or its number, in which the last axis varies first.
        """
        sizes = {a: n for a, n in zip(self.axes, self.shape, strict=True) if a not in _KEPT}
        if not isinstance(choice, int):
            return {letter: _chosen(count, choice) for letter, count in sizes.items()}
        if not 0 <= choice < self.frames:
            raise ValueError(f"it has {self.frames} slices, not a number {choice}")
        indices = np.unravel_index(choice, tuple(sizes.values())) if sizes else ()
        return {letter: int(i) for letter, i in zip(sizes, indices, strict=True)}

    def notes(self, options: ReadOptions) -> tuple[str, ...]:
        """Lines that say which of several slices or pages is used."""
        others = (f"only image 1 of {self.images} is used",) if self.images > 1 else ()
        if options.frames == "all" and self.frames > 1:
            return others
        slice_ = options.choice()
        used = []
        for letter, count in zip(self.axes, self.shape, strict=True):
            if letter in _KEPT or count == 1:
                continue
            number = self.place(slice_)[letter] + 1
            which = "the maximum" if slice_ == "max" else f"slice {number}"
            used.append(f"{which} of {count} along {_NAMES.get(letter, letter)}")
        if used:
            return (*others, f"only {' and '.join(used)} is used (--slice, --frames all)")
        if self.series is None and self.pages > 1:
            return (f"only page 1 of {self.pages} is used: no metadata declares their axes",)
        return others


def read_stack(file: Any) -> Stack:
    """The axes of the image in ``file``, a TiffFile, from its metadata.

    Raises:
        ValueError: the metadata, pages or files of a stack are missing.
    """
    page, pages = file.pages.first, len(file.pages)
    declared = any(getattr(file, flag, False) for flag in _FLAGS)
    damages = " ".join(messages())
    if "TiffTag 270" in damages or (declared and "invalid page offset" in damages):
        raise ValueError("the file is truncated: it ends before its metadata or its last page")
    if declared and (pages > 1 or file.is_imagej or file.is_stk or file.is_ome or file.is_shaped):
        micromanager_parts(file)  # checks them before tifffile opens them
        series = file.series[0]
        axes, shape = series.axes, tuple(series.shape)
        if {"Y", "X"} <= set(axes) and len(set(axes)) == len(axes):
            images = sum(other.kind == series.kind and _is_image(other) for other in file.series)
            return Stack(axes, shape, series, pages, images)
    others = file.pages[1 : 1 + MOST_SCALES]
    if all(other.is_reduced or other.is_mask for other in others):
        pages = 1
    return Stack(page.axes, tuple(page.shape), None, pages)


def _is_image(series: Any) -> bool:
    """Whether ``series`` is not a preview, a label or a mask."""
    page = series.keyframe
    return not (page.is_reduced or page.is_mask) and page.dtype is not None


def read_values(stack: Stack, page: Any, slice_: Slice | int, no_data: float | None) -> np.ndarray:
    """The values (H, W, C) of one slice, with all channels.

    Args:
        stack: of the file.
        page: its first TiffPage.
        slice_: see :meth:`BYOL.data.formats.stored.ReadOptions.choice`.
        no_data: a value that a maximum ignores, or None.
    """
    brightest = Brightest(page.photometric == 0, no_data) if slice_ == "max" else None
    place = stack.place(slice_)
    if stack.series is None:
        return _take_slices(page_values(page), stack.axes, place, brightest)
    leading = len(stack.axes) - page.ndim
    pages = stack.series.pages
    if brightest or leading <= 0 or len(pages) != math.prod(stack.shape[:leading]):
        return _take_slices(_whole(stack.series), stack.axes, place, brightest)
    wanted = [
        range(n) if letter == "C" else [place[letter]]
        for letter, n in zip(stack.axes[:leading], stack.shape[:leading], strict=True)
    ]
    indices = np.ravel_multi_index(np.ix_(*wanted), stack.shape[:leading])
    keys = indices.reshape(-1).tolist()
    if any(pages[key] is None for key in keys):
        raise ValueError("a page of the image is missing")
    values = stack.series.asarray(key=keys).reshape(len(keys), *page.shape)
    fill_empty(values, [pages[key] for key in keys])
    values = values.reshape(indices.shape + page.shape)
    single = dict.fromkeys(stack.axes[:leading], 0)  # these axes have one entry now
    return _take_slices(values, stack.axes, place | single, None)


def _whole(series: Any) -> np.ndarray:
    """All values of a series; mapped if they are stored without compression in a file."""
    file = series.parent.filehandle
    if series.dataoffset == 0:  # of a single page that is not stored
        return np.full(series.shape, series.keyframe.nodata, series.dtype)
    if series.dataoffset is None or not file.is_file:
        values = series.asarray()
        planes = len(series.pages), *series.keyframe.shape
        if values.size == math.prod(planes) and values.flags.c_contiguous:
            fill_empty(values.reshape(planes), series.pages)
        return values
    dtype = series.dtype.newbyteorder(series.parent.byteorder)
    return file.memmap_array(dtype, series.shape, series.dataoffset)


def _take_slices(
    values: np.ndarray, axes: str, place: dict[str, int], brightest: Brightest | None
) -> np.ndarray:
    """Reduce all axes but Y, X, C and S, and return (H, W, C · S)."""
    others = tuple(i for i, letter in enumerate(axes) if letter not in _KEPT)
    if brightest and others:
        values = brightest.along(values, others)
    else:
        index = tuple(
            place[letter] if i in others else slice(None) for i, letter in enumerate(axes)
        )
        values = values[index]
    kept = [letter for letter in axes if letter in _KEPT]
    values = values.transpose([kept.index(letter) for letter in _KEPT if letter in kept])
    return np.ascontiguousarray(values).reshape(*values.shape[:2], -1)


def _chosen(count: int, slice_: Slice) -> int:
    """The index of the slice that ``slice_`` names; of an even count, the second middle one."""
    return count // 2 if slice_ == "middle" else 0
