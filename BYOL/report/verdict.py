"""The evidence of a run in a sentence."""

from dataclasses import dataclass
from typing import Any

from BYOL.report.facts import Facts, finite
from BYOL.report.meaning import MEASURES

REFERENCES = ("raw pixels", "untrained")
_MORE_IS_BETTER = ("NMI", "ARI", "mAP", "R@1", "R@5", "R@10")
_JUDGES = ("linear", "knn20", "knn200")  # in order of preference: those with an interval


@dataclass(frozen=True)
class Verdict:
    """What may be said of a run.

    Args:
        kind: "good", "unsure", "alarm" or "open" (no labels, so no accuracy).
        headline: the sentence that people will read.
        details: sentences that say why.
    """

    kind: str
    headline: str
    details: tuple[str, ...]


def verdict(facts: Facts, probe: float | None = None) -> Verdict:
    """Judge a run by its evaluation and its gauges.

    Better means: the 95 % interval lies above the reference's. Where the two overlap, nothing has
    been shown.

    Args:
        facts: of the run.
        probe: accuracy of a probe fitted for the page, where nothing else has been measured.
    """
    judged = next((_judge(e) for e in facts.evaluations.values() if _measure(e)), None)
    if facts.alarm:
        details = (f"{facts.alarm[0].upper()}{facts.alarm[1:]}.",)
        return Verdict(
            "alarm",
            "The collapse alarm has fired: do not trust this backbone.",
            details + (judged.details if judged else ()),
        )
    return judged or Verdict("open", *_without_references(facts, probe))


def intervals(measure: dict[str, Any]) -> tuple[float, float, float]:
    """Value, low and high of a measure, whether it has an interval, a spread or neither."""
    value = measure.get("accuracy", measure.get("value"))
    value = float("nan") if value is None else float(value)
    spread = measure.get("spread") or 0.0
    return value, measure.get("low", value - spread), measure.get("high", value + spread)


def _measure(evaluation: dict[str, Any]) -> str | None:
    """The measure by which to judge: one that the trained backbone and a reference have."""
    rows = evaluation.get("rows") or {}
    for name in _JUDGES:
        judged = rows.get("trained", {}).get(name, {})
        if "accuracy" in judged and any(name in rows.get(r, {}) for r in REFERENCES):
            return name
    return None


def _judge(evaluation: dict[str, Any]) -> Verdict:
    name = _measure(evaluation)
    assert name is not None
    rows = evaluation["rows"]
    value, low, high = intervals(rows["trained"][name])
    references = {r: intervals(rows[r][name]) for r in REFERENCES if name in rows.get(r, {})}
    beaten = [r for r, (_, _, top) in references.items() if low > top]
    better = [r for r, (_, bottom, _) in references.items() if high < bottom]
    overlapping = [r for r in references if r not in beaten + better]
    kind, headline = _headline(beaten, better, overlapping)
    return Verdict(
        kind,
        headline,
        (
            _sentence(name, (value, low, high), references),
            *([_overlap(overlapping)] if overlapping else []),
            *(_exceptions(rows) if beaten and not better else []),
            _basis(evaluation),
        ),
    )


def _headline(beaten: list[str], better: list[str], overlapping: list[str]) -> tuple[str, str]:
    if better:
        return "unsure", f"This backbone is worse than {_names(better)}."
    if not overlapping:
        return "good", f"This backbone has learnt: it is better than {_names(beaten, 'and')}."
    if beaten:
        return (
            "unsure",
            f"This backbone is better than {_names(beaten)}, but not shown to be better than "
            f"{_names(overlapping)}.",
        )
    return "unsure", f"This backbone is not shown to be better than {_names(overlapping)}."


def _names(references: list[str], joined: str = "or") -> str:
    named = {"raw pixels": "raw pixels", "untrained": "its untrained self"}
    return f" {joined} ".join(named[r] for r in references)


def _exceptions(rows: dict[str, dict[str, Any]]) -> list[str]:
    """A sentence for each reference that is ahead by some measure, though not by the one above."""
    sentences = []
    for reference in REFERENCES:
        ahead = [
            MEASURES.get(name, name)
            for name, measure in rows.get(reference, {}).items()
            if name in rows["trained"]
            and ("accuracy" in measure or name in _MORE_IS_BETTER)
            and intervals(rows["trained"][name])[2] < intervals(measure)[1]
        ]
        if ahead:
            words = f"Not by every measure: more is reached with {_names([reference])} by "
            sentences.append(f"{words}{', '.join(ahead)}.")
    return sentences


def _sentence(
    name: str,
    trained: tuple[float, float, float],
    references: dict[str, tuple[float, float, float]],
) -> str:
    shares = [trained[0], *(r[0] for r in references.values())]
    apart = min(abs(trained[0] - s) for s in shares[1:])
    digits = 0 if apart >= 0.02 else 1
    judge = {"linear": "A linear probe"}.get(name, f"A {MEASURES[name]} classifier")
    others = ", ".join(
        {"raw pixels": "on raw pixels", "untrained": "on the same backbone untrained"}[r]
        + f" for {value * 100:.{digits}f}"
        for r, (value, _, _) in references.items()
    )
    return (
        f"{judge} on it is right for {trained[0] * 100:.{digits}f} of 100 held-out pictures "
        f"(95 % interval {trained[1] * 100:.1f} to {trained[2] * 100:.1f}); {others}."
    )


def _overlap(references: list[str]) -> str:
    return (
        f"Its interval and that of {_names(references)} overlap: more held-out pictures or a "
        "longer run would tell them apart."
    )


def _basis(evaluation: dict[str, Any]) -> str:
    pictures = evaluation.get("pictures") or {}
    if not pictures:
        return ""
    classes = f" of {evaluation['classes']} classes" if evaluation.get("classes") else ""
    return (
        f"Judged by {pictures['judge']:,} pictures{classes}, "
        f"with the labels of {pictures['learn']:,} others; pretraining itself saw no label."
    )


def _without_references(facts: Facts, probe: float | None) -> tuple[str, tuple[str, ...]]:
    gauges = facts.gauges
    details = []
    if finite(gauges.get("std")):
        details.append(
            f"The projections spread over {gauges['std'] * 100:.0f} % of what is possible"
            + (
                f", along some {gauges['effective_rank']:.0f} directions."
                if finite(gauges.get("effective_rank"))
                else "."
            )
        )
    online = facts.curves.series.get("knn")
    measured = None
    if probe is not None:
        measured = f"A linear probe fitted for this page is right for {probe * 100:.1f}"
    elif online is not None:
        epoch = f"{facts.curves.unit.removesuffix('s')} {online.x[-1]:.3g}"
        measured = f"The last online k-NN check, at {epoch}, was right for {online.last * 100:.1f}"
    details.append(
        f"{measured} of 100 pictures; without references beside it that is a figure, not a "
        "verdict. byol evaluate RUN measures them."
        if measured
        else "No labels have been used, so nothing can be said of accuracy: look at the "
        "neighbours, which show what counts as alike."
    )
    if not gauges:
        return "Nothing has been measured on this backbone yet.", tuple(details)
    return "This backbone has not collapsed.", tuple(details)
