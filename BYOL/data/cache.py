"""Small pictures of one size are decoded once and kept, so that training never waits for a disk."""

import numpy as np
import torch

from BYOL._console import first_of
from BYOL.data.dataset import ArrayImages, EncodedImages
from BYOL.data.decode import BrokenImageError
from BYOL.errors import UserError

PROBED = 32  # headers looked at before any pixel is decoded
_AT_A_TIME = 256  # pictures of a streamed set
MAX_SIDE = 128  # pixels; above this, crops from files cost less than holding whole pictures


def to_memory(images: EncodedImages, budget: int) -> tuple[ArrayImages, list[str]] | None:
    """Decode all pictures, if they are small, of one size, and fit.

    Args:
        images: files.
        budget: bytes that the pixels may take.

    Returns:
        The pictures that could be read and the names of those that could not, or None where the
        set is not of this kind.

    Raises:
        UserError: not one picture could be read.
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
    # No threads: decoding a small picture is quicker than handing it from one to the other.
    for i in range(n):
        if i % _AT_A_TIME == 0:
            images.hold([(i, min(i + _AT_A_TIME, n))])
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
    if broken.all():
        raise UserError(f"DATA={images.place}: not one of its {len(images)} files is a picture")
    names = [images.sample_name(int(i)) for i in broken.nonzero()[0]]
    found = ArrayImages(
        images.name, images.channels, images.labels, images.classes, data, images.names_table(),
        groups=images.groups, remarks=images.notes,
    )  # fmt: skip
    return (found.subset((~broken).nonzero()[0]) if names else found), names


def check_images(images: EncodedImages) -> None:
    """Decode everything once.

    Raises:
        UserError: it names the first pictures that cannot be read, and counts them.
    """

    broken = []
    for i in range(len(images)):
        if i % _AT_A_TIME == 0:
            images.hold([(i, min(i + _AT_A_TIME, len(images)))])
        try:
            images.read(i)
        except BrokenImageError as error:
            broken.append(f"{images.sample_name(i)} ({error})")
    if broken:
        raise UserError(
            f"--strict-images: {len(broken)} of {len(images)} pictures cannot be read: "
            f"{first_of(broken)}"
        )
