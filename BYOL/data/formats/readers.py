"""The functions that open image files, in the order in which they are tried."""

from collections.abc import Callable
from pathlib import Path

from BYOL.data.formats.array_files import open_array
from BYOL.data.formats.deep_jpeg import open_deep_jpeg
from BYOL.data.formats.dicom import open_dicom
from BYOL.data.formats.itk import open_itk
from BYOL.data.formats.jpeg import open_jpeg
from BYOL.data.formats.jpeg2000 import open_jpeg2000
from BYOL.data.formats.netpbm import open_netpbm
from BYOL.data.formats.nifti import open_nifti
from BYOL.data.formats.pillow import open_with_pillow
from BYOL.data.formats.png import open_png
from BYOL.data.formats.stored import Encoded, ImageSource, ReadOptions, read_head
from BYOL.data.formats.supported import FOLDERS, register_readers
from BYOL.data.formats.tiff import open_tiff
from BYOL.data.formats.zarr_arrays import open_zarr

Opener = Callable[[Encoded, bytes, ReadOptions], ImageSource | None]
OPENERS: tuple[Opener, ...] = (
    open_deep_jpeg,  # before libjpeg-turbo, which reads the header and not the values
    open_jpeg,
    open_png,
    open_dicom,
    open_tiff,
    open_jpeg2000,
    open_netpbm,
    open_array,
    open_nifti,
    open_itk,
    open_with_pillow,
)

register_readers()


def open_source(source: Encoded, options: ReadOptions) -> ImageSource:
    """Read the header of an image file of any format.

    Raises:
        Exception: of any kind, if no reader accepts the file.
    """
    if isinstance(source, Path) and source.name.lower().endswith(FOLDERS) and source.is_dir():
        return open_zarr(source, options)
    head = read_head(source)
    for opener in OPENERS:
        opened = opener(source, head, options)
        if opened is not None:
            return opened
    raise ValueError("no reader accepts the file")
