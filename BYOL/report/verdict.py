"""A summary of the evidence of a run: a headline and the sentences that support it.

A backbone counts as better than a baseline only if a paired test on the same test images shows it
(:mod:`BYOL.evaluation.comparison`). Otherwise no difference is claimed.
"""

from dataclasses import dataclass, replace
from typing import Any

from BYOL.evaluation.baselines import START, TEACHER
from BYOL.evaluation.class_summary import undefined_text
from BYOL.evaluation.comparison import (
    BASELINES,
    UNPAIRED,
    BaselineComparison,
    better_baselines,
    compare_rows,
    compare_with_baselines,
    independent_units,
)
from BYOL.evaluation.table import class_lines
from BYOL.evaluation.teacher_note import agreement_note
from BYOL.report.metric_descriptions import measure_title
from BYOL.report.run_summary import RunSummary, finite

_BASELINE_NAMES = {
    "raw pixels": "raw pixels",
    "untrained": "the untrained backbone",
    START: "the initial weights",
    TEACHER: "the teacher's own features",
}
_FIGURES = {
    "balanced accuracy": "balanced accuracy (mean recall of the classes)",
    "AUROC": "area under the ROC curve",
    "AP": "average precision",
    "F1": "macro F1",
    "mAP": "mean average precision",
    "R²": "R² (1 is perfect)",
    "MAE": "mean absolute error (0 is perfect)",
}
_CLAUSE_ORDER = ("better", "mixed", "even", "worse")


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
    recorded = facts.output_evaluations
    verdicts = ((e, _compare(e.content)) for e in recorded)
    shown, compared = next((pair for pair in verdicts if pair[1]), (None, None))
    if shown and compared and shown is not recorded[0]:
        about = f"The headline is about the evaluation: {shown.title}."
        compared = replace(compared, details=(about, *compared.details))
    if facts.alarm:
        details = (f"{facts.alarm[0].upper()}{facts.alarm[1:]}.",)
        return Verdict(
            "alarm",
            "The collapse alarm was raised: do not trust this backbone.",
            details + (compared.details if compared else ()),
        )
    return compared or Verdict("open", *_without_references(facts, probe))


def _compare(evaluation: dict[str, Any]) -> Verdict | None:
    comparisons = compare_with_baselines(evaluation)
    if not comparisons:
        return None
    paired = all(comparison.p_values for comparison in comparisons)
    kind, claim = _claim(comparisons)
    undecided = [c.protocol for c in comparisons if 0 in c.signs.values()]
    return Verdict(
        kind,
        f"{claim}: {_figures(comparisons[-1])}.",
        (
            *([_inconclusive(undecided, paired)] if undecided else []),
            *(_exceptions(evaluation) if kind == "good" else []),
            *_teacher_misfit(evaluation),
            *([] if paired else [UNPAIRED]),
            *class_lines(evaluation),
        ),
    )


def _claim(comparisons: list[BaselineComparison]) -> tuple[str, str]:
    """Return the kind and the claim, with one clause for all baselines with the same outcome."""
    clauses: dict[tuple[str, str, str], list[str]] = {}
    for baseline in BASELINES:
        signs = {c.protocol: c.signs[baseline] for c in comparisons if baseline in c.signs}
        if signs:
            clauses.setdefault(_clause(signs), []).append(baseline)
    ordered = sorted(clauses, key=lambda clause: _CLAUSE_ORDER.index(clause[0]))
    parts = []
    for kind, before, after in ordered:
        conjunction = "or" if kind == "even" else "and"
        *first, last = (_BASELINE_NAMES[b] for b in clauses[kind, before, after])
        names = f"{', '.join(first)} {conjunction} {last}" if first else last
        parts.append(f"{before} {names}{after}")
    kinds = [kind for kind, *_ in ordered]
    conjunction = "but" if kinds[0] == "better" != kinds[-1] else "and"
    # The aim of training is to reach the teacher, so being as good as it is no failure.
    decisive = {c[0] for c in ordered if (c[0], clauses[c]) != ("even", [TEACHER])}
    verdict_kind = "good" if decisive == {"better"} else "unsure"
    return verdict_kind, f"The backbone is {f', {conjunction} '.join(parts)}"


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


def _teacher_misfit(evaluation: dict[str, Any]) -> list[str]:
    """Return a sentence if raw pixels are better than the teacher's own features."""
    rows = evaluation.get("rows") or {}
    compared = compare_rows(
        rows.get(TEACHER, {}), rows.get("raw pixels", {}), independent_units(evaluation),
        evaluation.get("metric"),
    )  # fmt: skip
    worse = [c.protocol for c in compared if c.protocol and c.sign == -1]
    if not worse:
        return []
    return [f"The teacher does not fit these images: raw pixels are better {_in(worse)}."]


def _exceptions(evaluation: dict[str, Any]) -> list[str]:
    """Return a sentence for each baseline that is better in a measure outside the headline."""
    sentences = []
    for baseline in BASELINES:
        better = [measure_title(name) for name in better_baselines(evaluation, baseline)]
        if better:
            name = _BASELINE_NAMES[baseline]
            sentences.append(f"Measures with a better result for {name}: {', '.join(better)}.")
    return sentences


def _figures(comparison: BaselineComparison) -> str:
    """Return the results of one measure: of the trained backbone, and of its baselines."""
    baselines = {_BASELINE_NAMES[name]: v for name, (v, *_) in comparison.baselines.items()}
    protocol, _, figure = comparison.measure.partition(" ")
    trained, *values = (
        f"{v:.3f}" if figure else f"{v * 100:.1f} %"
        for v in (comparison.trained[0], *baselines.values())
    )
    others = ", ".join(f"{name} {v}" for name, v in zip(baselines, values, strict=True))
    title = measure_title(protocol) + (f", {_FIGURES[figure]}," if figure else "")
    return f"{title} {trained} ({others})"


def _inconclusive(protocols: list[str], paired: bool) -> str:
    reason = (
        "the paired tests on the same test images have p-values above 0.05 after Holm's correction"
        if paired
        else "the intervals overlap"
    )
    return (
        f"Some differences {_in(protocols)} are inconclusive, because {reason}. More test images "
        "or a longer run may give a clear result."
    )


def _without_references(facts: RunSummary, probe: float | None) -> tuple[str, tuple[str, ...]]:
    metrics = facts.collapse_metrics
    undefined = undefined_text(facts.main_evaluation)
    if undefined:
        return "The backbone is not compared with the baselines.", (undefined,)
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
    if agreement := agreement_note(facts.results):
        details.append(agreement)
    if not metrics:
        return "This backbone has not been evaluated yet.", tuple(details)
    return "This backbone has not collapsed.", tuple(details)
