"""TIFFs with several pages: the axes that OME, ImageJ, LSM and tifffile metadata declare."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from BYOL.data.formats.stored import Encoded, Slice

_NAMES = {"Z": "depth (Z)", "T": "time (T)", "Q": "an undeclared axis", "I": "pages"}
_FLAGS = ("is_ome", "is_imagej", "is_shaped", "is_lsm", "is_stk", "is_micromanager", "is_fluoview")
_PART = re.compile(r'FileName\s*=\s*"([^"]*)"')


@dataclass(frozen=True)
class Stack:
    """The axes of the values that are read.

    Args:
        axes: a letter for each dimension: Y, X, C (channels), S (samples of a pixel), and others.
        shape: the number of values along each axis.
        series: the tifffile series, or None if only the first page is read.
        pages: of the file.
    """

    axes: str
    shape: tuple[int, ...]
    series: Any
    pages: int

    def length(self, letter: str) -> int:
        """The number of values along the axis ``letter``; 1 without it."""
        return self.shape[self.axes.index(letter)] if letter in self.axes else 1

    def notes(self, slice_: Slice) -> tuple[str, ...]:
        """Lines that say which of several slices or pages is used."""
        lines = []
        for letter, count in zip(self.axes, self.shape, strict=True):
            if letter in "YXCS" or count == 1:
                continue
            which = (
                f"the maximum of {count} slices"
                if slice_ == "max"
                else f"slice {_chosen(count, slice_) + 1} of {count}"
            )
            lines.append(f"{which} along {_NAMES.get(letter, letter)} (--slice)")
        if self.series is None and self.pages > 1:
            lines.append(f"page 1 of {self.pages}, because no metadata declares their axes")
        return (f"used: {', '.join(lines)}",) if lines else ()


def read_stack(file: Any) -> Stack:
    """The axes of the image in ``file``, a TiffFile, from its metadata.

    Raises:
        ValueError: a file that belongs to the image is missing.
    """
    page, pages = file.pages.first, len(file.pages)
    if any(getattr(file, flag, False) for flag in _FLAGS) and (pages > 1 or _may_be_stack(file)):
        series = file.series[0]
        axes, shape = series.axes, tuple(series.shape)
        if {"Y", "X"} <= set(axes) and len(set(axes)) == len(axes):
            return Stack(axes, shape, series, pages)
    return Stack(page.axes, tuple(page.shape), None, pages)


def _may_be_stack(file: Any) -> bool:
    """Whether one page may hold several images: ImageJ and STK; or they are in other files."""
    return bool(file.is_imagej or file.is_stk or file.is_ome or file.is_shaped)


def read_values(stack: Stack, page: Any, slice_: Slice, no_data: float | None) -> np.ndarray:
    """The values (H, W, C) of one slice, with all channels.

    Args:
        stack: of the file.
        page: its first TiffPage.
        slice_: see :class:`BYOL.data.formats.stored.ReadOptions`.
        no_data: a value that a maximum ignores, or None.
    """
    if stack.series is None:
        return _take_slices(page.asarray(), stack.axes, slice_, no_data)
    leading = len(stack.axes) - page.ndim
    pages = stack.series.pages
    if slice_ == "max" or leading <= 0 or len(pages) != math.prod(stack.shape[:leading]):
        return _take_slices(stack.series.asarray(), stack.axes, slice_, no_data)
    wanted = [
        range(n) if letter == "C" else [_chosen(n, slice_)]
        for letter, n in zip(stack.axes[:leading], stack.shape[:leading], strict=True)
    ]
    indices = np.ravel_multi_index(np.ix_(*wanted), stack.shape[:leading])
    read = [_page_values(pages[int(i)]) for i in indices.reshape(-1)]
    values = np.stack(read).reshape(indices.shape + read[0].shape)
    return _take_slices(values, stack.axes, slice_, no_data)


def _page_values(page: Any) -> np.ndarray:
    if page is None:
        raise ValueError("a page of the image is missing")
    return page.asarray()


def _take_slices(values: np.ndarray, axes: str, slice_: Slice, no_data: float | None) -> np.ndarray:
    """Reduce all axes but Y, X, C and S, and return (H, W, C · S)."""
    others = tuple(i for i, letter in enumerate(axes) if letter not in "YXCS")
    if slice_ == "max" and others:
        values = _maximum(values, others, no_data)
    else:
        index = tuple(
            _chosen(n, slice_) if i in others else slice(None) for i, n in enumerate(values.shape)
        )
        values = values[index]
    kept = [letter for letter in axes if letter in "YXCS"]
    order = [kept.index(letter) for letter in "YXCS" if letter in kept]
    values = values.transpose(order)
    return values.reshape(*values.shape[:2], -1)


def _maximum(values: np.ndarray, axes: tuple[int, ...], no_data: float | None) -> np.ndarray:
    """The maximum along ``axes`` of the values with data; no data where all are without."""
    if values.dtype == bool:
        return values.max(axis=axes)
    floating = values.dtype.kind == "f"
    missing = np.isnan(values) if floating else np.zeros(values.shape, dtype=bool)
    if no_data is not None:
        missing |= values == no_data
    if not missing.any():
        return values.max(axis=axes)
    lowest = -np.inf if floating else np.iinfo(values.dtype).min
    most = np.where(missing, values.dtype.type(lowest), values).max(axis=axes)
    empty = values.dtype.type(np.nan if no_data is None else no_data)
    return np.where(missing.all(axis=axes), empty, most)


def _chosen(count: int, slice_: Slice) -> int:
    """The index of the slice, which is (count − 1) / 2 rounded up for the middle one."""
    return 0 if slice_ == "first" else count // 2 if slice_ == "middle" and count > 1 else 0


def ome_parts(file: Any) -> frozenset[str]:
    """The names of the files that hold an OME image, from the XML in ``file``, a TiffFile."""
    return frozenset(_PART.findall(file.ome_metadata or "")) if file.is_ome else frozenset()


def check_parts(source: Encoded, parts: frozenset[str]) -> None:
    """Check that all files of an OME image of several files exist next to each other.

    Raises:
        ValueError: names the first file that is missing.
    """
    if len(parts) < 2:
        return
    if not isinstance(source, Path):
        raise ValueError(f"its other parts are in other files: {', '.join(sorted(parts)[:3])}")
    if missing := missing_parts(source.parent, parts):
        raise ValueError(f"its part {missing[0]} is missing")


def missing_parts(folder: Path, parts: Iterable[str]) -> list[str]:
    """The names of ``parts`` that are no files in ``folder``.

    A name that leads to another folder is none: a file from another person could name any file.
    """
    return [
        part
        for part in sorted(parts)
        if Path(part).name != part or "\\" in part or not (folder / part).is_file()
    ]
