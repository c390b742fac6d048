"""``byol export``."""

import textwrap
from pathlib import Path
from typing import Any

from BYOL.cli.commands.common import Answer
from BYOL.config.export import ExportConfig
from BYOL.export.exportable import ExportModel
from BYOL.export.snippet import loading_recipe
from BYOL.export.train_classifier import train_classifier
from BYOL.export.writers import pick_writer
from BYOL.model.classifier import Classifier
from BYOL.runs.load import open_backbone


def export_run(config: ExportConfig) -> Answer:
    """``byol export``: the backbone for timm, torchvision, PyTorch, ONNX or the hub.

    Raises:
        UserError: no run, an unknown ending, missing packages, a file that cannot be written, or
            one that does not put out what the network does; for a classifier no labels, or files
            that do not fit.
    """
    write = pick_writer(config.to)
    path = Path(config.to)
    if config.classifier == "none":
        model = ExportModel(open_backbone(config.run, trust=config.trust))
    else:
        model = train_classifier(config)
    found = write(model, path)
    checked = (
        f" (checked on {found['checked_on']}: differs by {found['difference']:.1e} at most)"
        if found
        else ""
    )
    recipe = textwrap.indent(loading_recipe(model.config, path, model.classifier), "  ")
    lines = [*_said(model.classifier), f"written to {path}{checked}; in Python:\n{recipe}"]
    answer = {"to": str(path), **model.metadata, **found, **_judged(model.classifier)}
    return answer, "\n".join(lines)


def _judged(classifier: Classifier | None) -> dict[str, Any]:
    if classifier is None:
        return {}
    return {
        "classes": list(classifier.names),
        "labelled": classifier.labels,
        "measures": classifier.measures,
        "judged": classifier.evaluation,
    }


def _said(classifier: Classifier | None) -> list[str]:
    if classifier is None:
        return []
    whole = " and the backbone" if classifier.kind == "finetuned" else ""
    taught_by = f"a layer of {len(classifier.names):,} outputs{whole}, taught by"
    return [f"{taught_by} {classifier.labels:,} labels", *filter(None, [classifier.evaluation])]
