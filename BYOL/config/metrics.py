"""Metrics that can decide whether a backbone or a classifier is better than another."""

from typing import Literal, NamedTuple

from BYOL.config.tasks import CLASSES, TAGS, VALUES

MetricName = Literal[
    "auto", "accuracy", "balanced-accuracy", "auroc", "average-precision", "map", "f1", "r2", "mae"
]


class Metric(NamedTuple):
    """A metric.

    Args:
        suffix: what the names of its measures have after the name of the protocol.
        task: kind of the labels.
        two_classes: whether it needs exactly two classes.
    """

    suffix: str
    task: str
    two_classes: bool = False


# The first metric of a task is its default.
METRICS = {
    "accuracy": Metric("", CLASSES),
    "balanced-accuracy": Metric(" balanced accuracy", CLASSES),
    "auroc": Metric(" AUROC", CLASSES, True),
    "average-precision": Metric(" AP", CLASSES, True),
    "map": Metric(" mAP", TAGS),
    "f1": Metric(" F1", TAGS),
    "r2": Metric(" R²", VALUES),
    "mae": Metric(" MAE", VALUES),
}
METRIC = (
    "Metric that decides comparisons and comes first. auto is accuracy for classes, map for tags "
    "and r2 for numbers. For rare classes use balanced-accuracy, the mean recall of the classes. "
    "For two classes there are auroc, the area under the ROC curve, and average-precision of the "
    "rarer class."
)
