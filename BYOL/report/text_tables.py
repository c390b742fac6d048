"""The tables of a report whose cells are text."""

from dataclasses import dataclass
from typing import Any

from BYOL.evaluation.collapse.metrics import with_present_names
from BYOL.evaluation.table import p_text
from BYOL.report.metric_descriptions import describe_curve, measure_title
from BYOL.report.run_summary import RunSummary, finite


@dataclass(frozen=True)
class TextTable:
    """A table of text.

    Args:
        caption: what the table shows.
        columns: headings; the first one is that of the names of the rows.
        rows: cells, the name of the row first.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def comparison_table(evaluation: dict[str, Any]) -> TextTable | None:
    """Return the paired tests against each baseline in the measures that decide, or None."""
    deciding = {
        source: {c["measure"]: c for c in found if "decides" in c and c.get("p_holm") is not None}
        for source, found in (evaluation.get("comparisons") or {}).items()
    }
    measures = tuple(dict.fromkeys(name for found in deciding.values() for name in found))
    if not measures:
        return None
    rows = (
        (source, *(_difference(name, found.get(name)) for name in measures))
        for source, found in deciding.items()
    )
    return TextTable(
        "Difference of the trained backbone (accuracies in percentage points), with the p-value of "
        "a paired test on the same test images, corrected for several protocols (Holm)",
        ("trained minus", *map(measure_title, measures)),
        tuple(rows),
    )


def recall_table(evaluation: dict[str, Any], labels: str = "") -> TextTable | None:
    """Return the recall of each class, or None.

    Args:
        evaluation: an evaluation.
        labels: where its labels are from, such as "labels of cls.csv".
    """
    rows = tuple(
        (
            name,
            f"{recall['recall'] * 100:.1f} %",
            f"{recall['low'] * 100:.1f} to {recall['high'] * 100:.1f} %",
            f"{recall['images']:,}",
        )
        for name, recall in (evaluation.get("recall") or {}).items()
    )
    caption = "Recall of the linear probe: the share of the test images of a class that it predicts"
    caption += f" ({labels})" if labels else ""
    return (
        TextTable(caption, ("class", "recall", "95 % interval", "images"), rows) if rows else None
    )


def near_copies(evaluation: dict[str, Any]) -> TextTable | None:
    """Return pairs of a test image and its near-copy among the training images, or None."""
    rows = tuple(
        (test, train) for test, train in (evaluation.get("leakage") or {}).get("pairs", ())
    )
    caption = "Test images, each with the training image that it is a near-copy of"
    return TextTable(caption, ("test image", "training image"), rows) if rows else None


def collapse_table(facts: RunSummary) -> TextTable | None:
    """Return the collapse metrics of features and projections, or None."""
    features = facts.results.get("feature_gauges") or {}
    before, after = (with_present_names(features.get(k) or {}) for k in ("untrained", "trained"))
    columns = (before, after, facts.collapse_metrics)
    rows = tuple(
        (describe_curve(f"gauge/{name}").title, *(_number(c.get(name)) for c in columns))
        for name in after
    )
    return TextTable(
        "Features are the output of the backbone, projections that of the projector",
        ("metric", "features, untrained", "features, trained", "projections"),
        rows,
    ) if rows else None  # fmt: skip


def _difference(measure: str, comparison: dict[str, Any] | None) -> str:
    if comparison is None:
        return "–"
    difference = comparison["difference"]
    is_accuracy = " " not in measure
    text = f"{difference * 100:+.1f}" if is_accuracy else f"{difference:+.3f}"
    return f"{text}, {p_text(comparison['p_holm'])}".replace("-", "−")


def _number(value: Any) -> str:
    return f"{value:.3g}".replace("-", "−") if finite(value) else "–"
