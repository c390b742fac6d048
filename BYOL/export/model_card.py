"""The model card: training data, recipe, results and limits of a backbone."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from BYOL.config.data_names import data_name
from BYOL.config.data_settings import DataSettings
from BYOL.config.fields import names_where
from BYOL.config.tasks import CLASSES, TAGS
from BYOL.evaluation.teacher_note import teacher_name
from BYOL.export.card_results import measures_of
from BYOL.export.exportable import ExportModel
from BYOL.export.markdown import code, fenced, plain
from BYOL.export.snippet import loading_recipe
from BYOL.model.classifier import Classifier
from BYOL.runs.evaluations import (
    RecordedEvaluation,
    current_results,
    read_current_evaluation,
    recorded_evaluations,
)
from BYOL.runs.open import Run
from BYOL.runs.schema import read_results

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


def model_card(model: ExportModel, name: str) -> str:
    """Return README.md of a hub folder: YAML front matter for the hub, then the text.

    The user adds the licence, because it depends on the training images.

    Args:
        model: the exported model.
        name: the name of the folder, for the heading.
    """
    run = model.run
    results = _results(run)
    evaluations = _evaluations(model, results)
    measures = _all_measures(run, results, evaluations) + _finetuning_note(model.classifier)
    parts = (
        f"# {plain(name)}",
        _summary(run, results),
        *_classifier(model.classifier),
        "## How to load\n" + _loading(model, name),
        "## Data\n" + _data(run, results),
        "## Results\n" + measures,
        "## Limits\n" + _limits(run, results, evaluations),
        "## Recipe\n" + _recipe(run),
        "## Citation\n" + CITATION,
    )
    return f"---\n{_front_matter(model)}---\n\n" + "\n\n".join(parts) + "\n"


def _front_matter(model: ExportModel) -> str:
    import yaml

    classes = model.classifier is not None and model.classifier.task == CLASSES
    values = {
        "library_name": "timm",
        "pipeline_tag": "image-classification" if classes else "image-feature-extraction",
        "tags": ["byol", "self-supervised", "timm", model.config.backbone],
    }
    return yaml.safe_dump(values, sort_keys=False)


def _results(run: Run) -> dict[str, Any]:
    """Return the content of results.json, or an empty dictionary if the run is not finished.

    It is also empty for an intermediate checkpoint, because results.json describes the final
    weights.

    Raises:
        DataError: results.json is damaged.
    """
    if run.checkpoint:
        return {}
    return read_results(run.folder.results) or {}


def _evaluations(model: ExportModel, results: dict[str, Any]) -> list[RecordedEvaluation]:
    """Return the evaluations of these weights, in the order of the report.

    Those of a fine-tuned network are of the weights before.

    Raises:
        DataError: evaluation.json is damaged.
    """
    run = model.run
    if run.published:  # the file of its evaluation is not in a folder of its own
        return []
    finetuned = model.classifier is not None and model.classifier.kind == "finetuned"
    weights = results.get("weights") if finetuned else run.weights_digest
    evaluation = read_current_evaluation(run.evaluation, weights)
    data = run.config.only(DataSettings)
    return recorded_evaluations(data, current_results(results, weights), evaluation)


def _summary(run: Run, results: dict[str, Any]) -> str:
    parameters = sum(p.numel() for p in run.backbone.parameters()) / 1e6
    config = run.config
    versions = results.get("versions", {})
    known = {"BYOL", "torch"} <= versions.keys()
    initial = " The training started from timm's weights." if config.pretrained else ""
    if config.weights:
        name = Path(config.weights).name
        initial = f" The training started from the weights of {code(name)}."
    if teacher := results.get("teacher"):
        initial += (
            f" Its training targets are the features of {code(teacher_name(results))}, which was "
            f"trained on {plain(str(teacher['trained_on']))}; the licence of those weights is "
            f"{plain(str(teacher['licence']))}."
        )
    software = f" with BYOL {versions['BYOL']} and torch {versions['torch']}" if known else ""
    return (
        f"A {config.backbone} ({parameters:.2f} M parameters, stem: {config.stem}), trained on "
        f"images without labels by [BYOL](https://arxiv.org/abs/2006.07733){software}. It maps an "
        f"image of {config.channels} channels, at {config.image_size} × {config.image_size} px, "
        f"to a feature vector.{initial}"
    )


def _classifier(classifier: Classifier | None) -> list[str]:
    if classifier is None:
        return ["It has no classifier."]
    kind = {CLASSES: "classes", TAGS: "tags"}.get(classifier.task, "values")
    training = "with the backbone frozen"
    if classifier.kind == "finetuned":
        training = "together with the whole backbone, which had been pretrained without labels"
    text = (
        f"The classifier is a linear layer for {len(classifier.names):,} {kind}, trained on "
        f"{classifier.labels:,} images with labels, {training}: "
        + ", ".join(map(code, classifier.names))
        + "."
    )
    if classifier.evaluation:
        evaluation = classifier.evaluation.rstrip(".").replace("\n", ". ")
        interval = ", with a 95 % interval" if classifier.measures else ""
        text += f"\n\nEvaluation{interval}: {evaluation}."
    return ["## Classifier\n" + text]


def _loading(model: ExportModel, name: str) -> str:
    recipe = loading_recipe(model.spec, model.config.input_spec, name, model.classifier)
    kind = "classifier" if model.classifier else "backbone"
    with_byol = (
        "import BYOL\n"
        f"{kind} = BYOL.load_{kind}({name!r})\n"
        f"{model.output} = {kind}({kind}.transform(image)[None])"
    )
    return (
        f"{fenced(recipe, 'python')}\n"
        f"or, with the package that trained it:\n{fenced(with_byol, 'python')}"
    )


def _listed(values: Sequence[float]) -> str:
    """One number, or the number of each channel."""
    text = ", ".join(f"{value:g}" for value in values)
    return text if len(values) == 1 else f"{text} (per channel)"


def _data(run: Run, results: dict[str, Any]) -> str:
    name = Path(data_name(run.config.data)).name
    count = f"{results['pictures']:,} images of " if "pictures" in results else "Images of "
    pixel_range = run.config.pixel_range or (0.0, 255.0)
    scaling = (
        ""
        if pixel_range == (0.0, 255.0)
        else f" The pixel value 0 corresponds to {_listed(pixel_range[::2])} in the files and 1 to "
        f"{_listed(pixel_range[1::2])}; timm's transform supports 8 bits only."
    )
    return (
        f"{count}{code(name)}, without labels. Pixels from 0 to 1 are normalised by the mean "
        f"{run.config.mean} and the standard deviation {run.config.std}.{scaling}"
    )


def _all_measures(
    run: Run, results: dict[str, Any], evaluations: Sequence[RecordedEvaluation]
) -> str:
    if not evaluations:
        return f"Not measured{_reason(run, results)}."
    return "\n\n".join(f"{_heading(e)}\n\n{measures_of(e.content)}" for e in evaluations)


def _reason(run: Run, results: dict[str, Any]) -> str:
    """Return why there is no evaluation, after a colon; "" if it is unknown."""
    if run.published:
        return ""
    if not results:
        return ": " + ("this is a checkpoint" if run.checkpoint else "the run was not finished")
    if not run.config.evaluate:
        return ": the run was trained without an evaluation (`--no-evaluate`)"
    return ": there were no labels to evaluate with"


def _heading(evaluation: RecordedEvaluation) -> str:
    """Return a line that names the images and the labels of an evaluation, without folders."""
    data, labels = evaluation.names
    origin = "By `byol evaluate`" if evaluation.command else "At the end of the training"
    with_labels = f", with the labels of {code(labels)}" if labels else ""
    columns = f" (column {code(evaluation.column)})" if labels and evaluation.column else ""
    features = f", {plain(evaluation.features)}" if evaluation.features else ""
    return f"{origin}, on {code(data)}{with_labels}{columns}{features}:"


def _finetuning_note(classifier: Classifier | None) -> str:
    finetuned = classifier is not None and classifier.kind == "finetuned"
    return " All values were measured before the fine-tuning." if finetuned else ""


def _limits(run: Run, results: dict[str, Any], evaluations: Sequence[RecordedEvaluation]) -> str:
    config = run.config
    evaluated = "It has been evaluated only on the images named under Results."
    limits = [
        f"It was trained only on the images named above, at {config.image_size} px."
        + (f" {evaluated}" if evaluations else ""),
        "Its features are trained to be invariant to the augmentations of the recipe (position "
        "and size of the crop, flips, colour, blur, …). It is unsuitable for tasks that depend "
        "on these properties.",
        "Whatever is over- or under-represented in the training images is over- or "
        "under-represented in the features.",
    ]
    if results.get("alarm"):
        limits.append(f"The training raised an alarm: {plain(results['alarm'])}")
    if not results:
        limits.append("The run was not finished: these are the weights of its last checkpoint.")
    return "\n".join(f"- {limit}" for limit in limits)


def _recipe(run: Run) -> str:
    import yaml

    private = set(names_where(type(run.config), lambda info: info.private))
    settings = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(run.config).items()
        if name not in private
    }
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).rstrip()
    preset = code(run.config.preset)
    return f"Preset {preset}; every setting of `byol pretrain`:\n{fenced(text, 'yaml')}"
