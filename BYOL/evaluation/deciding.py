"""The measure of each protocol that decides whether one backbone is better than another.

One measure decides in each protocol. With more of them, one would more often be better by chance.
"""

import re
from collections.abc import Iterable, Mapping

from BYOL.config.metrics import METRICS
from BYOL.errors import UserError

FEW_LABELS, KNN, LINEAR = "few-label", "k-NN", "linear-probe"
_SHOTS = ("5-shot", "1-shot")


def check_metric(metric: str, task: str, classes: int) -> str:
    """Return ``metric``, or the default of ``task`` if it is "auto".

    Args:
        metric: a key of :data:`BYOL.config.metrics.METRICS`, or auto.
        task: kind of the labels.
        classes: number of classes.

    Raises:
        UserError: the metric is for other labels.
    """
    fitting = [name for name, known in METRICS.items() if known.task == task]
    if metric == "auto":
        return fitting[0] if fitting else "accuracy"
    known = METRICS[metric]
    if known.task != task or (known.two_classes and classes != 2):
        labels = "two classes" if known.two_classes else known.task
        usable = [name for name in fitting if classes == 2 or not METRICS[name].two_classes]
        accepted = ", ".join(("auto", *usable))
        raise UserError(f"--metric={metric} is for labels of {labels}: choose one of {accepted}")
    return metric


def deciding_measures(names: Iterable[str], metric: str | None = None) -> dict[str, str]:
    """Return the deciding measure of each protocol that is among ``names``, by protocol.

    Args:
        names: names of measures, in the order of their table.
        metric: a key of :data:`BYOL.config.metrics.METRICS`; None takes the first that is there.
    """
    names = list(names)
    for name in [metric] if metric else METRICS:
        found = _of_metric(names, METRICS[name].suffix)
        if found:
            return found
    return {}


def _of_metric(names: list[str], suffix: str) -> dict[str, str]:
    found = {}
    if not suffix:
        found[FEW_LABELS] = next((name for name in _SHOTS if name in names), "")
    pattern = re.compile(rf"knn\d+{re.escape(suffix)}")
    found[KNN] = next((name for name in names if pattern.fullmatch(name)), "")
    found[LINEAR] = f"linear{suffix}" if f"linear{suffix}" in names else ""
    return {protocol: name for protocol, name in found.items() if name}


def deciding_first(measures: Mapping[str, object], metric: str) -> list[str]:
    """Return the names of ``measures`` with the one of ``metric`` first."""
    suffix = METRICS[metric].suffix.strip()
    first = suffix or "accuracy"
    return sorted(measures, key=lambda name: name != first)
