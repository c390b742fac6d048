"""Processor time of an evaluation beyond the features, which a run with a time limit sets aside.

The numbers are processor seconds of one AVX-512 core, fitted to finished runs of 900, 2,062 and
4,317 labelled images: 1.2, 3.1 and 10.6 s remained of their time without the estimated passes of
the backbones.
"""

from BYOL.evaluation.evaluate import MANY_PIXELS, PIXEL_COMPONENTS
from BYOL.evaluation.pca import FIT_SAMPLES
from BYOL.evaluation.protocols.linear import MAX_WORK, SELECTION_SAMPLES, STRENGTHS, VALIDATION

_FIXED = 0.5
_IMAGE = 5e-4  # neighbours, intervals, the search for leakage
_FIT = 2e-8  # of a linear probe for each image, class and feature: some 80 iterations
_AXES = 2.2e-10  # of the principal axes of raw pixels, times the cube of their number


def evaluation_seconds(train: int, test: int, outputs: int, features: int, pixels: int) -> float:
    """Return the processor seconds of an evaluation of a trained and an untrained backbone.

    Args:
        train: number of training images.
        test: number of test images.
        outputs: number of classes, tags or values.
        features: number of features of the backbones.
        pixels: number of values of an image as raw pixels.
    """
    reduced = pixels > MANY_PIXELS
    axes = min(train, FIT_SAMPLES, pixels) if reduced else 0
    choosing = len(STRENGTHS) * (1 - VALIDATION) * min(train, SELECTION_SAMPLES)
    work = outputs * (choosing + min(train, MAX_WORK / max(outputs, 1)))
    vectors = 2 * features + (PIXEL_COMPONENTS if reduced else pixels)
    return _FIXED + _IMAGE * (train + test) + _FIT * work * vectors + _AXES * axes**3
