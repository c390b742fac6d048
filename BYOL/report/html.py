"""The report page of one run."""

import shlex
from pathlib import Path
from typing import Any

from BYOL import __version__
from BYOL._console import counted
from BYOL._files import write_atomically
from BYOL._waiting import waiting
from BYOL.config.backbone_spec import BackboneSpec
from BYOL.data.sources import Splits
from BYOL.evaluation.class_summary import shown_rows
from BYOL.evaluation.table import class_lines
from BYOL.export.snippet import loading_recipe
from BYOL.report.advice import advise
from BYOL.report.charts import draw_all
from BYOL.report.confusion import fit_confusion, recorded_confusion
from BYOL.report.embedding_map import build_embedding_map
from BYOL.report.metric_descriptions import is_collapse_metric
from BYOL.report.neighbours import build_gallery
from BYOL.report.results_table import accuracy_note, measures_note, tabulate
from BYOL.report.run_figures import run_figures
from BYOL.report.run_summary import RunSummary, list_settings, read_run_summary
from BYOL.report.sample_features import SampleConfig, Samples, sample_features
from BYOL.report.text_tables import (
    collapse_table,
    comparison_table,
    near_copies,
    recall_table,
)
from BYOL.report.thumbnails import file_uri
from BYOL.report.verdict import verdict
from BYOL.runs.open import Run


@waiting("writing the report")
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
    facts = read_run_summary(run.folder, run.config, run.weights_digest)
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


_CONTROLS = dict.fromkeys({*range(32), *range(127, 160)} - set(map(ord, "\t\n\r")), "?")


def write_page(page: str, out: str | Path) -> Path:
    """Write a page atomically."""
    # Undecodable bytes and control characters of file names are shown as question marks.
    data = page.translate(_CONTROLS).encode("utf-8", "replace")
    return write_atomically(out, lambda temporary: temporary.write_bytes(data))


def _folder_sections(facts: RunSummary) -> dict[str, Any]:
    """Return the template values that come from the files of the run folder."""
    evaluation = facts.main_evaluation
    noteworthy = evaluation.get("unequal") or evaluation.get("constant")
    charts = draw_all({facts.name: facts.curves})
    settings = list_settings(facts)
    path = facts.folder.backbone
    return {
        "facts": facts,
        "config": facts.config,
        "key_figures": _key_figures(facts),
        "compared": comparison_table(evaluation),
        "leakage": evaluation.get("leakage") or {},
        "near_copies": near_copies(evaluation),
        "class_notes": class_lines(evaluation) if noteworthy else [],
        "advice": advise(run_figures(facts)),
        "spread": collapse_table(facts),
        "evidence": [
            table
            for title, e in facts.evaluations.items()
            for table in tabulate(title, shown_rows(e), accuracy_note(e), measures_note(e))
        ],
        "curves": [chart for name, chart in charts.items() if not is_collapse_metric(name)],
        "collapse_metrics": [chart for name, chart in charts.items() if is_collapse_metric(name)],
        "views": file_uri(facts.folder.views),
        "recipe": loading_recipe(facts.config.only(BackboneSpec), facts.config.input_spec, path),
        "exported": path.exists(),
        "settings": settings,
        "changed": [setting for setting in settings if setting.changed],
        "command": f"byol pretrain --config {shlex.quote(str(facts.folder.config))} --out NEW",
        "versions": {**facts.results.get("machine", {}), **facts.results.get("versions", {})},
    }


def _image_sections(
    run: Run, facts: RunSummary, splits: Splits | None, sample_config: SampleConfig
) -> dict[str, Any]:
    """Return the template values that need the images of the run, or replace them."""
    recorded = (
        (e, recorded_confusion(e.content, e.label_source)) for e in facts.output_evaluations
    )
    shown, confusion = next((pair for pair in recorded if pair[1]), (None, None))
    shown = shown or next((e for e in facts.output_evaluations if e.content.get("recall")), None)
    recalls = recall_table(shown.content, shown.label_source) if shown else None
    of_evaluation = {"confusion": confusion, "recalls": recalls}
    if splits is None:
        return {"samples": None, "gallery": None, "map": None, **of_evaluation}
    samples: Samples = sample_features(run, splits, sample_config)
    size = run.config.input_spec.size
    return {
        "samples": samples,
        "gallery": build_gallery(samples, sample_config.seed, size),
        "map": build_embedding_map(samples.queries, sample_config.seed, size),
        "recalls": recalls,
        "confusion": confusion or fit_confusion(samples, sample_config.seed),
    }


def _key_figures(facts: RunSummary) -> list[str]:
    """Return what was trained on which images and for how long, as short phrases."""
    config, results = facts.config, facts.results
    figures = [f"{config.backbone} on {config.data or 'digits'}"]
    if count := results.get("pictures"):
        figures.append(counted(count, "training image"))
    if unreadable := len(results.get("pictures_left_out") or []):
        figures.append(f"{unreadable:,} could not be read")
    figures.append(f"{config.image_size} px")
    figures.append(counted(config.channels or 0, "channel"))
    time = f" in {_duration(results['train_seconds'])}" if results.get("train_seconds") else ""
    figures.append(f"{facts.epochs} epochs{time}")
    if facts.images_per_second:
        figures.append(f"{facts.images_per_second:,.0f} images per second")
    return [
        *figures,
        f"preset {config.preset}",
        f"{config.optimizer}, batches of {config.batch_size}",
    ]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
