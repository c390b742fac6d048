"""``byol export``."""

import textwrap
from pathlib import Path
from typing import Any

from BYOL.commands.common import Answer
from BYOL.commands.features import open_features
from BYOL.commands.teaching import measured, settled, taught
from BYOL.config.export import ExportConfig
from BYOL.config.labelling import PredictConfig
from BYOL.evaluation.guessing import fit, judged, unseen
from BYOL.export.classifier import Classifier
from BYOL.export.model import Model
from BYOL.export.recipe import loading_recipe
from BYOL.export.writers import pick_writer
from BYOL.runs import open_run

# settings that mean the same for byol predict
TEACHING = (
    "run", "data", "labels", "groups", "task", "seed",
    "batch_size", "workers", "accelerator", "data_root",
)  # fmt: skip


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
        model = Model(open_run(config.run))
    else:
        model = _with_classifier(config)
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


def _with_classifier(config: ExportConfig) -> Model:
    """The run and what its labelled pictures teach, as ``byol predict`` learns it."""
    asked = PredictConfig(**{name: getattr(config, name) for name in TEACHING})
    features = open_features(asked)
    teaching = taught(features, settled(asked, features.run))
    known, seed = teaching.known, config.seed
    measures = judged(known, unseen(known, seed), seed)
    classifier = Classifier(fit(known, seed), teaching.classes, len(known), measures)
    return Model(features.run, classifier)


def _judged(classifier: Classifier | None) -> dict[str, Any]:
    if classifier is None:
        return {}
    return {
        "classes": list(classifier.names),
        "labelled": classifier.labels,
        "measures": classifier.measures,
    }


def _said(classifier: Classifier | None) -> list[str]:
    if classifier is None:
        return []
    count = len(classifier.names)
    taught_by = f"a linear layer of {count:,} outputs, taught by {classifier.labels:,} labels"
    return [taught_by, *([measured(classifier.measures)] if classifier.measures else [])]
