"""Pillow's libtiff: its errors have a reason, and it does not print lines of its own."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from BYOL.data.formats.stored import Encoded
from BYOL.data.formats.tiff_quiet import tiff_file


@contextmanager
def libtiff_errors(source: Encoded) -> Iterator[None]:
    """Give the reason of an error of Pillow while it decodes a TIFF.

    Args:
        source: the file, or its content.

    Raises:
        ValueError: the file is truncated or damaged.
    """
    _silence()
    try:
        yield
    except OSError as error:
        if not str(error).startswith("decoder error"):  # a number of libtiff without a meaning
            raise
        with tiff_file(source) as file:
            check_complete_page(file.pages.first, file.filehandle.size)
        raise ValueError("its compressed values are damaged") from error


def check_complete_page(page: Any, size: int) -> None:
    """Check that the values are within the file, which tifffile fills with zeros otherwise.

    Args:
        page: a TiffPage.
        size: of the file in bytes.

    Raises:
        ValueError: the file is truncated.
    """
    ends = (a + n for a, n in zip(page.dataoffsets, page.databytecounts, strict=False) if n)
    if max(ends, default=0) > size:
        raise ValueError("the file is truncated")


@cache
def _silence() -> None:
    """Remove libtiff's error handler, which prints what an exception of Pillow says, too.

    It stays removed for the process: a handler has no argument that says whose file it is.
    """
    with suppress(ImportError, OSError, AttributeError):  # libtiff is a part of another library
        from PIL import _imaging  # type: ignore[attr-defined]

        set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
        set_handler(None)
