"""The report of one run: everything gathered, drawn, and written as one file."""

from pathlib import Path
from typing import Any

from BYOL import __version__
from BYOL._files import write_atomically
from BYOL.data.open import Splits
from BYOL.export.snippet import loading_recipe
from BYOL.report.charts import draw_all
from BYOL.report.confusion import Confusion, given_confusion, measured_confusion
from BYOL.report.embedding_map import make_map
from BYOL.report.metric_descriptions import MEASURES, is_gauge
from BYOL.report.neighbours import make_gallery
from BYOL.report.results_table import note_of, others_note_of, tabulate
from BYOL.report.run_summary import Facts, finite, gather, settings_of
from BYOL.report.sample_features import Looking, Samples, look
from BYOL.report.standing import intervals
from BYOL.report.thumbnails import file_uri
from BYOL.report.verdict import verdict
from BYOL.runs.open import Run


def write_report(
    run: Run, splits: Splits | None, how: Looking, out: str | Path, missing: str | None = None
) -> Path:
    """Write the page of a run.

    Args:
        run: finished or not.
        splits: its pictures, or None where they are not to be had: then the sections that need
            them are left out, and the page says so.
        how: how pictures are looked at.
        out: the file.
        missing: why there are no pictures.

    Raises:
        UserError: a damaged file in the run's folder, pictures that cannot be read, or a page that
            cannot be written.
    """
    facts = gather(run)
    seen = _of_the_pictures(run, facts, splits, how)
    probe = seen["confusion"].accuracy if seen["confusion"] else None
    page = render(
        "report.html.j2",
        missing=missing,
        verdict=verdict(facts, probe),
        **_of_the_folder(facts),
        **seen,
    )
    return write_page(page, out)


def render(template: str, **context: Any) -> str:
    """Fill in a template. Everything from outside is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("BYOL.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(version=__version__, **context)


def write_page(page: str, out: str | Path) -> Path:
    """Write a page, whole or not at all."""
    # A file name need not be text; what cannot be encoded is shown as a question mark.
    data = page.encode("utf-8", "replace")
    return write_atomically(out, lambda temporary: temporary.write_bytes(data))


def _of_the_folder(facts: Facts) -> dict[str, Any]:
    drawn = draw_all({facts.name: facts.curves})
    settings = settings_of(facts.config)
    path = facts.folder.backbone
    return {
        "facts": facts,
        "config": facts.config,
        "tiles": _tiles(facts),
        "evidence": [
            table
            for title, e in facts.evaluations.items()
            for table in tabulate(title, e["rows"], note_of(e), others_note_of(e))
        ],
        "curves": [chart for name, chart in drawn.items() if not is_gauge(name)],
        "gauges": [chart for name, chart in drawn.items() if is_gauge(name)],
        "views": file_uri(facts.folder.views),
        "recipe": loading_recipe(facts.config, path),
        "exported": path.exists(),
        "settings": settings,
        "changed": [setting for setting in settings if setting.changed],
        "again": f"byol pretrain --config {facts.folder.config} --out NEW",
        "versions": {**facts.results.get("machine", {}), **facts.results.get("versions", {})},
    }


def _of_the_pictures(run: Run, facts: Facts, splits: Splits | None, how: Looking) -> dict[str, Any]:
    given = [given_confusion(e) for e in facts.evaluations.values()]
    confusion: Confusion | None = next((c for c in given if c), None)
    if splits is None:
        return {"samples": None, "gallery": None, "map": None, "confusion": confusion}
    samples: Samples = look(run, splits, how)
    size = run.config.sight.size
    return {
        "samples": samples,
        "gallery": make_gallery(samples, how.seed, size),
        "map": make_map(samples.queries, how.seed, size),
        "confusion": confusion or measured_confusion(samples, how.seed),
    }


def _tiles(facts: Facts) -> list[tuple[str, str, str]]:
    """Key figures: name, value, and what to hold it against."""
    tiles = []
    rows: dict[str, Any] = next((e["rows"] for e in facts.evaluations.values()), {})
    for name in ("linear", "knn20"):
        if name in rows.get("trained", {}):
            value, low, high = intervals(rows["trained"][name])
            tiles.append(
                (MEASURES[name], f"{value * 100:.1f} %", f"± {(high - low) / 2 * 100:.1f}")
            )
    gauges = facts.gauges
    if finite(gauges.get("std")):
        tiles.append(("spread of projections", f"{gauges['std']:.2f}", "of 1; 0 is collapse"))
    if finite(gauges.get("effective_rank")):
        most = min(facts.config.output_size, facts.config.micro_batch - 1)
        tiles.append(
            ("effective rank of projections", f"{gauges['effective_rank']:.1f}", f"of {most}")
        )
    if facts.results.get("pictures"):
        left_out = len(facts.results.get("pictures_left_out") or [])
        note = f"{left_out:,} could not be read" if left_out else "without labels"
        tiles.append(("pictures", f"{facts.results['pictures']:,}", note))
    seconds = facts.results.get("train_seconds")
    time = f"in {_duration(seconds)}" if seconds else f"of {facts.config.epochs}"
    tiles.append(("epochs", facts.epochs, time))
    if facts.pace:
        tiles.append(("speed", f"{facts.pace:,.0f}", "images a second"))
    return tiles


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
