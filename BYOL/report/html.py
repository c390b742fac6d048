"""The report page of one run."""

from pathlib import Path
from typing import Any

from BYOL import __version__
from BYOL._files import write_atomically
from BYOL.data.sources import Splits
from BYOL.export.snippet import loading_recipe
from BYOL.report.charts import draw_all
from BYOL.report.confusion import Confusion, fit_confusion, recorded_confusion
from BYOL.report.embedding_map import build_embedding_map
from BYOL.report.metric_descriptions import MEASURES, is_collapse_metric
from BYOL.report.neighbours import build_gallery
from BYOL.report.results_table import accuracy_note, intervals, measures_note, tabulate
from BYOL.report.run_summary import RunSummary, finite, list_settings, read_run_summary
from BYOL.report.sample_features import SampleConfig, Samples, sample_features
from BYOL.report.thumbnails import file_uri
from BYOL.report.verdict import verdict
from BYOL.runs.open import Run


def write_report(
    run: Run,
    splits: Splits | None,
    sample_config: SampleConfig,
    out: str | Path,
    missing: str | None = None,
) -> Path:
    """Write the report page of ``run``.

    Args:
        run: a finished or unfinished run.
        splits: the images of the run, or None if they are not available. Then the page omits the
            sections that need them and says so.
        sample_config: how features are computed.
        out: the file to write.
        missing: the reason if there are no images.

    Raises:
        UserError: a file of the run folder is damaged, the images cannot be read, or the page
            cannot be written.
    """
    facts = read_run_summary(run)
    image_sections = _image_sections(run, facts, splits, sample_config)
    confusion = image_sections["confusion"]
    probe = confusion.accuracy if confusion else None
    page = render(
        "report.html.j2",
        missing=missing,
        verdict=verdict(facts, probe),
        **_folder_sections(facts),
        **image_sections,
    )
    return write_page(page, out)


def render(template: str, **context: Any) -> str:
    """Fill in a template. All values are escaped."""
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
    """Write a page atomically."""
    # Undecodable bytes of file names cannot be encoded and are shown as question marks.
    data = page.encode("utf-8", "replace")
    return write_atomically(out, lambda temporary: temporary.write_bytes(data))


def _folder_sections(facts: RunSummary) -> dict[str, Any]:
    """Return the template values that come from the files of the run folder."""
    charts = draw_all({facts.name: facts.curves})
    settings = list_settings(facts.config)
    path = facts.folder.backbone
    return {
        "facts": facts,
        "config": facts.config,
        "tiles": _tiles(facts),
        "evidence": [
            table
            for title, e in facts.evaluations.items()
            for table in tabulate(title, e["rows"], accuracy_note(e), measures_note(e))
        ],
        "curves": [chart for name, chart in charts.items() if not is_collapse_metric(name)],
        "collapse_metrics": [chart for name, chart in charts.items() if is_collapse_metric(name)],
        "views": file_uri(facts.folder.views),
        "recipe": loading_recipe(facts.config, path),
        "exported": path.exists(),
        "settings": settings,
        "changed": [setting for setting in settings if setting.changed],
        "command": f"byol pretrain --config {facts.folder.config} --out NEW",
        "versions": {**facts.results.get("machine", {}), **facts.results.get("versions", {})},
    }


def _image_sections(
    run: Run, facts: RunSummary, splits: Splits | None, sample_config: SampleConfig
) -> dict[str, Any]:
    """Return the template values that need the images of the run."""
    recorded = [recorded_confusion(e) for e in facts.evaluations.values()]
    confusion: Confusion | None = next((c for c in recorded if c), None)
    if splits is None:
        return {"samples": None, "gallery": None, "map": None, "confusion": confusion}
    samples: Samples = sample_features(run, splits, sample_config)
    size = run.config.input_spec.size
    return {
        "samples": samples,
        "gallery": build_gallery(samples, sample_config.seed, size),
        "map": build_embedding_map(samples.queries, sample_config.seed, size),
        "confusion": confusion or fit_confusion(samples, sample_config.seed),
    }


def _tiles(facts: RunSummary) -> list[tuple[str, str, str]]:
    """Return the key figures: name, value, and a reference value or unit."""
    tiles = []
    rows: dict[str, Any] = next((e["rows"] for e in facts.evaluations.values()), {})
    for name in ("linear", "knn20"):
        if name in rows.get("trained", {}):
            value, low, high = intervals(rows["trained"][name])
            tiles.append(
                (MEASURES[name], f"{value * 100:.1f} %", f"± {(high - low) / 2 * 100:.1f}")
            )
    metrics = facts.collapse_metrics
    if finite(metrics.get("std")):
        tiles.append(("projection std", f"{metrics['std']:.2f}", "of 1; 0 is a collapse"))
    if finite(metrics.get("centred_rank")):
        largest = min(facts.config.output_size, facts.config.micro_batch - 1)
        tiles.append(("projection rank", f"{metrics['centred_rank']:.1f}", f"of {largest}"))
    if facts.results.get("pictures"):
        unreadable = len(facts.results.get("pictures_left_out") or [])
        note = f"{unreadable:,} could not be read" if unreadable else "without labels"
        tiles.append(("training images", f"{facts.results['pictures']:,}", note))
    seconds = facts.results.get("train_seconds")
    time = f"in {_duration(seconds)}" if seconds else f"of {facts.config.epochs}"
    tiles.append(("epochs", facts.epochs, time))
    if facts.images_per_second:
        tiles.append(("speed", f"{facts.images_per_second:,.0f}", "images per second"))
    return tiles


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
