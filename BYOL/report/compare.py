"""The page that compares several runs."""

import dataclasses
import string
from pathlib import Path
from typing import Any

from BYOL.data.sources import Splits
from BYOL.evaluation.class_summary import shown_rows
from BYOL.evaluation.comparison import BASELINES, compare_evaluations
from BYOL.evaluation.table import run_comparison_sentences
from BYOL.report.charts import draw_all
from BYOL.report.html import render, write_page
from BYOL.report.metric_descriptions import is_collapse_metric
from BYOL.report.neighbours import Gallery, build_gallery
from BYOL.report.results_table import (
    ResultsTable,
    accuracy_note,
    measures_note,
    tabulate,
)
from BYOL.report.run_summary import RunSummary, differing_settings, read_run_summary
from BYOL.report.sample_features import SampleConfig, sample_features
from BYOL.report.verdict import verdict
from BYOL.runs.evaluations import differences
from BYOL.runs.open import Run

_INCOMPARABLE = (
    "The runs were evaluated on different test images, labels or metrics, so their columns cannot "
    "be compared."
)
MOST = 8  # runs whose curves can be distinguished


@dataclasses.dataclass(frozen=True)
class Queries:
    """The nearest neighbours of the same queries in several runs.

    Args:
        galleries: name of the run → gallery, all with the same queries.
        missing: the reason if there are no galleries.
        agreement: a sentence about the labels of the neighbours; "" without labels.
    """

    galleries: dict[str, Gallery]
    missing: str | None = None
    agreement: str = ""


def write_comparison(
    runs: list[Run],
    images: list[Splits | None],
    sample_config: SampleConfig,
    out: str | Path,
    missing: str | None = None,
) -> Path:
    """Write the page that compares ``runs``.

    Args:
        runs: two or more runs in the order of the page.
        images: the images of each run, or None if they are not available.
        sample_config: how features are computed.
        out: the file to write.
        missing: the reason if a run has no images.

    Raises:
        UserError: as for :func:`BYOL.report.html.write_report`.
    """
    letters = string.ascii_uppercase[: len(runs)]
    facts = {
        letter: read_run_summary(run.folder, run.config, run.weights_digest)
        for letter, run in zip(letters, runs, strict=True)
    }
    charts = draw_all({letter: f.curves for letter, f in facts.items()})
    page = render(
        "compare.html.j2",
        facts=facts,
        verdicts={letter: verdict(f) for letter, f in facts.items()},
        differing_settings=differing_settings([f.config for f in facts.values()]),
        evidence=_results(facts),
        compared=run_comparison_sentences(compare_evaluations(_evaluations(facts))),
        curves=[chart for name, chart in charts.items() if not is_collapse_metric(name)],
        collapse_metrics=[chart for name, chart in charts.items() if is_collapse_metric(name)],
        omitted=_in_other_units(facts),
        queries=_queries(dict(zip(letters, runs, strict=True)), images, sample_config, missing),
    )
    return write_page(page, out)


def _results(facts: dict[str, RunSummary]) -> list[ResultsTable]:
    """Return tables with the results of every run and the baselines of the first run."""
    evaluations = _evaluations(facts)
    if not evaluations:
        return []
    first = next(iter(evaluations))
    shown = {k: shown_rows(e) for k, e in evaluations.items()}
    baselines = [source for source in BASELINES if source in shown[first]]
    rows: dict[str, Any] = {f"{source} ({first})": shown[first][source] for source in baselines}
    rows |= {k: e["trained"] for k, e in shown.items() if "trained" in e}
    differing = any(differences(evaluations[first], e) for e in evaluations.values())
    warning = f"{_INCOMPARABLE} The numbers of images below are those of {first}. "
    notes = (
        (warning if differing else "") + note(evaluations[first])
        for note in (accuracy_note, measures_note)
    )
    return tabulate("Results", rows, *notes)


def _evaluations(facts: dict[str, RunSummary]) -> dict[str, dict[str, Any]]:
    """Return one evaluation of every run that has any: those that most runs can be compared in."""
    found = {
        k: [e.content for e in f.output_evaluations]
        for k, f in facts.items()
        if f.output_evaluations
    }
    most: dict[str, dict[str, Any]] = {}
    largest = 0
    for reference in (e for evaluations in found.values() for e in evaluations):
        alike = {
            k: next((e for e in evaluations if not differences(reference, e)), None)
            for k, evaluations in found.items()
        }
        count = sum(e is not None for e in alike.values())
        if count > largest:
            most = {k: e or found[k][0] for k, e in alike.items()}
            largest = count
    return most


def _in_other_units(facts: dict[str, RunSummary]) -> list[str]:
    unit = next(iter(facts.values())).curves.unit
    return [letter for letter, f in facts.items() if f.curves.unit != unit]


def _queries(
    runs: dict[str, Run],
    images: list[Splits | None],
    sample_config: SampleConfig,
    missing: str | None,
) -> Queries:
    if missing or any(splits is None for splits in images):
        return Queries({}, missing)
    galleries, sources = {}, {}
    for (letter, run), splits in zip(runs.items(), images, strict=True):
        assert splits is not None
        samples = sample_features(run, splits, sample_config)
        gallery = build_gallery(samples, sample_config.seed, run.config.input_spec.size)
        if gallery is None:
            return Queries({}, "there are too few images")
        galleries[letter], sources[letter] = gallery, samples.label_source
    queries = {tuple(query.name for query, _ in gallery.rows) for gallery in galleries.values()}
    if len(queries) > 1:
        return Queries({}, "the runs were trained on different images; set --data to common images")
    return Queries(galleries, agreement=agreement_sentence(galleries, sources))


def agreement_sentence(galleries: dict[str, Gallery], sources: dict[str, str]) -> str:
    """Return a sentence about the labels of the neighbours in each gallery; "" without labels.

    Args:
        galleries: name of the run → gallery.
        sources: name of the run → where its labels are from.
    """
    known = {letter: g for letter, g in galleries.items() if g.same_label is not None}
    if not known:
        return ""
    first = next(iter(known.values()))
    start = f"Mean number of neighbours, of {first.count}, with the label of the query"
    if len({(sources[letter], g.chance) for letter, g in known.items()}) == 1:
        values = ", ".join(f"{letter} {g.same_label:.1f}" for letter, g in known.items())
        source = sources[next(iter(known))]
        return (
            f"{start} ({source}), over all queries: {values}; random neighbours would give "
            f"{first.chance:.1f}."
        )
    values = ", ".join(
        f"{letter} {g.same_label:.1f} ({sources[letter]}; random neighbours {g.chance:.1f})"
        for letter, g in known.items()
    )
    return f"{start}, over all queries: {values}. They are not comparable."
