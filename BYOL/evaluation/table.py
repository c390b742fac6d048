"""The results of an evaluation as tables for a terminal."""

import itertools
from collections.abc import Sequence
from typing import Any

from BYOL._console import counted, first_of, tables_text
from BYOL.config.tasks import CLASSES, NOTHING, Measure
from BYOL.evaluation.baselines import START
from BYOL.evaluation.bootstrap import point_estimate
from BYOL.evaluation.centering import CENTRED
from BYOL.evaluation.class_summary import constant_text, majority_text, recall_text, shown_rows
from BYOL.evaluation.comparison import RunComparison
from BYOL.evaluation.teacher_note import teacher_note

COLUMNS = 5  # columns of a table, limited by the width of a terminal
WIDTH = 100
PAIRED = (
    "p: paired test on the same test images (McNemar for accuracies, paired bootstrap for n-shot, "
    "groups and other measures), corrected for several protocols (Holm)"
)


def results_text(results: dict[str, Any]) -> str:
    """Format the results of :func:`BYOL.evaluation.evaluate.evaluate` as tables and a note.

    Accuracies come first, then the other measures. A dash marks a measure that a source lacks.
    """
    rows = shown_rows(results)
    measures = {name: m for row in rows.values() for name, m in row.items()}
    tables = []
    for heading, key in (("accuracy", "accuracy"), ("measure", "value")):
        names = [name for name, measure in measures.items() if key in measure]
        starts = range(0, len(names), COLUMNS)
        tables += [_table(heading, names[start : start + COLUMNS], rows) for start in starts]
    compared = itertools.chain.from_iterable(results.get("comparisons", {}).values())
    if any("decides" in comparison for comparison in compared):
        tables.append(_comparison_table(results))
    return tables_text(tables, WIDTH) + _note(results, measures)


def _table(heading: str, names: list[str], rows: dict[str, dict[str, Measure]]) -> Any:
    from rich.table import Table

    table = Table()
    table.add_column(heading)
    for name in names:
        table.add_column(name, justify="right")
    for source, measures in rows.items():
        cells = (_cell(measures.get(name)) for name in names)
        table.add_row(source, *cells, style="bold" if source == "trained" else "")
    return table


def _comparison_table(results: dict[str, Any]) -> Any:
    """Return a table of differences in the deciding measures, with their corrected p-values."""
    from rich.table import Table

    deciding = {
        source: {c["measure"]: c for c in found if "decides" in c}
        for source, found in results["comparisons"].items()
    }
    table = Table()
    table.add_column("trained minus")
    names = list(dict.fromkeys(name for found in deciding.values() for name in found))
    for name in names:
        table.add_column(name, justify="right")
    for source, found in deciding.items():
        table.add_row(source, *(_difference(found.get(name)) for name in names))
    return table


def _difference(comparison: dict[str, Any] | None) -> str:
    if comparison is None:
        return "–"
    p = f" {p_text(comparison['p_holm'])}" if comparison.get("p_holm") is not None else ""
    return f"{comparison['difference']:+.3f}{p}"


def comparison_sentences(results: dict[str, Any]) -> list[str]:
    """Return a sentence for each row that the trained backbone was compared with."""
    sentences = []
    for source, found in results.get("comparisons", {}).items():
        parts = [
            f"{c['measure']} {c['difference']:+.3f}, {p_text(c['p_holm'])}{_counts(c)}"
            for c in found
            if "decides" in c and c.get("p_holm") is not None
        ]
        if parts:
            sentences.append(f"Trained minus {source}: {'; '.join(parts)}.")
    if sentences:
        sentences.append(f"{PAIRED}.")
    return sentences


def run_comparison_sentences(comparisons: Sequence[RunComparison]) -> list[str]:
    """Return a sentence for each pair of runs, and how they were compared."""
    sentences, compared = [], [pair for pair in comparisons if not pair.obstacle]
    notes = dict.fromkeys(pair.note or f"{PAIRED}." for pair in compared)
    words = {1: "better", 0: "no difference shown", -1: "worse"}
    for pair in comparisons:
        if pair.obstacle:
            sentences.append(
                f"{pair.first} and {pair.second} are not compared, because {pair.obstacle}."
            )
            continue
        parts = []
        for c in pair.comparisons:
            p = "" if c.p_corrected is None else f", {p_text(c.p_corrected)}"
            counts = _counts(c.as_dict())
            parts.append(f"{c.measure} {c.difference:+.3f}{p}{counts}: {words[c.sign]}")
        sentences.append(f"{pair.first} minus {pair.second}: {'; '.join(parts)}.")
    return [*sentences, *notes]


def _counts(comparison: dict[str, Any]) -> str:
    """Return how many images only one of the two backbones classifies correctly."""
    if "only_first" not in comparison:
        return ""
    return f" (only one is right: {comparison['only_first']:,} to {comparison['only_second']:,})"


def p_text(p: float) -> str:
    """Return a p-value as text: ``p = 0.017``, or ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _cell(measure: Measure | None) -> str:
    if measure is None:
        return "–"
    half = (measure.get("high", 0.0) - measure.get("low", 0.0)) / 2
    value, is_spread = f"{point_estimate(measure):.3f}", "spread" in measure
    if half < 1e-12 and not is_spread:  # an interval without width is no statement
        return value
    return f"{value} ±{measure['spread'] if is_spread else half:.3f}"


def _note(results: dict[str, Any], measures: dict[str, Measure]) -> str:
    images, task = results["pictures"], results.get("task", CLASSES)
    if task == NOTHING:
        text = f"{images['judge']:,} images without labels. "
    else:
        count = results["classes"]
        kind = f"{count} classes" if task == CLASSES else f"{counted(count, 'column')} of labels"
        text = f"{images['judge']:,} test images of {kind}, "
        text += f"{images['learn']:,} training images. "
    if any("spread" in measure for measure in measures.values()):
        text += (
            "n-shot: 1-NN with n labels per class (± from draw to draw); "
            "others ± half a 95 % interval."
        )
    else:
        text += "± half a 95 % interval."
    if any(results.get("comparisons", {}).values()):
        text += f"\n{PAIRED}."
    if START in results["rows"]:
        text += f"\n{START}: the backbone with the initial weights of the run."
    lines = [*class_lines(results), *filter(None, [groups_note(results), teacher_note(results)])]
    lines += [*restrictions(results["rows"]), *classes_without_training_images(results)]
    text += "".join(f"\n{line}" for line in lines)
    if results.get("left_out"):
        text += f"\nnot for labels of this kind: {', '.join(results['left_out'])}"
    return text


def class_lines(results: dict[str, Any]) -> list[str]:
    """Return sentences about what an accuracy hides; without classes there are none."""
    lines = [majority_text(results), constant_text(results)]
    if "positive" in results:
        lines.append(f"AUROC and AP are those of the class {results['positive']!r}.")
    if results.get("unequal"):
        recall = recall_text(results.get("recall", {}))
        lines.append(f"Trained, linear probe: {recall}" if recall else "")
        if results.get("metric") == "accuracy":
            lines.append(
                "The classes are unequally frequent: --metric=balanced-accuracy lets the mean of "
                "their recalls decide."
            )
    return [line for line in lines if line]


def groups_note(results: dict[str, Any]) -> str:
    """Return sentences about the number of groups in each split, or "" without groups."""
    groups = results.get("groups")
    if not groups:
        return ""
    both = f"{groups['both']:,}" if groups["both"] else "none"
    numbers = (
        f"{counted(groups['judge'], 'test group')}, "
        f"{counted(groups['learn'], 'training group')}, {both} on both sides"
    )
    if results.get("task", CLASSES) == NOTHING:
        numbers = f"{groups['judge']:,}"
    prefix = "Held out by groups" if results.get("held_out_by") == "groups" else "Groups"
    one_group = "There is one test group: intervals do not describe other groups."
    sentences = [f"{prefix}: {numbers}."]
    sentences.append("Intervals are over groups." if groups["judge"] > 1 else one_group)
    return " ".join(sentences)


def classes_without_training_images(results: dict[str, Any]) -> list[str]:
    """Return a sentence about classes that no training image has, or no sentence."""
    names = results.get("untaught")
    if not names:
        return []
    return [f"Classes with test images but without training images: {first_of(names)}."]


def restrictions(rows: dict[str, dict[str, Measure]]) -> list[str]:
    """Return a sentence for each measurement that used less than all features, images or epochs."""
    lines = []
    for source, row in rows.items():
        components = next((int(m["components"]) for m in row.values() if "components" in m), None)
        if components is not None:
            lines.append(
                f"Linear probes use the first {components} principal components of {source}."
            )
    centred = [s for s, row in rows.items() if any(m.get(CENTRED) for m in row.values())]
    if centred:
        lines.append(
            f"Cosines: the mean of the training images is subtracted for {', '.join(centred)}, "
            "which is better on the training images."
        )
    measures = {name: m for row in rows.values() for name, m in row.items()}
    trained_on = next(
        (int(m["learnt_from"]) for m in measures.values() if "learnt_from" in m), None
    )
    if trained_on is not None:
        lines.append(
            f"The linear probe is trained on {trained_on:,} images, the same share of every class."
        )
    if "crops" in measures.get("linear-sgd", {}):
        crops = int(measures["linear-sgd"]["crops"])
        lines.append(f"linear-sgd: {crops} random crops of every image.")
    epochs = dict.fromkeys(
        f"{int(m['epochs'])} with {name.removeprefix('finetune ').split()[0]}"
        for name, m in measures.items()
        if "epochs" in m
    )
    if epochs:
        lines.append(f"finetune: epochs {', '.join(epochs)} of the labels.")
    return lines
