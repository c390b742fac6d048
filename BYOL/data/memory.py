"""Small pictures of one size are decoded once and kept, so that training never waits for a disk."""

import numpy as np
import torch

from BYOL.data.decode import BrokenImageError, image_size
from BYOL.data.images import ArrayImages, FileImages, PathTable
from BYOL.errors import UserError

PROBED = 32  # headers looked at before any pixel is decoded
LARGEST_SIDE = 128  # pixels; above this, crops from files cost less than holding whole pictures


def to_memory(images: FileImages, budget: int) -> tuple[ArrayImages, list[str]] | None:
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
    probed = np.linspace(0, n - 1, min(n, PROBED)).astype(int)
    sizes = {image_size(images.root / images.paths[int(i)]) for i in probed} - {None}
    if len(sizes) > 1:
        return None
    height, width = sizes.pop() if sizes else (0, 0)  # type: ignore[misc]
    if max(height, width) > LARGEST_SIDE or n * images.channels * height * width > budget:
        return None
    data = torch.empty(n, images.channels, height, width, dtype=torch.uint8)
    broken = np.zeros(n, dtype=bool)
    # No threads: decoding a small picture is quicker than handing it from one to the other.
    for i in range(n):
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
    images: FileImages, data: torch.Tensor, broken: np.ndarray
) -> tuple[ArrayImages, list[str]]:
    if broken.all():
        raise UserError(f"DATA={images.root}: not one of its {len(images)} files is a picture")
    names = [images.paths[int(i)] for i in broken.nonzero()[0]]
    paths, labels = images.paths, images.labels
    if names:
        kept = (~broken).nonzero()[0]
        data = data[torch.from_numpy(kept)]
        paths = PathTable([images.paths[int(i)] for i in kept])
        labels = None if labels is None else labels[kept]
    found = ArrayImages(images.name, images.channels, labels, images.classes, data, paths)
    return found, names


def check_images(images: FileImages) -> None:
    """Decode everything once.

    Raises:
        UserError: it names the first pictures that cannot be read, and counts them.
    """

    broken = []
    for i in range(len(images)):
        try:
            images.read(i)
        except BrokenImageError as error:
            broken.append(f"{images.paths[i]} ({error})")
    if broken:
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise UserError(
            f"--strict-images: {len(broken)} of {len(images)} pictures cannot be read: "
            f"{', '.join(broken[:3])}{more}"
        )
