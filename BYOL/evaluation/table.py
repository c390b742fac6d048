"""The results of an evaluation as tables for a terminal."""

import io
from typing import Any

from BYOL._console import first_of
from BYOL.config.tasks import CLASSES, NOTHING, Measure
from BYOL.evaluation.baselines import START
from BYOL.evaluation.bootstrap import point_estimate

COLUMNS = 5  # columns of a table, limited by the width of a terminal
WIDTH = 100


def results_text(results: dict[str, Any]) -> str:
    """Format the results of :func:`BYOL.evaluation.evaluate.evaluate` as tables and a note.

    Accuracies come first, then the other measures. A dash marks a measure that a source lacks.
    """
    from rich.console import Console

    rows = results["rows"]
    measures = {name: m for row in rows.values() for name, m in row.items()}
    # names of files and tags are not markup
    console = Console(file=io.StringIO(), width=WIDTH, markup=False, emoji=False, highlight=False)
    for heading, key in (("accuracy", "accuracy"), ("measure", "value")):
        names = [name for name, measure in measures.items() if key in measure]
        for start in range(0, len(names), COLUMNS):
            console.print(_table(heading, names[start : start + COLUMNS], rows))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue() + _note(results, measures)


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


def _cell(measure: Measure | None) -> str:
    if measure is None:
        return "–"
    half = measure.get("spread", (measure.get("high", 0.0) - measure.get("low", 0.0)) / 2)
    return f"{point_estimate(measure):.3f} ±{half:.3f}"


def _note(results: dict[str, Any], measures: dict[str, Measure]) -> str:
    images, task = results["pictures"], results.get("task", CLASSES)
    if task == NOTHING:
        text = f"{images['judge']:,} images without labels. "
    else:
        kind = f"{results['classes']} {'classes' if task == CLASSES else 'columns of labels'}"
        text = f"{images['judge']:,} test images of {kind}, "
        text += f"{images['learn']:,} training images. "
    if any("spread" in measure for measure in measures.values()):
        text += (
            "n-shot: 1-NN with n labels per class (± from draw to draw); "
            "others ± half a 95 % interval."
        )
    else:
        text += "± half a 95 % interval."
    if START in results["rows"]:
        text += f"\n{START}: the backbone with the initial weights of the run."
    lines = [*filter(None, [groups_note(results)]), *restrictions(results["rows"])]
    if untaught := results.get("untaught"):
        lines.append(f"Classes with test images but without training images: {first_of(untaught)}.")
    text += "".join(f"\n{line}" for line in lines)
    if results.get("left_out"):
        text += f"\nnot for labels of this kind: {', '.join(results['left_out'])}"
    return text


def groups_note(results: dict[str, Any]) -> str:
    """Return sentences about the number of groups in each split, or "" without groups."""
    groups = results.get("groups")
    if not groups:
        return ""
    both = f"{groups['both']:,}" if groups["both"] else "none"
    counted = (
        f"{groups['judge']:,} test groups, {groups['learn']:,} training groups, {both} on both "
        "sides"
    )
    if results.get("task", CLASSES) == NOTHING:
        counted = f"{groups['judge']:,}"
    prefix = "Held out by groups" if results.get("held_out_by") == "groups" else "Groups"
    one_group = "There is one test group: intervals do not describe other groups."
    sentences = [f"{prefix}: {counted}."]
    sentences.append("Intervals are over groups." if groups["judge"] > 1 else one_group)
    return " ".join(sentences)


def restrictions(rows: dict[str, dict[str, Measure]]) -> list[str]:
    """Return a sentence for each measurement that used less than all features, images or epochs."""
    lines = []
    for source, row in rows.items():
        components = next((int(m["components"]) for m in row.values() if "components" in m), None)
        if components is not None:
            lines.append(
                f"Linear probes use the first {components} principal components of {source}."
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
