"""The model card: what the backbone learnt from, how, what it can do, and what it cannot."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from BYOL.config.fields import names_where
from BYOL.config.tasks import CLASSES, TAGS
from BYOL.evaluation.baselines import START
from BYOL.evaluation.bootstrap import level
from BYOL.export.exportable import Model
from BYOL.export.snippet import loading_recipe
from BYOL.model.classifier import Classifier
from BYOL.runs.open import Run

CITATION = """```bibtex
@misc{grill2020bootstrap,
    title = {Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning},
    author = {Jean-Bastien Grill and Florian Strub and Florent Altché and Corentin Tallec and
        Pierre H. Richemond and Elena Buchatskaya and Carl Doersch and Bernardo Avila Pires and
        Zhaohan Daniel Guo and Mohammad Gheshlaghi Azar and Bilal Piot and Koray Kavukcuoglu and
        Rémi Munos and Michal Valko},
    year = {2020},
    eprint = {2006.07733},
    archivePrefix = {arXiv},
    primaryClass = {cs.LG}
}
```"""


def model_card(model: Model, name: str) -> str:
    """README.md of a hub folder: YAML for the hub, then plain words.

    The licence is the user's to add: it depends on the pictures.

    Args:
        model: what is exported.
        name: the folder's name, for the heading.
    """
    run = model.run
    results = _results(run)
    parts = (
        f"# {name}",
        _summary(run, results),
        *_classifier(model.classifier),
        "## How to load\n" + _loading(model, name),
        "## Data\n" + _data(run, results),
        "## Results\n" + _measures(results) + _before(model.classifier),
        "## Limits\n" + _limits(run, results),
        "## Recipe\n" + _recipe(run),
        "## Citation\n" + CITATION,
    )
    return f"---\n{_front_matter(model)}---\n\n" + "\n\n".join(parts) + "\n"


def _front_matter(model: Model) -> str:
    import yaml

    classes = model.classifier is not None and model.classifier.task == CLASSES
    values = {
        "library_name": "timm",
        "pipeline_tag": "image-classification" if classes else "image-feature-extraction",
        "tags": ["byol", "self-supervised", "timm", model.config.backbone],
    }
    return yaml.safe_dump(values, sort_keys=False)


def _results(run: Run) -> dict[str, Any]:
    """What results.json holds; nothing where a run has not got that far, nor of a checkpoint on
    the way, of which it says nothing."""
    if run.checkpoint:
        return {}
    try:
        found = json.loads(run.folder.results.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _summary(run: Run, results: dict[str, Any]) -> str:
    weights = sum(p.numel() for p in run.backbone.parameters()) / 1e6
    config = run.config
    versions = results.get("versions", {})
    begun = " It began with timm's weights." if config.pretrained else ""
    if config.weights:
        begun = f" It began with the weights of `{Path(config.weights).name}`."
    made = f" with BYOL {versions['BYOL']} and torch {versions['torch']}" if versions else ""
    return (
        f"A {config.backbone} ({weights:.2f} M weights, stem: {config.stem}) that has learnt from "
        f"pictures without labels, by [BYOL](https://arxiv.org/abs/2006.07733){made}. It turns a "
        f"picture of {config.channels} channels, seen at {config.image_size} × "
        f"{config.image_size} px, into a feature vector.{begun}"
    )


def _classifier(classifier: Classifier | None) -> list[str]:
    if classifier is None:
        return ["It has no classifier."]
    kind = {CLASSES: "classes", TAGS: "tags"}.get(classifier.task, "values")
    how = "while the backbone stayed as it is"
    if classifier.kind == "finetuned":
        how = "together with the whole backbone, which had learnt without labels before"
    text = (
        f"On it stands a linear layer for {len(classifier.names):,} {kind}, taught by "
        f"{classifier.labels:,} pictures with labels, {how}: "
        + ", ".join(f"`{name}`" for name in classifier.names)
        + "."
    )
    if classifier.judged:
        text += f"\n\nHow good it is, with a 95 % interval: {classifier.judged}."
    return ["## Classifier\n" + text]


def _loading(model: Model, name: str) -> str:
    transform = (
        "settings = timm.data.resolve_model_data_config(model)\n"
        "transform = timm.data.create_transform(**settings)"
    )
    kind = "classifier" if model.classifier else "backbone"
    ours = (
        "import BYOL\n"
        f"{kind} = BYOL.load_{kind}({name!r})\n"
        f"{model.output} = {kind}({kind}.transform(image)[None])"
    )
    return (
        f"```python\n{loading_recipe(model.config, name, model.classifier)}\n{transform}\n```\n"
        f"or, with the package it was made with:\n```python\n{ours}\n```"
    )


def _data(run: Run, results: dict[str, Any]) -> str:
    name = Path(run.config.data or "digits").name
    count = f"{results['pictures']:,} pictures of " if "pictures" in results else "Pictures of "
    low, high = run.config.pixel_range or (0.0, 255.0)
    deep = (
        ""
        if (low, high) == (0.0, 255.0)
        else f" There 0 is the value {low:g} of the files and 1 the value {high:g}; timm's own "
        "transform knows 8 bits alone."
    )
    return (
        f"{count}`{name}`, without labels. Normalised by mean {run.config.mean} and standard "
        f"deviation {run.config.std}, of pixels from 0 to 1.{deep}"
    )


def _measures(results: dict[str, Any]) -> str:
    evaluation = results.get("evaluation")
    if not evaluation:
        return "Not measured: there were no labels to measure with."
    rows = evaluation["rows"]
    kinds = {name: "accuracy" in m for measures in rows.values() for name, m in measures.items()}
    heading = "accuracy" if all(kinds.values()) else "measure"
    lines = [f"| {heading} | " + " | ".join(kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
    for name, measures in rows.items():
        cells = (f"{level(measures[kind]):.3f}" if kind in measures else "–" for kind in kinds)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    pictures = evaluation["pictures"]
    of = (
        f" of {evaluation['classes']} classes" if evaluation.get("task", CLASSES) == CLASSES else ""
    )
    note = (
        f"Frozen features, {pictures['judge']:,} pictures{of} held out, labels of "
        f"{pictures['learn']:,}. The raw pixels and the same network untrained were measured in "
        "the same way."
    ) + (f" {START}: the weights that it began with." if START in rows else "")
    return "\n".join([*lines, "", note])


def _before(classifier: Classifier | None) -> str:
    finetuned = classifier is not None and classifier.kind == "finetuned"
    return " All of it was measured before the fine-tuning." if finetuned else ""


def _limits(run: Run, results: dict[str, Any]) -> str:
    config = run.config
    limits = [
        f"It was shown nothing but the pictures named above, at {config.image_size} px; on others "
        "it has not been measured.",
        "It has learnt to overlook what its training changed at random (see the recipe: place "
        "and size of the crop, mirroring, colour, blur, …). Where that is what matters, it is "
        "the wrong network.",
        "Whatever is over- or under-represented in its pictures is so in its features.",
    ]
    if results.get("alarm"):
        limits.append(f"The training raised an alarm: {results['alarm']}")
    if not results:
        limits.append("The run was not finished: these are the weights of its last checkpoint.")
    return "\n".join(f"- {limit}" for limit in limits)


def _recipe(run: Run) -> str:
    import yaml

    private = set(names_where(run.config, lambda info: info.private))
    settings = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(run.config).items()
        if name not in private
    }
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    return f"Preset `{run.config.preset}`; every setting of `byol pretrain`:\n```yaml\n{text}```"
