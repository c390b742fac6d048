"""The evidence of a run in a sentence."""

from dataclasses import dataclass
from typing import Any

from BYOL.evaluation.baselines import START
from BYOL.report.metric_descriptions import MEASURES
from BYOL.report.results_table import labelled_with
from BYOL.report.run_summary import Facts, finite
from BYOL.report.standing import REFERENCES, Standing, ahead, intervals, standings

_JUDGING = ("NMI", "ARI", "mAP", "F1", "R²", "MAE", "R@1", "R@5", "R@10")  # or the end of a name
_NAMED = {
    "raw pixels": "raw pixels",
    "untrained": "its untrained self",
    START: "the weights it began with",
}
_ON = {
    "raw pixels": "on raw pixels",
    "untrained": "on the same backbone untrained",
    START: "on the weights that it began with",
}


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

    Few labels, k-NN and the linear probe are judged each by itself; the headline says no more than
    all of them together allow.

    Args:
        facts: of the run.
        probe: accuracy of a probe fitted for the page, where nothing else has been measured.
    """
    judged = next((j for j in map(_judge, facts.evaluations.values()) if j), None)
    if facts.alarm:
        details = (f"{facts.alarm[0].upper()}{facts.alarm[1:]}.",)
        return Verdict(
            "alarm",
            "The collapse alarm has fired: do not trust this backbone.",
            details + (judged.details if judged else ()),
        )
    return judged or Verdict("open", *_without_references(facts, probe))


def _judge(evaluation: dict[str, Any]) -> Verdict | None:
    rows = evaluation.get("rows") or {}
    found = standings(rows)
    if not found:
        return None
    kind, headline = _headline(found)
    unshown = [s.protocol for s in found if 0 in s.against.values()]
    return Verdict(
        kind,
        headline,
        (
            *(_sentence(s) for s in found),
            *([_overlap(unshown)] if unshown else []),
            *(_exceptions(rows, found) if kind == "good" else []),
            _basis(evaluation),
        ),
    )


def _headline(found: list[Standing]) -> tuple[str, str]:
    """One clause for all references of which the same is to be said."""
    clauses: dict[tuple[str, str, str], list[str]] = {}
    for reference in REFERENCES:
        signs = {s.protocol: s.against[reference] for s in found if reference in s.against}
        if signs:
            clauses.setdefault(_clause(signs), []).append(reference)
    ordered = sorted(clauses, key=lambda clause: _ORDER.index(clause[0]))
    parts = []
    for kind, before, after in ordered:
        joined = "and" if kind == "better" else "or"
        parts.append(f"{before} {_names(clauses[kind, before, after], joined)}{after}")
    kinds = [kind for kind, *_ in ordered]
    if kinds[-1] == "better":
        return "good", f"This backbone has learnt: it is {', and '.join(parts)}."
    return "unsure", f"This backbone is {', but '.join(parts)}."


_ORDER = ("better", "mixed", "even", "worse")


def _clause(signs: dict[str, int]) -> tuple[str, str, str]:
    """Kind, and the words before and after the reference's name."""
    ahead, behind = ([p for p, sign in signs.items() if sign == s] for s in (1, -1))
    if ahead and behind:
        return "mixed", "better than", f" by {_listed(ahead)} and worse by {_listed(behind)}"
    if ahead:
        rest = [p for p in signs if p not in ahead]
        return "better", "better than", f" by {_listed(ahead)}" if rest else ""
    if behind:
        rest = [p for p in signs if p not in behind]
        return "worse", "worse than", f" by {_listed(behind)}" if rest else ""
    return "even", "not shown to be better than", ""


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _names(references: list[str], joined: str = "or") -> str:
    return f" {joined} ".join(_NAMED[r] for r in references)


def _exceptions(rows: dict[str, dict[str, Any]], found: list[Standing]) -> list[str]:
    """A sentence for each reference that is ahead by a measure that the headline leaves out."""
    sentences, judged = [], {s.measure for s in found}
    for reference in REFERENCES:
        better = [
            MEASURES.get(name, name)
            for name, measure in rows.get(reference, {}).items()
            if name in rows["trained"]
            and name not in judged
            and ("accuracy" in measure or name.split()[-1] in _JUDGING)
            and ahead(name, intervals(measure), intervals(rows["trained"][name])) == 1
        ]
        if better:
            words = f"Not by every measure: more is reached with {_names([reference])} by "
            sentences.append(f"{words}{', '.join(better)}.")
    return sentences


def _sentence(standing: Standing) -> str:
    """The figures of a protocol, accuracies in pictures of a hundred."""
    protocol, _, figure = standing.measure.partition(" ")
    value, low, high = standing.trained
    others = {r: v for r, (v, *_) in standing.references.items()}
    if figure:
        compared = ", ".join(f"{_ON[r]} {v:.3f}" for r, v in others.items())
        return (
            f"{_judge_of(protocol)} reaches {_FIGURES[figure]} {value:.3f} on held-out pictures "
            f"(95 % interval {low:.3f} to {high:.3f}); {compared}."
        )
    digits = 0 if min(abs(value - v) for v in others.values()) >= 0.02 else 1
    shots = standing.measure.removesuffix("-shot")
    if shots != standing.measure:
        judge = f"With {MEASURES[standing.measure]}, its nearest neighbour"
        margin = f"± {(high - low) * 50:.1f} from draw to draw"
    else:
        judge = _judge_of(protocol)
        margin = f"95 % interval {low * 100:.1f} to {high * 100:.1f}"
    compared = ", ".join(f"{_ON[r]} for {v * 100:.{digits}f}" for r, v in others.items())
    return (
        f"{judge} is right for {value * 100:.{digits}f} of 100 held-out pictures "
        f"({margin}); {compared}."
    )


_FIGURES = {
    "mAP": "a mean average precision of",
    "R²": "an R² (1 at best, 0 for guessing the mean) of",
    "MAE": "a mean absolute error (the less, the better) of",
}


def _judge_of(protocol: str) -> str:
    neighbours = protocol.removeprefix("knn")
    linear = protocol == "linear"
    return "A linear probe on it" if linear else f"k-NN with {neighbours} neighbours on it"


def _overlap(protocols: list[str]) -> str:
    return (
        f"By {_listed(protocols)} not all differences are shown, because the intervals overlap: "
        "more held-out pictures or a longer run would tell."
    )


def _basis(evaluation: dict[str, Any]) -> str:
    pictures = evaluation.get("pictures") or {}
    if not pictures:
        return ""
    return (
        f"Judged by {pictures['judge']:,} pictures{labelled_with(evaluation)}, "
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
