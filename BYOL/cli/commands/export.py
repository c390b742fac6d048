"""The command ``byol export``."""

import textwrap
from pathlib import Path
from typing import Any

from BYOL._files import check_not_input
from BYOL.cli.commands.common import Answer
from BYOL.config.export import ExportConfig
from BYOL.export.exportable import ExportModel
from BYOL.export.snippet import loading_recipe
from BYOL.export.train_classifier import train_classifier
from BYOL.export.writers import pick_writer
from BYOL.model.classifier import Classifier
from BYOL.model.weights import HUB_WEIGHTS
from BYOL.runs.folder import RunFolder
from BYOL.runs.load import open_backbone


def export_run(config: ExportConfig) -> Answer:
    """Export the backbone or a classifier for timm, torchvision, PyTorch, ONNX or the hub.

    Raises:
        UserError: there is no run, the ending is unknown, packages are missing, the file cannot be
            written, or its output differs from that of the network. For a classifier also: there
            are no labels, or the files of labels and groups do not fit.
    """
    write = pick_writer(config.to)
    path, run = Path(config.to), Path(config.run or "")
    # A run folder may hold exported files, but its weights are read.
    check_not_input(f"--to={config.to}", path, *_weights_of(run))
    if config.classifier == "none":
        model = ExportModel(open_backbone(config.run, trust=config.trust))
    else:
        model = train_classifier(config)
    found = write(model, path)
    checked = (
        f" (checked on {found['checked_on']}: maximum difference {found['difference']:.1e})"
        if found
        else ""
    )
    recipe = textwrap.indent(
        loading_recipe(model.spec, model.config.input_spec, path, model.classifier), "  "
    )
    lines = [*_description(model.classifier), f"written to {path}{checked}; in Python:\n{recipe}"]
    answer = {"to": str(path), **model.metadata, **found, **_evaluation(model.classifier)}
    return answer, "\n".join(lines)


def _weights_of(run: Path) -> list[Path]:
    """Return the files of ``run``, a folder or a file of weights, that hold weights."""
    if run.is_file():
        return [run]
    folder = RunFolder(run)
    if not folder.config.exists():  # a folder for the hub
        return [run / HUB_WEIGHTS]
    return [folder.backbone, folder.start, *folder.checkpoints.glob("*")]


def _evaluation(classifier: Classifier | None) -> dict[str, Any]:
    if classifier is None:
        return {}
    return {
        "classes": list(classifier.names),
        "labelled": classifier.labels,
        "measures": classifier.measures,
        **classifier.details,
        "judged": classifier.evaluation,
    }


def _description(classifier: Classifier | None) -> list[str]:
    if classifier is None:
        return []
    trained = " and the backbone" if classifier.kind == "finetuned" else ""
    layer = f"a layer of {len(classifier.names):,} outputs{trained}, trained on"
    return [f"{layer} {classifier.labels:,} labels", *filter(None, [classifier.evaluation])]
