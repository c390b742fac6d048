"""What the curves, gauges and measures are called, and one sentence on how to read each."""

from dataclasses import dataclass

from BYOL.evaluation.collapse.alarm import LEAST_RANK, LEAST_SHARE, LEAST_STD, MOST_DEAD, MOST_FIRST


@dataclass(frozen=True)
class Meaning:
    """How a curve is shown.

    Args:
        title: what it is.
        note: how to read it.
        low: the axis begins at most here.
        high: the axis ends at least here.
        alarm: the value at which the collapse alarm fires.
        side: where the alarm lies: "below" or "above".
        percent: shown as a percentage.
    """

    title: str
    note: str = ""
    low: float | None = None
    high: float | None = None
    alarm: float | None = None
    side: str = ""
    percent: bool = False


CURVES: dict[str, Meaning] = {
    "loss": Meaning(
        "Loss",
        "Distance between prediction and target, both views together: 0 to 8, and 4 where they "
        "have nothing to do with each other. A low loss alone says nothing: a constant network "
        "reaches 0.",
        low=0,
    ),
    "learning_rate": Meaning(
        "Learning rate", "A linear rise, then a cosine down to zero.", low=0
    ),
    "tau": Meaning(
        "τ of the moving average",
        "How much of the target network stays at every step; it rises to 1, where it stands still.",
        high=1,
    ),
    "knn": Meaning(
        "Online k-NN",
        "Share of held-out pictures whose class the 20 nearest labelled pictures name.",
        low=0, high=1, percent=True,
    ),
    "probe": Meaning(
        "Online linear probe",
        "Share of held-out pictures whose class a linear model of the features names.",
        low=0, high=1, percent=True,
    ),
}  # fmt: skip

GAUGES: dict[str, Meaning] = {
    "std": Meaning(
        "Spread of the projections",
        "1 where they point in all directions alike, 0 where every picture is projected to the "
        "same point.",
        low=0, high=1, alarm=LEAST_STD, side="below",
    ),
    "effective_rank": Meaning(
        "Effective rank",
        "How many directions the projections of a batch make use of. Falling a little is usual; "
        "falling to 1 is collapse.",
        low=0, alarm=LEAST_RANK, side="below",
    ),
    "uniformity": Meaning(
        "Uniformity",
        "How evenly the projections cover the sphere: near −4 is best, 0 is collapse.",
        low=-4, high=0,
    ),
    "alignment": Meaning(
        "Alignment",
        "Squared distance between the projections of two views of one picture: 0 where views do "
        "not matter, 2 where they have nothing in common.",
        low=0, high=2,
    ),
    "dead": Meaning(
        "Dead dimensions",
        "Share of dimensions that do not vary from picture to picture.",
        low=0, high=1, alarm=MOST_DEAD, side="above", percent=True,
    ),
    "first_eigenvalue": Meaning(
        "First eigenvalue",
        "Share of the projections' variance along one direction. Near 1 they differ along a line "
        "only.",
        low=0, high=1, alarm=MOST_FIRST, side="above", percent=True,
    ),
    "agreement": Meaning(
        "Agreement",
        "Mean cosine of a prediction and its target: 1 where every view foretells the other.",
        low=0, high=1,
    ),
    "picture_share": Meaning(
        "Owed to the picture",
        "How much nearer two views of one picture are than views of two pictures: 0 where the "
        "picture makes no difference, as when all are alike.",
        low=0, high=1, alarm=LEAST_SHARE, side="below",
    ),
    "picture_share_error": Meaning("Its standard error", low=0),
}  # fmt: skip

MEASURES = {
    "1-shot": "1 label per class",
    "5-shot": "5 labels per class",
    "knn20": "k-NN, k = 20",
    "knn200": "k-NN, k = 200",
    "linear": "linear probe",
    "finetune": "fine-tuned",
}


def meaning_of(column: str) -> Meaning:
    """Of a column of metrics.csv, known or not."""
    group, _, name = column.rpartition("/")
    known = GAUGES if group == "gauge" else CURVES
    return known.get(name) or Meaning((name or column).replace("_", " ").capitalize())


def is_gauge(column: str) -> bool:
    """Whether a column of metrics.csv is a gauge."""
    return column.startswith("gauge/")


def in_order(columns: list[str]) -> list[str]:
    """Known columns first, in the order in which they are best read, then the others by name."""
    known = [*CURVES, *(f"gauge/{name}" for name in GAUGES)]
    return sorted(columns, key=lambda c: (known.index(c) if c in known else len(known), c))
