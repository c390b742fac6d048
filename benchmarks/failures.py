"""Cost of failures of a long run, by simulation and by formula. Used by scale.py."""

import math

import numpy as np


def simulate(
    work: float, mtbf: float, interval: float, save: float, restart: float,
    rng: np.random.Generator,
) -> dict[str, float]:  # fmt: skip
    """Simulate a run with failures at exponentially distributed times; all times are in seconds.

    Args:
        work: training time.
        mtbf: mean time between failures of the whole job.
        interval: training time between two checkpoints.
        save: time to save a checkpoint, during which training waits. One is saved at the end too.
        restart: time from a failure until training continues. It can fail too.
        rng: generator of the failures.

    Returns:
        ``wall`` seconds, ``failures``, and ``lost``: seconds of training that are repeated.
    """
    wall = lost = done = 0.0
    failures = 0
    until = rng.exponential(mtbf)  # time until the next failure
    while done < work:
        # All intervals that end before the failure at once: a long run has thousands.
        whole = int(min(until // (interval + save), (work - done) // interval))
        part = interval * whole or min(interval, work - done)
        spent = part + save * max(whole, 1)
        if until >= spent:
            until -= spent
            wall += spent
            done += part
            continue
        wall += until
        lost += min(until, part)
        failures += 1
        until = rng.exponential(mtbf)
        while until <= restart:
            wall += until
            failures += 1
            until = rng.exponential(mtbf)
        wall += restart
        until -= restart
    return {"wall": wall, "failures": failures, "lost": lost}


def expected_wall(
    work: float, mtbf: float, interval: float, save: float, restart: float
) -> float:  # fmt: skip
    """Return the mean ``wall`` of :func:`simulate`.

    Daly 2006, doi 10.1016/j.future.2004.11.016, equation 13.
    """
    growth = math.expm1((interval + save) / mtbf)
    return mtbf * math.exp(restart / mtbf) * growth * work / interval


def best_interval(mtbf: float, save: float) -> float:
    """Return the interval of the smallest ``wall``, to first order: √(2·save·mtbf) (Young)."""
    return math.sqrt(2 * save * mtbf)
