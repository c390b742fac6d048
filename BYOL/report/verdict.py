"""A summary of the evidence of a run: a headline and the sentences that support it.

A backbone counts as better than a baseline only if its interval lies above that of the baseline. If
the intervals overlap, no difference is claimed.
"""

from dataclasses import dataclass
from typing import Any

from BYOL.evaluation.baselines import START
from BYOL.report.metric_descriptions import MEASURES
from BYOL.report.results_table import BASELINES, Interval, intervals, label_kind
from BYOL.report.run_summary import RunSummary, finite

# Protocol → its measures. The first measure that is available decides. With more measures, one of
# them would more often be better by chance.
PROTOCOLS = {
    "few-label": ("5-shot", "1-shot"),
    "k-NN": ("knn20", "knn200", "knn20 mAP", "knn20 R²", "knn20 MAE"),  # of classes, tags, numbers
    "linear-probe": ("linear", "linear mAP", "linear R²", "linear MAE"),
}
# Names of measures, or their last word, that show which of two results is better.
_COMPARABLE = ("NMI", "ARI", "mAP", "F1", "R²", "MAE", "R@1", "R@5", "R@10")
_BASELINE_NAMES = {
    "raw pixels": "raw pixels",
    "untrained": "the untrained backbone",
    START: "the initial weights",
}
_FIGURES = {
    "mAP": "mean average precision",
    "R²": "R² (1 is perfect, 0 is predicting the mean)",
    "MAE": "mean absolute error (lower is better)",
}
_CLAUSE_ORDER = ("better", "mixed", "even", "worse")


@dataclass(frozen=True)
class BaselineComparison:
    """The comparison of the trained backbone with the baselines in one protocol.

    Args:
        protocol: a key of :data:`PROTOCOLS`.
        measure: the measure that is compared.
        trained: value, low and high of the trained backbone.
        baselines: value, low and high of each baseline.
        signs: for each baseline 1 if the trained backbone is better, -1 if it is worse, and 0 if
            no difference is shown.
    """

    protocol: str
    measure: str
    trained: Interval
    baselines: dict[str, Interval]
    signs: dict[str, int]


@dataclass(frozen=True)
class Verdict:
    """The conclusion about a run.

    Args:
        kind: "good", "unsure", "alarm", or "open" (without labels, and so without accuracy).
        headline: the conclusion in one sentence.
        details: sentences that support the headline.
    """

    kind: str
    headline: str
    details: tuple[str, ...]


def verdict(facts: RunSummary, probe: float | None = None) -> Verdict:
    """Draw a conclusion from the evaluation and the collapse metrics of a run.

    The few-label, k-NN and linear-probe protocols are compared separately. The headline claims only
    what all of them support.

    Args:
        facts: the summary of the run.
        probe: accuracy of a probe that was fitted for the report, used if there is no evaluation.
    """
    compared = next((v for v in map(_compare, facts.evaluations.values()) if v), None)
    if facts.alarm:
        details = (f"{facts.alarm[0].upper()}{facts.alarm[1:]}.",)
        return Verdict(
            "alarm",
            "The collapse alarm was raised: do not trust this backbone.",
            details + (compared.details if compared else ()),
        )
    return compared or Verdict("open", *_without_references(facts, probe))


def compare_with_baselines(rows: dict[str, dict[str, Any]]) -> list[BaselineComparison]:
    """Return a comparison for each protocol that has results of the backbone and of a baseline.

    Args:
        rows: source → measure → result, as stored in an evaluation.
    """
    baselines = {name: rows[name] for name in BASELINES if name in rows}
    comparisons = []
    for protocol, measures in PROTOCOLS.items():
        for measure in measures:
            results = {
                name: intervals(row[measure]) for name, row in baselines.items() if measure in row
            }
            if results and measure in rows.get("trained", {}):
                trained = intervals(rows["trained"][measure])
                signs = {
                    name: compare_intervals(measure, trained, other)
                    for name, other in results.items()
                }
                comparisons.append(BaselineComparison(protocol, measure, trained, results, signs))
                break
    return comparisons


def compare_intervals(measure: str, first: Interval, second: Interval) -> int:
    """Return 1 if ``first`` is better than ``second``, -1 if it is worse, 0 if the two overlap."""
    above = (first[1] > second[2]) - (first[2] < second[1])
    return -above if measure.endswith("MAE") else above


def _compare(evaluation: dict[str, Any]) -> Verdict | None:
    rows = evaluation.get("rows") or {}
    comparisons = compare_with_baselines(rows)
    if not comparisons:
        return None
    kind, headline = _headline(comparisons)
    undecided = [c.protocol for c in comparisons if 0 in c.signs.values()]
    return Verdict(
        kind,
        headline,
        (
            *(_sentence(comparison) for comparison in comparisons),
            *([_overlap(undecided)] if undecided else []),
            *(_exceptions(rows, comparisons) if kind == "good" else []),
            _basis(evaluation),
        ),
    )


def _headline(comparisons: list[BaselineComparison]) -> tuple[str, str]:
    """Return kind and headline, with one clause for all baselines with the same outcome."""
    clauses: dict[tuple[str, str, str], list[str]] = {}
    for baseline in BASELINES:
        signs = {c.protocol: c.signs[baseline] for c in comparisons if baseline in c.signs}
        if signs:
            clauses.setdefault(_clause(signs), []).append(baseline)
    ordered = sorted(clauses, key=lambda clause: _CLAUSE_ORDER.index(clause[0]))
    parts = []
    for kind, before, after in ordered:
        conjunction = "or" if kind == "even" else "and"
        names = f" {conjunction} ".join(_BASELINE_NAMES[b] for b in clauses[kind, before, after])
        parts.append(f"{before} {names}{after}")
    kinds = [kind for kind, *_ in ordered]
    if kinds[-1] == "better":
        return "good", f"Pretraining was effective: the backbone is {', and '.join(parts)}."
    return "unsure", f"The backbone is {', but '.join(parts)}."


def _clause(signs: dict[str, int]) -> tuple[str, str, str]:
    """Return the kind of a clause, and its words before and after the names of the baselines."""
    better, worse = ([p for p, sign in signs.items() if sign == s] for s in (1, -1))
    if better and worse:
        return "mixed", "better than", f" {_in(better)} and worse {_in(worse)}"
    if better:
        return "better", "better than", f" {_in(better)}" if len(better) < len(signs) else ""
    if worse:
        return "worse", "worse than", f" {_in(worse)}" if len(worse) < len(signs) else ""
    return "even", "not shown to be better than", ""


def _in(protocols: list[str]) -> str:
    if len(protocols) == 1:
        return f"in the {protocols[0]} evaluation"
    return f"in the {', '.join(protocols[:-1])} and {protocols[-1]} evaluations"


def _exceptions(
    rows: dict[str, dict[str, Any]], comparisons: list[BaselineComparison]
) -> list[str]:
    """Return a sentence for each baseline that is better in a measure outside the headline."""
    sentences, compared = [], {comparison.measure for comparison in comparisons}
    for baseline in BASELINES:
        better = [
            MEASURES.get(name, name)
            for name, measure in rows.get(baseline, {}).items()
            if name in rows["trained"]
            and name not in compared
            and ("accuracy" in measure or name.split()[-1] in _COMPARABLE)
            and compare_intervals(name, intervals(measure), intervals(rows["trained"][name])) == 1
        ]
        if better:
            name = _BASELINE_NAMES[baseline]
            sentences.append(f"Measures with a better result for {name}: {', '.join(better)}.")
    return sentences


def _sentence(standing: BaselineComparison) -> str:
    """Return the results of a protocol as a sentence, with accuracies per 100 images."""
    protocol, _, figure = standing.measure.partition(" ")
    value, low, high = standing.trained
    baselines = {_BASELINE_NAMES[name]: v for name, (v, *_) in standing.baselines.items()}
    if figure:
        results = ", ".join(f"{name}: {v:.3f}" for name, v in baselines.items())
        return (
            f"{_protocol_name(protocol)}: {_FIGURES[figure]} {value:.3f} on the test images "
            f"(95 % interval {low:.3f} to {high:.3f}); {results}."
        )
    digits = 0 if min(abs(value - v) for v in baselines.values()) >= 0.02 else 1
    shots = standing.measure.removesuffix("-shot")
    if shots != standing.measure:
        title = f"Nearest neighbour with {MEASURES[standing.measure]}"
        margin = f"± {(high - low) * 50:.1f} over draws of the labelled images"
    else:
        title = _protocol_name(protocol)
        margin = f"95 % interval {low * 100:.1f} to {high * 100:.1f}"
    results = ", ".join(f"{name}: {v * 100:.{digits}f}" for name, v in baselines.items())
    return (
        f"{title}: {value * 100:.{digits}f} of 100 test images are correct ({margin}); {results}."
    )


def _protocol_name(protocol: str) -> str:
    if protocol == "linear":
        return "Linear probe"
    return f"k-NN with {protocol.removeprefix('knn')} neighbours"


def _overlap(protocols: list[str]) -> str:
    return (
        f"Some differences {_in(protocols)} are inconclusive, because the intervals overlap. More "
        "test images or a longer run may give a clear result."
    )


def _basis(evaluation: dict[str, Any]) -> str:
    counts = evaluation.get("pictures") or {}
    if not counts:
        return ""
    return (
        f"Evaluated on {counts['judge']:,} test images{label_kind(evaluation)}, with the labels "
        f"of {counts['learn']:,} training images. Pretraining used no labels."
    )


def _without_references(facts: RunSummary, probe: float | None) -> tuple[str, tuple[str, ...]]:
    metrics = facts.collapse_metrics
    details = []
    if finite(metrics.get("std")):
        rank = metrics.get("centred_rank")
        details.append(
            f"The standard deviation of the projections is {metrics['std'] * 100:.0f} % of its "
            "maximum"
            + (f", and their centred effective rank is {rank:.0f}." if finite(rank) else ".")
        )
    online = facts.curves.series.get("knn")
    result = None
    if probe is not None:
        result = f"A linear probe fitted for this page is correct for {probe * 100:.1f}"
    elif online is not None:
        epoch = f"{facts.curves.unit.removesuffix('s')} {online.x[-1]:.3g}"
        result = (
            f"The last online k-NN evaluation, at {epoch}, was correct for {online.last * 100:.1f}"
        )
    details.append(
        f"{result} of 100 images. Without baselines this figure allows no conclusion; byol "
        "evaluate RUN measures the baselines."
        if result
        else "There are no labels, so the accuracy is unknown. The nearest neighbours show which "
        "images the backbone considers similar."
    )
    if not metrics:
        return "This backbone has not been evaluated yet.", tuple(details)
    return "This backbone has not collapsed.", tuple(details)
