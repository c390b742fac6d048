"""Comparison of the rows of an evaluation, of several runs, and of the variants of a sweep.

Two results on the same test images are compared by a paired test (:mod:`BYOL.evaluation.paired`).
The p-values of the deciding measures are corrected by Holm's method, once for every pair of
backbones. Evaluations of older versions have no outcomes of single images. For them "better" means
that the 95 % intervals do not overlap, and :data:`UNPAIRED` says so. Evaluations of different test
images, labels or metrics are not compared: see :func:`BYOL.runs.evaluations.differences`.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from BYOL.config.tasks import Measure, Measures
from BYOL.evaluation.bootstrap import Interval, interval_of, point_estimate
from BYOL.evaluation.deciding import deciding_measures
from BYOL.evaluation.paired import LEVEL, PairedTest, holm, paired_test
from BYOL.runs.evaluations import differences

BASELINES = ("raw pixels", "untrained", "start", "teacher")
UNPAIRED = (
    "The outcomes of single test images were not stored by the version that evaluated this run, "
    'so "better" means that 95 % intervals do not overlap. Evaluate it again for a paired test.'
)
# last words of measures that show which of two results is better
_COMPARABLE = ("NMI", "ARI", "mAP", "F1", "R²", "MAE", "R@1", "R@5", "R@10", "accuracy", "AUROC",
               "AP")  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """The comparison of two backbones in one measure.

    Args:
        measure: the measure.
        protocol: the protocol that the measure decides, or "" if it decides none.
        difference: the first result minus the second one.
        sign: 1 if the first is better, -1 if the second is better, 0 if no difference is shown.
        p_corrected: p-value after Holm's correction, None without a paired test.
        test: the paired test, or None without outcomes of single images.
    """

    measure: str
    protocol: str
    difference: float
    sign: int
    p_corrected: float | None = None
    test: PairedTest | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison for JSON."""
        found: dict[str, Any] = {"measure": self.measure, "difference": self.difference}
        if self.protocol:
            found["decides"] = self.protocol
        if self.test:
            found |= self.test.as_dict() | {"p_holm": self.p_corrected}
        return {**found, "better": self.sign}


@dataclass(frozen=True)
class BaselineComparison:
    """The comparison of the trained backbone with the baselines in one protocol.

    Args:
        protocol: few-label, k-NN or linear-probe.
        measure: the measure that is compared.
        trained: value, low and high of the trained backbone.
        baselines: value, low and high of each baseline.
        signs: for each baseline 1 if the trained backbone is better, -1 if it is worse, and 0 if
            no difference is shown.
        p_values: for each baseline the corrected p-value; empty without paired tests.
    """

    protocol: str
    measure: str
    trained: Interval
    baselines: dict[str, Interval]
    signs: dict[str, int]
    p_values: dict[str, float]


def independent_units(evaluation: Mapping[str, Any]) -> int:
    """Return the number of independent units of the test set: groups if there are several."""
    groups = int((evaluation.get("groups") or {}).get("judge", 0))
    return groups if groups > 1 else int((evaluation.get("pictures") or {}).get("judge", 0))


def compare_rows(
    first: Measures, second: Measures, units: int, metric: str | None = None
) -> list[Comparison]:
    """Compare two rows of an evaluation in all measures that both have.

    Args:
        first: the measures of a backbone.
        second: the measures of another one on the same images.
        units: see :func:`independent_units`.
        metric: the metric that decides; see :mod:`BYOL.evaluation.deciding`.
    """
    shared = [name for name in first if name in second and _is_comparable(name, first[name])]
    deciding = {name: p for p, name in deciding_measures(shared, metric).items()}
    tests = {name: paired_test(first[name], second[name], units) for name in shared}
    others = [name for name in shared if name not in deciding]
    corrected = _corrected(tests, list(deciding)) | _corrected(tests, others)
    return [
        _comparison(
            name, deciding.get(name, ""), first[name], second[name], tests[name],
            corrected.get(name),
        )
        for name in shared
    ]  # fmt: skip


def compare_with_baselines(evaluation: Mapping[str, Any]) -> list[BaselineComparison]:
    """Return a comparison for each protocol that has results of the backbone and of a baseline."""
    rows = evaluation.get("rows") or {}
    trained = rows.get("trained", {})
    found: dict[tuple[str, str], dict[str, Comparison]] = {}
    for name in BASELINES:
        for c in compare_rows(
            trained, rows.get(name, {}), independent_units(evaluation), evaluation.get("metric")
        ):
            if c.protocol:
                found.setdefault((c.protocol, c.measure), {})[name] = c
    return [
        BaselineComparison(
            protocol,
            measure,
            interval_of(trained[measure]),
            {name: interval_of(rows[name][measure]) for name in by_baseline},
            {name: c.sign for name, c in by_baseline.items()},
            {n: c.p_corrected for n, c in by_baseline.items() if c.p_corrected is not None},
        )
        for (protocol, measure), by_baseline in found.items()
    ]


def comparisons_of(evaluation: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the comparisons of the trained backbone with every other row, for JSON."""
    rows = evaluation["rows"]
    settings = independent_units(evaluation), evaluation.get("metric")
    return {
        name: [c.as_dict() for c in compare_rows(rows["trained"], row, *settings)]
        for name, row in rows.items()
        if name != "trained" and "trained" in rows
    }


def better_baselines(evaluation: Mapping[str, Any], baseline: str) -> list[str]:
    """Return the measures that decide nothing and in which ``baseline`` is better."""
    rows = evaluation.get("rows") or {}
    compared = compare_rows(
        rows.get("trained", {}), rows.get(baseline, {}), independent_units(evaluation),
        evaluation.get("metric"),
    )  # fmt: skip
    return [c.measure for c in compared if not c.protocol and c.sign == -1]


def compare_intervals(measure: str, first: Interval, second: Interval) -> int:
    """Return 1 if ``first`` is better than ``second``, -1 if it is worse, 0 if the two overlap."""
    above = (first[1] > second[2]) - (first[2] < second[1])
    return -above if measure.endswith("MAE") else above


@dataclass(frozen=True)
class RunComparison:
    """The comparison of two runs on the same test images.

    Args:
        first: name of the first run.
        second: name of the second run.
        comparisons: one for each protocol; empty if the two are not compared.
        note: why there are no paired tests, or "".
        obstacle: why the two are not compared, or "".
    """

    first: str
    second: str
    comparisons: tuple[Comparison, ...]
    note: str = ""
    obstacle: str = ""


def compare_evaluations(evaluations: Mapping[str, Mapping[str, Any]]) -> list[RunComparison]:
    """Compare the trained backbones of several evaluations, each with each.

    Holm's correction is over all of the comparisons.

    Args:
        evaluations: name of the run → its evaluation.
    """
    names = [name for name, e in evaluations.items() if "trained" in (e.get("rows") or {})]
    pairs = list(itertools.combinations(names, 2))
    obstacles = {(a, b): _obstacle(evaluations[a], evaluations[b]) for a, b in pairs}
    tests: dict[tuple[str, str, str], PairedTest | None] = {}
    for a, b in (pair for pair in pairs if not obstacles[pair]):
        first, second = evaluations[a], evaluations[b]
        paired, units = not _unpaired_note(first, second), independent_units(first)
        for measure in _deciding_of_both(first, second).values():
            results = first["rows"]["trained"][measure], second["rows"]["trained"][measure]
            tests[a, b, measure] = paired_test(*results, units) if paired else None
    corrected = holm({key: test.p for key, test in tests.items() if test})
    return [
        RunComparison(a, b, (), obstacle=obstacle)
        if (obstacle := obstacles[a, b])
        else RunComparison(
            a,
            b,
            tuple(_between(evaluations, a, b, tests, corrected)),
            _unpaired_note(evaluations[a], evaluations[b]),
        )
        for a, b in pairs
    ]


def _obstacle(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """Return why two evaluations are not compared, or ""."""
    if differing := differences(first, second):
        return f"their evaluations differ in {' and '.join(differing)}"
    return "" if _deciding_of_both(first, second) else "they have no deciding measure in common"


def _between(
    evaluations: Mapping[str, Mapping[str, Any]],
    a: str,
    b: str,
    tests: Mapping[tuple[str, str, str], PairedTest | None],
    corrected: Mapping[tuple[str, str, str], float],
) -> Iterator[Comparison]:
    rows = evaluations[a]["rows"]["trained"], evaluations[b]["rows"]["trained"]
    for protocol, measure in _deciding_of_both(evaluations[a], evaluations[b]).items():
        key = a, b, measure
        results = rows[0][measure], rows[1][measure]
        yield _comparison(measure, protocol, *results, tests[key], corrected.get(key))


def _deciding_of_both(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, str]:
    second_row = second["rows"]["trained"]
    shared = [name for name in first["rows"]["trained"] if name in second_row]
    return deciding_measures(shared, first.get("metric"))


def _unpaired_note(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    return UNPAIRED if None in (first.get("test_digest"), second.get("test_digest")) else ""


def _is_comparable(name: str, measure: Measure) -> bool:
    return "accuracy" in measure or name.split()[-1] in _COMPARABLE


def _corrected(tests: Mapping[str, PairedTest | None], names: Sequence[str]) -> dict[str, float]:
    return holm({name: test.p for name in names if (test := tests[name])})


def _comparison(
    name: str,
    protocol: str,
    first: Measure,
    second: Measure,
    test: PairedTest | None,
    corrected: float | None,
) -> Comparison:
    difference = point_estimate(first) - point_estimate(second)
    if test is None or corrected is None:
        sign = compare_intervals(name, interval_of(first), interval_of(second))
        return Comparison(name, protocol, difference, sign)
    sign = int(np.sign(difference)) if corrected < LEVEL else 0
    sign = -sign if name.endswith("MAE") else sign
    return Comparison(name, protocol, difference, sign, corrected, test)
