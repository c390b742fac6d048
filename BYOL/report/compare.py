"""Several runs beside each other on one page."""

import dataclasses
import string
from pathlib import Path
from typing import Any

from BYOL.data.open import Splits
from BYOL.report.charts import draw_all
from BYOL.report.html import render, write_page
from BYOL.report.metric_descriptions import is_gauge
from BYOL.report.neighbours import Gallery, make_gallery
from BYOL.report.results_table import Evidence, note_of, others_note_of, tabulate
from BYOL.report.run_summary import Facts, differing, gather
from BYOL.report.sample_features import Looking, look
from BYOL.report.standing import REFERENCES
from BYOL.report.verdict import verdict
from BYOL.runs.open import Run

MOST = 8  # runs whose curves can still be told apart


@dataclasses.dataclass(frozen=True)
class Queries:
    """Neighbours of the same queries in several runs.

    Args:
        galleries: name → gallery, all with the same queries.
        missing: why there are none.
    """

    galleries: dict[str, Gallery]
    missing: str | None = None


def write_comparison(
    runs: list[Run],
    pictures: list[Splits | None],
    how: Looking,
    out: str | Path,
    missing: str | None = None,
) -> Path:
    """Write the page that compares runs.

    Args:
        runs: two or more, in the order in which they are shown.
        pictures: of each run; all the same object where they are the same pictures.
        how: how pictures are looked at.
        out: the file.
        missing: why a run has no pictures.

    Raises:
        UserError: as for one run.
    """
    letters = string.ascii_uppercase[: len(runs)]
    facts = {letter: gather(run) for letter, run in zip(letters, runs, strict=True)}
    drawn = draw_all({letter: f.curves for letter, f in facts.items()})
    page = render(
        "compare.html.j2",
        facts=facts,
        verdicts={letter: verdict(f) for letter, f in facts.items()},
        differing=differing([f.config for f in facts.values()]),
        evidence=_side_by_side(facts),
        curves=[chart for name, chart in drawn.items() if not is_gauge(name)],
        gauges=[chart for name, chart in drawn.items() if is_gauge(name)],
        undrawn=_in_other_units(facts),
        queries=_queries(dict(zip(letters, runs, strict=True)), pictures, how, missing),
    )
    return write_page(page, out)


def _side_by_side(facts: dict[str, Facts]) -> list[Evidence]:
    """What every run reached, and the references, which are the first run's."""
    found = {k: next(iter(f.evaluations.values())) for k, f in facts.items() if f.evaluations}
    if not found:
        return []
    first = next(iter(found))
    rows: dict[str, Any] = {
        f"{source} ({first})": found[first]["rows"][source]
        for source in REFERENCES
        if source in found[first]["rows"]
    }
    rows |= {k: e["rows"]["trained"] for k, e in found.items() if "trained" in e["rows"]}
    keys = ("pictures", "classes", "groups")
    judged = {str([e.get(key) for key in keys]) for e in found.values()}
    warning = "" if len(judged) == 1 else "The runs were judged by different pictures. "
    notes = (warning + note(found[first]) for note in (note_of, others_note_of))
    return tabulate("Accuracy", rows, *notes)


def _in_other_units(facts: dict[str, Facts]) -> list[str]:
    unit = next(iter(facts.values())).curves.unit
    return [letter for letter, f in facts.items() if f.curves.unit != unit]


def _queries(
    runs: dict[str, Run], pictures: list[Splits | None], how: Looking, missing: str | None
) -> Queries:
    if missing or any(splits is None for splits in pictures):
        return Queries({}, missing)
    galleries = {}
    for (letter, run), splits in zip(runs.items(), pictures, strict=True):
        assert splits is not None
        gallery = make_gallery(look(run, splits, how), how.seed, run.config.sight.size)
        if gallery is None:
            return Queries({}, "there are too few pictures")
        galleries[letter] = gallery
    asked = {tuple(query.name for query, _ in gallery.rows) for gallery in galleries.values()}
    if len(asked) > 1:
        return Queries({}, "the runs were trained on different pictures; --data names common ones")
    return Queries(galleries)
