"""What failures cost a long run, simulated and by formula. For scale.py."""

import math

import numpy as np


def simulate(
    work: float, mtbf: float, interval: float, save: float, restart: float,
    rng: np.random.Generator,
) -> dict[str, float]:  # fmt: skip
    """A run with failures at random (exponential) times; all arguments in seconds.

    Args:
        work: of training.
        mtbf: mean time between failures of the whole job.
        interval: of training between two checkpoints.
        save: of one checkpoint, during which training waits; there is one at the end as well.
        restart: from a failure to training again; it may fail too.
        rng: of the failures.

    Returns:
        ``wall`` seconds, ``failures``, and ``lost``: seconds of training done in vain.
    """
    wall = lost = done = 0.0
    failures = 0
    until = rng.exponential(mtbf)  # the next failure, from now on
    while done < work:
        # All parts that end before the failure at once: a long run has thousands of them.
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
    """The mean of :func:`simulate`'s wall (Daly 2006, doi 10.1016/j.future.2004.11.016, eq. 13)."""
    growth = math.expm1((interval + save) / mtbf)
    return mtbf * math.exp(restart / mtbf) * growth * work / interval


def best_interval(mtbf: float, save: float) -> float:
    """Seconds between checkpoints with the least wall, to first order: √(2·save·mtbf) (Young)."""
    return math.sqrt(2 * save * mtbf)
