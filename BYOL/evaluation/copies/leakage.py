"""Leakage: test images with a near-copy among the training images of an evaluation."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from BYOL._random import evenly_spaced
from BYOL.data.dataset import Images
from BYOL.evaluation.copies.confirm import agree, confirm_pairs, read_reduced
from BYOL.evaluation.copies.look_alikes import LookAlikes
from BYOL.evaluation.copies.thumbnails import (
    mirror_thumbnails,
    thumbnails_of_vectors,
    unit_thumbnails,
)
from BYOL.evaluation.large_arrays import chunks
from BYOL.evaluation.whitening import whitened_directions, whitening_transform

MAX_TEST = 10_000  # test images that are compared with all training images
MIN_COSINE = 0.5  # of whitened features, for a candidate, as in byol duplicates
MIN_CORRELATION = 0.75  # of grey thumbnails, for a candidate
# Pixels: on smaller images, different objects look like copies. Of 2,000 CIFAR-10 images against
# 3,000 others, at 18, 20 and 24 px with an untrained plain6, one pair was found: a true copy.
MIN_SIDE = 18
_SIDE_PROBES = 15  # test images whose size is compared with MIN_SIDE
_NEAREST = 3  # candidates whose pixels are compared, for each test image
_EXAMPLES = 20  # pairs that are named in the results
_BLOCK = 1 << 24  # correlations in memory at once


@dataclass(frozen=True, eq=False)
class Side:
    """The images of one side of an evaluation.

    Args:
        images: the images.
        thumbnails: (n, S²) grey thumbnails.
        features: (n, d) features.
    """

    images: Images
    thumbnails: np.ndarray
    features: np.ndarray


def leakage_search(
    train: Images, test: Images, image_pixels: list[tuple[Images, np.ndarray]]
) -> Callable[[np.ndarray, np.ndarray], dict[str, Any]] | None:
    """Return a function from the features of both sides to the result of :func:`find_leakage`.

    Args:
        train: the training images.
        test: the test images.
        image_pixels: both with their pixels as vectors (n, C·side·side).

    Returns:
        None if both sides are the same images, or if the median of the shorter sides of some test
        images is below :data:`MIN_SIDE`: of the built-in digits of 16 px, 13 % would count as
        copies of other digits.
    """
    if train is test or _median_side(test) < MIN_SIDE:
        return None
    greys = [thumbnails_of_vectors(pixels, images.channels) for images, pixels in image_pixels]
    return lambda bank, queries: find_leakage(
        Side(train, greys[0], bank), Side(test, greys[-1], queries)
    )


def _median_side(images: Images) -> float:
    """Return the median of the shorter sides in pixels of evenly spaced images; 0 without any."""
    samples = (read_reduced(images, i) for i in evenly_spaced(len(images), _SIDE_PROBES).tolist())
    sides = [min(sample.shape[1:]) for sample in samples if sample is not None]
    return float(np.median(sides)) if sides else 0.0


def find_leakage(train: Side, test: Side) -> dict[str, Any]:
    """Return which test images have a near-copy among the training images.

    The criteria are those of ``byol duplicates``: whitened features, grey thumbnails and aligned
    pixels. At most :data:`MAX_TEST` evenly spaced test images are compared.

    Args:
        train: the training images, at least one.
        test: the test images, at least one.

    Returns:
        ``checked``: number of compared test images. ``leaked``: how many of them have a near-copy.
        ``pairs``: names of up to 20 of them, each with the name of its near-copy. The dictionary is
        empty if features are not finite.
    """
    both = (train.features, test.features)
    if not all(np.isfinite(part[rows]).all() for part in both for rows in chunks(part)):
        return {}
    chosen = evenly_spaced(len(test.images), MAX_TEST)
    pairs = _candidates(train, test, chosen)
    read_test, read_train = (partial(read_reduced, side.images) for side in (test, train))
    scores = torch.stack(confirm_pairs(pairs, read_test, read_train))
    similar = agree(*scores).numpy()
    pairs = pairs[similar]
    look_alikes = LookAlikes(test.thumbnails, train.thumbnails, read_test, read_train, same=False)
    copies = pairs[look_alikes.are_copies(pairs[:, :1], *scores[:, similar])]
    _, first = np.unique(copies[:, 0], return_index=True)
    names = [
        [test.images.file_name(i), train.images.file_name(j)]
        for i, j in copies[first[:_EXAMPLES]].tolist()
    ]
    return {"checked": len(chosen), "leaked": len(first), "pairs": names}


def _candidates(train: Side, test: Side, chosen: np.ndarray) -> np.ndarray:
    """Return (m, 2) numbers of ``chosen`` test images and similar training images."""
    mean, transform = whitening_transform(train.features)
    queries = torch.from_numpy(whitened_directions(test.features[chosen], mean, transform))
    units = unit_thumbnails(test.thumbnails[chosen])
    best = torch.full((len(chosen), _NEAREST), -1.0)
    place = torch.zeros(len(chosen), _NEAREST, dtype=torch.int64)
    for rows in chunks(train.features):
        directions = torch.from_numpy(whitened_directions(train.features[rows], mean, transform))
        thumbnails = unit_thumbnails(train.thumbnails[rows])
        for block in torch.arange(len(chosen)).split(max(_BLOCK // len(directions), 1)):
            near = queries[block] @ directions.T >= MIN_COSINE
            correlation = torch.maximum(
                units[block] @ thumbnails.T, mirror_thumbnails(units[block]) @ thumbnails.T
            )
            correlation[~near] = -1
            top, at = correlation.topk(min(_NEAREST, len(directions)), dim=1)
            merged = torch.cat((best[block], top), dim=1)
            best[block], order = merged.topk(_NEAREST, dim=1)
            place[block] = torch.cat((place[block], at + rows.start), dim=1).gather(1, order)
    row, column = (best >= MIN_CORRELATION).nonzero(as_tuple=True)
    return np.stack((chosen[row.numpy()], place[row, column].numpy()), axis=1)


def leakage_text(results: dict[str, Any]) -> list[str]:
    """Return a line about the ``leakage`` of ``results``; no line if it was not measured."""
    leakage = results.get("leakage")
    if not leakage:
        return []
    checked, leaked = leakage["checked"], leakage["leaked"]
    sample = f"{checked:,} " + ("checked " if checked < results["pictures"]["judge"] else "")
    if not leaked:
        return [
            f"leakage: no near-copy of the {sample}test images was found in the training images"
        ]
    return [
        f"leakage: {leaked:,} of {sample}test images ({leaked / checked:.1%}) have a near-copy "
        "among the training images, so the accuracies may be too high: byol duplicates RUN DATA "
        "--between train test lists them for test folders; with --groups, images of a group stay "
        "on one side"
    ]
