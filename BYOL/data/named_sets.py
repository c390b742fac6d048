"""Data sets that are opened by name: scikit-learn's digits and torchvision's sets."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from BYOL.data.dataset import ArrayImages
from BYOL.errors import DataError

NAMED = ("digits", "cifar10", "cifar100", "stl10")


def open_digits() -> tuple[ArrayImages, ArrayImages]:
    """scikit-learn's 1,797 handwritten 8 × 8 digits, enlarged to 16 × 16.

    Returns:
        The training images, and 20 % of all images as the test images.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    small = torch.from_numpy(digits.images).float()[:, None] * (255 / 16)
    large = torch.nn.functional.interpolate(small, (16, 16), mode="bicubic")
    data = large.clamp(0, 255).round().byte()
    labels = digits.target.astype(np.int64)
    train, test = train_test_split(
        np.arange(len(data)), test_size=0.2, stratify=labels, random_state=0
    )
    names = tuple(str(i) for i in range(10))
    whole = ArrayImages("digits", 1, labels, names, data)
    return (
        replace(whole.subset(np.sort(train)), prefix="train/"),
        replace(whole.subset(np.sort(test)), prefix="test/"),
    )


def open_torchvision(name: str, root: Path, **split: Any) -> ArrayImages:
    """One split of torchvision's CIFAR-10, CIFAR-100 or STL-10, downloaded if it is missing.

    Args:
        name: cifar10, cifar100 or stl10.
        root: the folder of torchvision's sets.
        split: selects the split, as torchvision expects it.

    Raises:
        UserError: the set is missing and cannot be downloaded.
    """
    import torchvision.datasets as sets

    classes: Any = {"cifar10": sets.CIFAR10, "cifar100": sets.CIFAR100, "stl10": sets.STL10}[name]
    try:
        dataset = classes(str(root), download=True, **split)
    except Exception as error:
        raise DataError(
            f"DATA={name} is not in --data_root={root} and cannot be downloaded "
            f"({type(error).__name__}); copy it there or check the network"
        ) from error
    pixels = np.asarray(dataset.data)
    pixels = pixels if pixels.shape[1] == 3 else pixels.transpose(0, 3, 1, 2)
    labels = np.asarray(getattr(dataset, "targets", getattr(dataset, "labels", None)))
    known = labels.astype(np.int64) if (labels >= 0).all() else None
    data = torch.from_numpy(np.ascontiguousarray(pixels))
    return ArrayImages(name, 3, known, tuple(dataset.classes), data)
