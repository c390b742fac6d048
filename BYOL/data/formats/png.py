"""PNG files with 16-bit colours or a 16-bit opacity, of which Pillow keeps 8 bits."""

from functools import cached_property

import numpy as np

from BYOL.data.formats.pillow import PillowFile
from BYOL.data.formats.stored import (
    Encoded,
    Header,
    ImageSource,
    ReadOptions,
    StoredImage,
    content,
    whole,
)

_MAGIC = b"\x89PNG\r\n\x1a\n"
_DEPTH_AT, _KIND_AT = 24, 25  # in the header chunk, which is the first one
_RGB, _GREY_ALPHA, _RGB_ALPHA = 2, 4, 6


def open_png(source: Encoded, head: bytes, options: ReadOptions) -> ImageSource | None:
    """Open a PNG, by Pillow if it keeps all bits; None for any other file."""
    if not head.startswith(_MAGIC) or len(head) <= _KIND_AT:
        return None
    kind = head[_KIND_AT]
    if head[_DEPTH_AT] == 16 and kind in (_RGB, _GREY_ALPHA, _RGB_ALPHA):
        return DeepPng(whole(source, head), options, kind)
    return PillowFile(whole(source, head), options)


class DeepPng(PillowFile):
    """A PNG of 16 bits, decoded by torchvision; Pillow reads its header.

    Args:
        source: the file, or its content.
        options: see :class:`BYOL.data.formats.stored.ReadOptions`.
        kind: the colour type of PNG: 2, 4 or 6.
    """

    def __init__(self, source: Encoded, options: ReadOptions, kind: int):
        super().__init__(source, options)
        self.kind = kind

    @cached_property
    def header(self) -> Header:
        """See :class:`BYOL.data.formats.stored.Header`."""
        channels = 1 if self.kind == _GREY_ALPHA else 3
        return Header(self.size, "grey" if channels == 1 else "rgb", channels, channels, deep=True)

    def read(self, channels: int, min_size: tuple[int, int] = (0, 0)) -> StoredImage:
        """Decode the 16-bit values."""
        import torch
        from torchvision.io import ImageReadMode, decode_png

        # torchvision decodes damaged content in part; Pillow reports the error.
        self.image.load()
        encoded = torch.from_numpy(np.frombuffer(content(self.source), np.uint8).copy())
        values = decode_png(encoded, ImageReadMode.UNCHANGED).numpy().transpose(1, 2, 0)
        if values.dtype != np.uint16:
            raise ValueError(f"its values are {values.dtype}, but its header says 16 bits")
        return StoredImage(
            values,
            self.header.layout,
            self.orientation,
            transparent=self.kind != _RGB,
            profile=self.image.info.get("icc_profile"),
        )
