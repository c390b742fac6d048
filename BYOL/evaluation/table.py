"""The rows of an evaluation as tables for a terminal."""

import io
from typing import Any

from BYOL._console import first_of
from BYOL.config.tasks import CLASSES, NOTHING, Measure
from BYOL.evaluation.baselines import START
from BYOL.evaluation.bootstrap import level

COLUMNS = 5  # that fit a terminal
WIDTH = 100


def results_text(results: dict[str, Any]) -> str:
    """What :func:`BYOL.evaluation.evaluate.evaluate` found: tables and a note.

    Accuracies come first, then what is none; a dash where a source has no such measure.
    """
    from rich.console import Console

    rows = results["rows"]
    measures = {name: m for row in rows.values() for name, m in row.items()}
    console = Console(file=io.StringIO(), width=WIDTH)
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
    return f"{level(measure):.3f} ±{half:.3f}"


def _note(results: dict[str, Any], measures: dict[str, Measure]) -> str:
    pictures, task = results["pictures"], results.get("task", CLASSES)
    if task == NOTHING:
        said = f"{pictures['judge']:,} pictures without labels. "
    else:
        kind = f"{results['classes']} {'classes' if task == CLASSES else 'columns of labels'}"
        said = f"{pictures['judge']:,} held-out pictures of {kind}, labels of "
        said += f"{pictures['learn']:,}. "
    if any("spread" in measure for measure in measures.values()):
        said += (
            "n-shot: 1-NN with n labels per class (± from draw to draw); "
            "others ± half a 95 % interval."
        )
    else:
        said += "± half a 95 % interval."
    if START in results["rows"]:
        said += f"\n{START}: the backbone with the weights that the run began with."
    lines = [*filter(None, [groups_note(results)]), *restrictions(results["rows"])]
    if untaught := results.get("untaught"):
        lines.append(f"Classes that judge without a picture to learn from: {first_of(untaught)}.")
    said += "".join(f"\n{line}" for line in lines)
    if results.get("left_out"):
        said += f"\nnot for labels of this kind: {', '.join(results['left_out'])}"
    return said


def groups_note(results: dict[str, Any]) -> str:
    """Which groups of pictures learnt and judged; nothing where there are none."""
    groups = results.get("groups")
    if not groups:
        return ""
    both = f"{groups['both']:,}" if groups["both"] else "none"
    counted = (
        f"{groups['judge']:,} to judge, {groups['learn']:,} to learn from, {both} on both sides"
    )
    if results.get("task", CLASSES) == NOTHING:
        counted = f"{groups['judge']:,}"
    how = "Held out by groups" if results.get("held_out_by") == "groups" else "Groups"
    one = "One group judges: intervals say nothing of other groups."
    said = [f"{how}: {counted}.", "Intervals are over groups." if groups["judge"] > 1 else one]
    return " ".join(said)


def restrictions(rows: dict[str, dict[str, Measure]]) -> list[str]:
    """Where a measurement saw less than all there is: a sentence each."""
    lines = []
    for source, row in rows.items():
        seen = next((int(m["components"]) for m in row.values() if "components" in m), None)
        if seen is not None:
            lines.append(f"Linear probes see the first {seen} principal components of {source}.")
    measures = {name: m for row in rows.values() for name, m in row.items()}
    taken = next((int(m["learnt_from"]) for m in measures.values() if "learnt_from" in m), None)
    if taken is not None:
        lines.append(f"The linear probe learns from {taken:,} pictures, evenly of every class.")
    if "crops" in measures.get("linear-sgd", {}):
        crops = int(measures["linear-sgd"]["crops"])
        lines.append(f"linear-sgd: {crops} random crops of every picture.")
    epochs = dict.fromkeys(
        f"{int(m['epochs'])} with {name.removeprefix('finetune ').split()[0]}"
        for name, m in measures.items()
        if "epochs" in m
    )
    if epochs:
        lines.append(f"finetune: epochs {', '.join(epochs)} of the labels.")
    return lines
