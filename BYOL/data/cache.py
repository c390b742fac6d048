"""Small images of one size are decoded once and kept in memory, so training waits for no disk."""

import numpy as np
import torch

from BYOL._console import first_of
from BYOL.data.dataset import ArrayImages, EncodedImages
from BYOL.data.decode import BrokenImageError
from BYOL.errors import DataError

PROBED = 32  # headers that are read before any pixel is decoded
_CHUNK = 256  # images of a streamed set that are prefetched together
MAX_SIDE = 128  # pixels; above this, crops from files cost less than keeping whole images


def to_memory(images: EncodedImages, budget: int) -> tuple[ArrayImages, list[str]] | None:
    """Decode all images if they are small, have one size and fit into ``budget``.

    Args:
        images: encoded images.
        budget: bytes that the pixels may take.

    Returns:
        The readable images and the names of the unreadable ones; None for any other set.

    Raises:
        UserError: no image can be read.
    """
    n = len(images)
    sizes = {images.size(i) for i in images.probes(PROBED)} - {None}
    if len(sizes) > 1:
        return None
    height, width = sizes.pop() if sizes else (0, 0)  # type: ignore[misc]
    if max(height, width) > MAX_SIDE or n * images.channels * height * width > budget:
        return None
    data = torch.empty(n, images.channels, height, width, dtype=torch.uint8)
    broken = np.zeros(n, dtype=bool)
    # No threads: decoding a small image takes less time than passing it between threads.
    for i in range(n):
        if i % _CHUNK == 0:
            images.prefetch([(i, min(i + _CHUNK, n))])
        try:
            pixels = images.read(i)
        except BrokenImageError:
            broken[i] = True
            continue
        if pixels.shape[1:] != (height, width):
            return None
        data[i] = pixels
    return _readable(images, data, broken)


def _readable(
    images: EncodedImages, data: torch.Tensor, broken: np.ndarray
) -> tuple[ArrayImages, list[str]]:
    """Split decoded images into the readable ones and the names of those marked in ``broken``."""
    if broken.all():
        raise DataError(f"DATA={images.place}: none of its {len(images)} files is an image")
    names = [images.sample_name(int(i)) for i in broken.nonzero()[0]]
    decoded = ArrayImages(
        images.name, images.channels, images.labels, images.classes, data, images.names_table(),
        groups=images.groups, remarks=images.notes, prefix=images.prefix,
    )  # fmt: skip
    return (decoded.subset((~broken).nonzero()[0]) if names else decoded), names


def check_images(images: EncodedImages) -> None:
    """Decode every image once.

    Raises:
        UserError: some images cannot be read; the message counts them and names the first ones.
    """

    broken = []
    for i in range(len(images)):
        if i % _CHUNK == 0:
            images.prefetch([(i, min(i + _CHUNK, len(images)))])
        try:
            images.read(i)
        except BrokenImageError as error:
            broken.append(f"{images.sample_name(i)} ({error})")
    if broken:
        raise DataError(
            f"--strict-images: {len(broken)} of {len(images)} images cannot be read: "
            f"{first_of(broken)}"
        )
