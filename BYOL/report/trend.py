"""Whether an accuracy was still rising at the end of a run, and how much more time would add."""

from dataclasses import dataclass

import numpy as np

LEAST = 5  # points of a curve from which a trend is estimated
WORTH = 0.01  # gain of a doubled training time that is worth the time
MOST_TIMES = 4.0  # the longest extrapolation, in multiples of the run


@dataclass(frozen=True)
class Trend:
    """The expected gain of a longer run.

    Args:
        last: accuracy at the end of the run, in [0, 1].
        gain: expected gain in accuracy if the run takes twice as long.
        error: standard error of ``gain``.
    """

    last: float
    gain: float
    error: float

    @property
    def improving(self) -> bool:
        """Whether the gain is worth the time and differs from zero by two standard errors."""
        return self.gain >= WORTH and self.gain > 2 * self.error

    @property
    def flat(self) -> bool:
        """Whether a gain that is worth the time is ruled out, by two standard errors."""
        return self.gain + 2 * self.error < WORTH

    @property
    def times(self) -> float:
        """The length, in multiples of the run, after which doubling it again gains too little.

        The gain of doubling falls with the square root of the length, from ``gain`` to
        :data:`WORTH`. The length is at least 2 and at most :data:`MOST_TIMES`.
        """
        return min(max((self.gain / WORTH) ** 2, 2.0), MOST_TIMES)


def estimate_trend(x: np.ndarray, y: np.ndarray) -> Trend | None:
    """Fit a learning curve to the last three quarters of a run.

    The curve is ``a − c / √x``, a power law with a usual exponent. A doubled run then gains
    ``c (1 − 1/√2) / √x``.

    Args:
        x: (n,) positive positions in the run, such as epochs, increasing.
        y: (n,) accuracies.

    Returns:
        The trend, or None if there are fewer than :data:`LEAST` points.
    """
    late = x >= x[-1] / 4 if len(x) else np.zeros(0, bool)
    x, y = x[late], y[late]
    if len(x) < LEAST:
        return None
    slope_of = 1 / np.sqrt(x)
    centred = slope_of - slope_of.mean()
    spread = float(centred @ centred)
    slope = float(centred @ (y - y.mean())) / spread
    residuals = y - y.mean() - slope * centred
    error = float(np.sqrt(residuals @ residuals / (len(x) - 2) / spread))
    doubled = (1 - 0.5**0.5) / float(np.sqrt(x[-1]))
    return Trend(float(y[-1]), -slope * doubled, error * doubled)
