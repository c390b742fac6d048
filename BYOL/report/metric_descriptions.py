"""Titles and one-sentence explanations of curves, collapse metrics and evaluation measures."""

import re
from dataclasses import dataclass

from BYOL.evaluation.collapse.alarm import (
    MAX_DEAD,
    MAX_FIRST_EIGENVALUE,
    MIN_RANK,
    MIN_SHARE,
    MIN_STD,
)


@dataclass(frozen=True)
class CurveDescription:
    """How a curve is titled, explained and scaled.

    Args:
        title: the title of the chart.
        note: how to read the curve.
        low: upper limit of the start of the axis.
        high: lower limit of the end of the axis.
        alarm: the value at which the collapse alarm is raised.
        side: the side on which the alarm is raised, "below" or "above".
        percent: whether values are shown as percentages.
    """

    title: str
    note: str = ""
    low: float | None = None
    high: float | None = None
    alarm: float | None = None
    side: str = ""
    percent: bool = False


CURVES: dict[str, CurveDescription] = {
    "loss": CurveDescription(
        "Loss",
        "Squared distance between predictions and targets, summed over both views: from 0 to 8, "
        "and 4 if they are unrelated. With a predictor for each kind of view it is the sum of the "
        "kinds, each from 0 to 4. A low loss alone proves nothing, because a constant network "
        "reaches 0.",
        low=0,
    ),
    "knn": CurveDescription(
        "Online k-NN",
        "Share of test images that k-NN with 20 neighbours classifies correctly.",
        low=0, high=1, percent=True,
    ),
    "probe": CurveDescription(
        "Online linear probe",
        "Share of test images that a linear model of the features classifies correctly.",
        low=0, high=1, percent=True,
    ),
    "learning_rate": CurveDescription(
        "Learning rate", "Linear warm-up, then cosine decay to zero.", low=0
    ),
    "tau": CurveDescription(
        "τ of the moving average",
        "Fraction of the target network that is kept at every step. It increases to 1, where the "
        "target network no longer changes.",
        high=1,
    ),
}  # fmt: skip

COLLAPSE_METRICS: dict[str, CurveDescription] = {
    "std": CurveDescription(
        "Spread",
        "Standard deviation of the projections: 1 if they are spread evenly in all directions, 0 "
        "if all images have the same projection.",
        low=0, high=1, alarm=MIN_STD, side="below",
    ),
    "centred_rank": CurveDescription(
        "Centred effective rank",
        "Number of directions in which the projections of a batch differ from their mean. A small "
        "decrease is normal; a decrease to 1 is a collapse.",
        low=0, alarm=MIN_RANK, side="below",
    ),
    "rankme": CurveDescription(
        "RankMe",
        "Number of directions that the projections of a batch use, including that of their mean.",
        low=0,
    ),
    "uniformity": CurveDescription(
        "Uniformity",
        "How evenly the projections cover the sphere: near −4 is best, 0 is a collapse.",
        low=-4, high=0,
    ),
    "alignment": CurveDescription(
        "Alignment",
        "Squared distance between the projections of two views of an image: 0 if the augmentation "
        "has no effect, 2 if the views are unrelated.",
        low=0, high=2,
    ),
    "dead": CurveDescription(
        "Dead dimensions",
        "Share of dimensions that have the same value for all images.",
        low=0, high=1, alarm=MAX_DEAD, side="above", percent=True,
    ),
    "first_eigenvalue": CurveDescription(
        "First eigenvalue",
        "Share of the variance of the projections along one direction. Near 1, the projections "
        "differ only along a line.",
        low=0, high=1, alarm=MAX_FIRST_EIGENVALUE, side="above", percent=True,
    ),
    "agreement": CurveDescription(
        "Agreement",
        "Mean cosine between predictions and targets: 1 if every prediction equals its target.",
        low=0, high=1,
    ),
    "picture_share": CurveDescription(
        "Image share",
        "How much closer two views of the same image are than views of different images: 0 if the "
        "image makes no difference, for example because all images are alike.",
        low=0, high=1, alarm=MIN_SHARE, side="below",
    ),
    "picture_share_error": CurveDescription("Standard error of the image share", low=0),
}  # fmt: skip

_PROTOCOLS = {
    "1-shot": "1 label per class",
    "5-shot": "5 labels per class",
    "linear": "linear probe",
    "finetune": "fine-tuned",
}


def measure_title(name: str) -> str:
    """Return the title of a measure: "knn139 AUROC" is "k-NN, k = 139, AUROC"."""
    protocol, _, figure = name.partition(" ")
    neighbours = re.fullmatch(r"knn(\d+)(-cosine)?", protocol)
    if neighbours:
        cosine = ", plain cosine" if neighbours[2] else ""
        title = f"k-NN, k = {neighbours[1]}{cosine}"
    else:
        title = _PROTOCOLS.get(protocol, protocol.replace("_", " "))
    return f"{title}, {figure}" if figure and title != protocol else f"{title} {figure}".strip()


def describe_curve(column: str) -> CurveDescription:
    """Return the description of a column of metrics.csv, or a default for an unknown column."""
    group, _, name = column.rpartition("/")
    descriptions = COLLAPSE_METRICS if group == "gauge" else CURVES
    return descriptions.get(name) or CurveDescription(
        (name or column).replace("_", " ").capitalize()
    )


def is_collapse_metric(column: str) -> bool:
    """Return whether a column of metrics.csv is a collapse metric."""
    return column.startswith("gauge/")


def sort_columns(columns: list[str]) -> list[str]:
    """Sort columns: described columns in the order of this module, then the others by name."""
    described = [*CURVES, *(f"gauge/{name}" for name in COLLAPSE_METRICS)]
    return sorted(
        columns, key=lambda c: (described.index(c) if c in described else len(described), c)
    )
