"""The functions that open image files, in the order in which they are tried."""

from collections.abc import Callable

from BYOL.data.formats.jpeg import open_jpeg
from BYOL.data.formats.jpeg2000 import open_jpeg2000
from BYOL.data.formats.pillow import open_with_pillow
from BYOL.data.formats.png import open_png
from BYOL.data.formats.stored import Encoded, ImageSource, ReadOptions, read_head
from BYOL.data.formats.supported import register_readers
from BYOL.data.formats.tiff import open_tiff

Opener = Callable[[Encoded, bytes, ReadOptions], ImageSource | None]
OPENERS: tuple[Opener, ...] = (open_jpeg, open_png, open_tiff, open_jpeg2000, open_with_pillow)

register_readers()


def open_source(source: Encoded, options: ReadOptions) -> ImageSource:
    """Read the header of an image file of any format.

    Raises:
        Exception: of any kind, if no reader accepts the file.
    """
    head = read_head(source)
    for opener in OPENERS:
        opened = opener(source, head, options)
        if opened is not None:
            return opened
    raise ValueError("no reader accepts the file")
