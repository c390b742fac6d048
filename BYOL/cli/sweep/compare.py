"""Paired tests between the first variant of a sweep and the others."""

from collections.abc import Sequence
from typing import Any

from BYOL.cli.sweep.results import results_of
from BYOL.cli.sweep.spec import Cell
from BYOL.evaluation.comparison import independent_units
from BYOL.evaluation.deciding import deciding_measures
from BYOL.evaluation.paired import PairedTest, holm, pooled_test
from BYOL.evaluation.splits import HELD_OUT
from BYOL.evaluation.table import p_text
from BYOL.runs.evaluations import differences

_NOTE = (
    "p: paired test on the same test images, corrected for all variants and protocols (Holm). With "
    "several seeds the results of an image are averaged over them. The test does not describe the "
    "variation between seeds, which is the ± of the table above."
)


def compare_variants(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Compare every variant with the first one, in the deciding measures and with common seeds.

    Returns:
        For each variant and measure ``{variant, reference, measure, seeds, difference, p, p_holm,
        test}``, and the counts of McNemar's test. Variants that were evaluated on other test
        images, labels or by another metric and evaluations of older versions have none: see
        :func:`incomparable_note`.
    """
    if len(cells) < 2:
        return []
    evaluations = [_evaluations(cell) for cell in cells]
    tests: dict[tuple[int, str], tuple[PairedTest, int]] = {}
    for number, other in enumerate(evaluations[1:], start=1):
        for measure in _measures(evaluations[0], other):
            if compared := _compare(evaluations[0], other, measure):
                tests[number, measure] = compared
    corrected = holm({key: test.p for key, (test, _) in tests.items()})
    return [
        {
            "variant": cells[number].name, "reference": cells[0].name, "measure": measure,
            "seeds": seeds, **test.as_dict(), "p_holm": corrected[number, measure],
        }
        for (number, measure), (test, seeds) in tests.items()
    ]  # fmt: skip


def incomparable_note(cells: Sequence[Cell]) -> str:
    """Return lines that name the variants whose values are not comparable with the first; or ""."""
    evaluations = [_evaluations(cell) for cell in cells]
    lines = []
    for cell, other in zip(cells[1:], evaluations[1:], strict=True):
        common = [seed for seed in evaluations[0] if seed in other]
        found = dict.fromkeys(
            text for seed in common for text in differences(evaluations[0][seed], other[seed])
        )
        if found:
            lines.append(
                f"{_cell(cells[0].name)} and {_cell(cell.name)} are not compared, because their "
                f"evaluations differ in {' and '.join(found)}."
            )
    return "\n".join(lines)


def comparison_table(comparisons: Sequence[dict[str, Any]]) -> str:
    """Return the result of :func:`compare_variants` as a Markdown table, or ""."""
    if not comparisons:
        return ""
    measures = list(dict.fromkeys(c["measure"] for c in comparisons))
    lines = [
        "| " + " | ".join([f"minus {_cell(comparisons[0]['reference'])}", *measures]) + " |",
        "|" + "---|" * (len(measures) + 1),
    ]
    for variant in dict.fromkeys(c["variant"] for c in comparisons):
        found = {c["measure"]: c for c in comparisons if c["variant"] == variant}
        cells = (
            f"{c['difference']:+.3f} ({p_text(c['p_holm'])})" if (c := found.get(measure)) else ""
            for measure in measures
        )
        lines.append("| " + " | ".join([_cell(variant), *cells]) + " |")
    return "\n".join([*lines, "", _NOTE])


def _cell(name: str) -> str:
    return " ".join(name.replace("|", "\\|").split())


def _evaluations(cell: Cell) -> dict[int, dict[str, Any]]:
    """Return the evaluations of the complete runs of a variant, by seed."""
    complete = {run.seed: results_of(run) for run in cell.runs}
    return {seed: r["evaluation"] for seed, r in complete.items() if r and r["evaluation"]}


def _measures(reference: dict[int, dict[str, Any]], other: dict[int, dict[str, Any]]) -> list[str]:
    common = [seed for seed in reference if seed in other]
    if not common:
        return []
    first, second = (found[common[0]]["rows"].get("trained", {}) for found in (reference, other))
    names = [name for name in first if name in second]
    return list(deciding_measures(names, reference[common[0]].get("metric")).values())


def _compare(
    reference: dict[int, dict[str, Any]], other: dict[int, dict[str, Any]], measure: str
) -> tuple[PairedTest, int] | None:
    """Return the test of one measure and the number of seeds, or None if there is no test."""
    pairs, digests = [], set()
    for seed, first in reference.items():
        second = other.get(seed, {})
        if None in (first.get("test_digest"), second.get("test_digest")):
            continue
        if differences(first, second):
            continue
        rows = first["rows"].get("trained", {}), second["rows"].get("trained", {})
        if all(measure in row for row in rows):
            pairs.append((rows[1][measure], rows[0][measure]))
            digests.add(first["test_digest"])
    if not pairs:
        return None
    # Without test images, every seed holds out a share of the labelled images of its own.
    overlap = HELD_OUT if len(digests) > 1 else 0.0
    test = pooled_test(pairs, independent_units(next(iter(reference.values()))), overlap)
    return (test, len(pairs)) if test else None
