"""The results of an evaluation in a model card."""

from typing import Any

from BYOL.config.tasks import CLASSES, NOTHING
from BYOL.evaluation.baselines import START
from BYOL.evaluation.bootstrap import point_estimate
from BYOL.evaluation.class_summary import shown_rows
from BYOL.evaluation.table import (
    class_lines,
    classes_without_training_images,
    comparison_sentences,
    groups_note,
    restrictions,
)
from BYOL.export.markdown import plain


def measures_of(evaluation: dict[str, Any]) -> str:
    """Return the measures of an evaluation as a table, with sentences about them."""
    rows = shown_rows(evaluation)
    is_accuracy = {
        name: "accuracy" in measure
        for measures in rows.values()
        for name, measure in measures.items()
    }
    heading = "accuracy" if all(is_accuracy.values()) else "measure"
    lines = [
        f"| {heading} | " + " | ".join(map(plain, is_accuracy)) + " |",
        "|---" * (len(is_accuracy) + 1) + "|",
    ]
    for source, measures in rows.items():
        cells = (
            f"{point_estimate(measures[name]):.3f}" if name in measures else "–"
            for name in is_accuracy
        )
        lines.append(f"| {plain(source)} | " + " | ".join(cells) + " |")
    counts = evaluation.get("pictures")
    if counts is None:
        return "\n".join(lines)
    known = evaluation.get("task", CLASSES) == CLASSES and "classes" in evaluation
    classes = f" of {evaluation['classes']} classes" if known else ""
    images = f"test images{classes}, labels of {counts['learn']:,} training images"
    if evaluation.get("task") == NOTHING:
        images = "images without labels"
    note = (
        f"Frozen features, {counts['judge']:,} {images}. The raw pixels and the same network "
        "without training were evaluated in the same way."
    ) + (f" {START}: the weights that the training started from." if START in rows else "")
    sentences = [*class_lines(evaluation), *_warnings(evaluation)]
    sentences += comparison_sentences(evaluation)
    return "\n".join([*lines, "", " ".join([note, *map(plain, sentences)])])


def _warnings(evaluation: dict[str, Any]) -> list[str]:
    """Return sentences about what the images and the features of an evaluation do not show."""
    sentences = [groups_note(evaluation), *classes_without_training_images(evaluation)]
    sentences += restrictions(evaluation["rows"])
    leakage = evaluation.get("leakage") or {}
    if leaked := leakage.get("leaked"):
        verb = "has" if leaked == 1 else "have"
        sentences.append(
            f"Of {leakage['checked']:,} checked test images, {leaked:,} {verb} a near-copy among "
            "the training images, so the values may be too good."
        )
    return [sentence for sentence in sentences if sentence]
