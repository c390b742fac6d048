"""Paired tests of two backbones on the same test images, and a correction for several tests.

McNemar (1947) for two accuracies on independent images: only images on which exactly one of the two
is right say anything about their difference, and without a difference each of them is equally
likely for both. The p-value is the exact one of the binomial distribution.

The paired bootstrap (Efron and Tibshirani 1993) for everything else: measures that are no mean over
images (balanced accuracy, AUROC, mAP, F1, R²), images in groups, and n-shot. Both backbones are
scored on the same resamples, and the standard error of the difference is the standard deviation of
the differences.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from BYOL.config.tasks import Measure
from BYOL.evaluation.bootstrap import point_estimate
from BYOL.evaluation.outcomes import decode_outcomes

Name = TypeVar("Name", bound=Hashable)
LEVEL = 0.05  # p-values below it, after the correction, are called a difference
MCNEMAR, BOOTSTRAP, PAIRED_T = "McNemar", "paired bootstrap", "paired t"


@dataclass(frozen=True)
class PairedTest:
    """The comparison of two results on the same test images.

    Args:
        difference: the first result minus the second one.
        p: two-sided p-value.
        test: :data:`MCNEMAR`, :data:`BOOTSTRAP` or :data:`PAIRED_T`.
        only_first: for McNemar, the number of images on which only the first one is right.
        only_second: for McNemar, the number of images on which only the second one is right.
    """

    difference: float
    p: float
    test: str
    only_first: int | None = None
    only_second: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields that are not None, for JSON."""
        return {name: value for name, value in vars(self).items() if value is not None}


def paired_test(first: Measure, second: Measure, units: int) -> PairedTest | None:
    """Compare two results of one measure on the same test images.

    Args:
        first: the result of a backbone, with its outcomes.
        second: the result of the other one.
        units: number of independent units of the test set: images, or groups. A measure that
            depends on a rarer class has fewer, in its own ``units``.

    Returns:
        The comparison, or None if a result has no outcomes, as in evaluations of older versions, or
        if the two do not match.
    """
    outcomes = decode_outcomes(first), decode_outcomes(second)
    if outcomes[0] is None or outcomes[1] is None:
        return None
    if outcomes[0].shape != outcomes[1].shape or outcomes[0].dtype != outcomes[1].dtype:
        return None
    if outcomes[0].dtype == bool:
        return mcnemar(outcomes[0], outcomes[1])
    difference = point_estimate(first) - point_estimate(second)
    return bootstrap_test(outcomes[0], outcomes[1], difference, _units_of(first, units))


def pooled_test(
    pairs: Sequence[tuple[Measure, Measure]], units: int, overlap: float = 0.0
) -> PairedTest | None:
    """Compare two variants that were trained with the same seeds.

    The test is over test images: the results of an image with all seeds are one unit. It does not
    describe the variation between seeds. If each seed has test images of its own, drawn from the
    same labelled images, a part of them is in the sets of two seeds: the standard error is that of
    means with this correlation.

    Args:
        pairs: the results of the two variants with each seed.
        units: number of independent units of the test set: images, or groups.
        overlap: the share of the test images of one seed that are also those of another; 0: all
            seeds have the same test images.

    Returns:
        The comparison, or None if a result has no outcomes or if the test images differ in number.
    """
    if len(pairs) == 1:
        return paired_test(*pairs[0], units)
    arrays = [tuple(decode_outcomes(measure) for measure in pair) for pair in pairs]
    known = [part for pair in arrays for part in pair if part is not None]
    if len(known) < 2 * len(pairs) or len({(part.shape, part.dtype) for part in known}) != 1:
        return None
    first, second = (np.mean(known[side::2], axis=0) for side in (0, 1))
    error_factor = math.sqrt(1 + (len(pairs) - 1) * overlap)
    if known[0].dtype == bool:
        return paired_t_test(first - second, error_factor)
    difference = float(np.mean([point_estimate(a) - point_estimate(b) for a, b in pairs]))
    return bootstrap_test(first, second, difference, _units_of(pairs[0][0], units), error_factor)


def _units_of(measure: Measure, units: int) -> int:
    """Return the units that ``measure`` depends on, at most ``units``."""
    return min(int(measure.get("units", units)), units)


def paired_t_test(differences: np.ndarray, error_factor: float = 1.0) -> PairedTest:
    """Compare by the mean difference (n,) of each image: Student's paired t-test.

    ``error_factor`` multiplies the standard error. No p-value is below that of a sign test in which
    all images with a difference agree.
    """
    from scipy.special import stdtr

    n, difference = len(differences), float(differences.mean())
    error = error_factor * float(differences.std(ddof=1)) / n**0.5 if n > 1 else 0.0
    p = float(2 * stdtr(n - 1, -abs(difference) / error)) if error else float(difference == 0)
    return PairedTest(difference, max(p, _least_p(int(np.count_nonzero(differences)))), PAIRED_T)


def _least_p(units: int) -> float:
    """Return the two-sided p-value of a sign test in which all of ``units`` agree."""
    return min(2.0 ** (1 - min(units, 1000)), 1.0)


def mcnemar(first: np.ndarray, second: np.ndarray) -> PairedTest:
    """Compare two classifiers by McNemar's exact test.

    Args:
        first: (n,) bool, whether the first one classifies each image correctly.
        second: the same for the second one.
    """
    from scipy.special import bdtr

    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    count = only_first + only_second
    p = min(2 * float(bdtr(min(only_first, only_second), count, 0.5)), 1.0) if count else 1.0
    return PairedTest((only_first - only_second) / len(first), p, MCNEMAR, only_first, only_second)


def bootstrap_test(
    first: np.ndarray, second: np.ndarray, difference: float, units: int, error_factor: float = 1.0
) -> PairedTest:
    """Compare two results by their values on the same bootstrap resamples.

    The difference divided by its standard error is compared with Student's t distribution with
    ``units`` - 1 degrees of freedom. The bootstrap underestimates a variance by the factor
    (units - 1) / units, which is corrected. No p-value is below that of a sign test in which all
    units agree, because so few units cannot show more.

    Args:
        first: (r,) values of the first result; NaN where it is undefined.
        second: (r,) values of the second result.
        difference: the difference on the test images themselves.
        units: number of units that were resampled.
        error_factor: a factor of the standard error.
    """
    from scipy.special import stdtr

    differences = first - second
    differences = differences[~np.isnan(differences)]
    if units < 2 or len(differences) < 2 or math.isnan(difference):
        return PairedTest(difference, 1.0, BOOTSTRAP)
    error = error_factor * float(differences.std(ddof=1)) * math.sqrt(units / (units - 1))
    least = _least_p(units)
    if error < 1e-7 * max(abs(difference), 1e-3):  # rounding of float32: all resamples are equal
        p = 1.0 if abs(difference) < 1e-6 else least
    else:
        p = max(2 * float(stdtr(units - 1, -abs(difference) / error)), least)
    return PairedTest(difference, p, BOOTSTRAP)


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Return the p-values corrected for several tests by Holm's method (1979).

    The probability that any difference is claimed wrongly then stays below the level.

    Args:
        p_values: p-value of each test by its name.
    """
    adjusted, largest = {}, 0.0
    count = len(p_values)
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min((count - rank) * p, 1.0))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}
