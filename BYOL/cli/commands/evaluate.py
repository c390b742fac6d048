"""The command ``byol evaluate``, which writes ``evaluation.json`` into the run folder."""

import logging
from pathlib import Path
from typing import Any

from BYOL._console import counted
from BYOL._files import write_json
from BYOL._hardware import pick_accelerator, pick_workers, torch_device
from BYOL.cli.commands.common import Answer
from BYOL.config.evaluate import EvaluateConfig
from BYOL.config.view_configs import view_configs
from BYOL.config.view_settings import ViewSettings
from BYOL.curation.feature_description import describe
from BYOL.curation.feature_table import FeatureTable
from BYOL.curation.run_images import open_run_images, with_run_annotations
from BYOL.curation.stored_features import open_feature_table, stored_features
from BYOL.data.annotations import AnnotationFiles, annotate_splits
from BYOL.data.dataset import Images
from BYOL.data.loader_errors import concise_loader_errors
from BYOL.errors import UserError
from BYOL.evaluation.baselines import (
    START,
    Reference,
    reference_from_file,
    supervised_reference,
)
from BYOL.evaluation.collapse.feature_metrics import feature_metrics_text
from BYOL.evaluation.copies.leakage import leakage_text
from BYOL.evaluation.evaluate import evaluate
from BYOL.evaluation.protocols.registry import check_protocols
from BYOL.evaluation.splits import check_split_groups, comparable_test_set
from BYOL.evaluation.table import results_text
from BYOL.model.hub import is_hub_model
from BYOL.model.layer_features import LayerFeatures
from BYOL.runs.load import open_backbone
from BYOL.runs.open import Run
from BYOL.training.prepare import load_into_memory
from BYOL.training.teacher.run import run_teacher, teacher_facts, teacher_rows

log = logging.getLogger(__name__)


@concise_loader_errors()
def evaluate_run(config: EvaluateConfig) -> Answer:
    """Evaluate the backbone of a run, compared with raw pixels and the untrained backbone.

    Raises:
        UserError: there is no run, there are no labelled images, or something does not fit.
    """
    protocols = tuple(name.strip() for name in config.protocol.split(",") if name.strip())
    check_protocols(protocols)
    accelerator = pick_accelerator(config.accelerator)
    run = open_backbone(config.run, trust=config.trust)
    config = with_run_annotations(config, run)
    trained = LayerFeatures(run.backbone, config.layer, config.pool)
    table = open_feature_table(config.features) if config.features else None
    references = _references(run, config)
    train, test, left_out = _labelled(run, config, trained, table)
    teacher = run_teacher(run, accelerator, train, test)
    with stored_features(table) as trained_features:
        results = evaluate(
            trained,
            LayerFeatures(run.untrained, config.layer, config.pool),
            train,
            test,
            run.config.input_spec,
            device=torch_device(accelerator),
            workers=pick_workers(None, accelerator),
            protocols=protocols,
            view=view_configs(run.config.only(ViewSettings))[0],
            references=[*references, *teacher_rows(teacher)],
            metric=config.metric,
            log_times=True,
            leakage=config.leakage,
            trained_features=trained_features,
            **_data_settings(config),
        )
    results = {**_sources(run, config, left_out), **results, **teacher_facts(teacher)}
    collapse = feature_metrics_text(results["feature_gauges"])
    lines = [results_text(results), *leakage_text(results), collapse]
    if left_out:
        lines.append(
            f"left out, because {config.labels} has no known label for them: "
            f"{counted(left_out, 'image')}"
        )
    return results, "\n".join([*lines, *_write(results, run.evaluation)])


def _data_settings(config: EvaluateConfig) -> dict[str, Any]:
    """The settings that :class:`BYOL.evaluation.types.EvaluationData` takes."""
    return {
        "batch_size": config.batch_size,
        "epochs": config.epochs,
        "shares": tuple(config.label_shares),
        "clusters": config.clusters,
        "neighbours": tuple(dict.fromkeys(config.neighbours)),
        "temperature": config.temperature,
        "seed": config.seed,
    }


def _labelled(
    run: Run, config: EvaluateConfig, trained: LayerFeatures, table: FeatureTable | None
) -> tuple[Images, Images | None, int]:
    """Training images, test images if there are any, and the number of images without a label.

    The features of ``table`` are checked against the images and the backbone ``trained``.
    """
    images = open_run_images(run, config.data, config.data_root)
    if table:
        table.check(describe(run, trained, images.sets), mirror=False)
    found = annotate_splits(images, AnnotationFiles.of(config))
    splits = found.splits
    labelled = splits.labelled or splits.train
    held_out = comparable_test_set(splits.test, labelled)
    shared = check_split_groups(splits, found.groups) if found.groups else None
    if splits.test and not held_out:
        log.info(
            f"{splits.test.name}: its test images have no labels of the same kind: a fifth "
            "of the others is held out instead"
        )
    if shared:
        log.warning(shared)
    budget = int(run.config.memory * 1e9)
    train, _ = load_into_memory(labelled, budget)
    test, _ = load_into_memory(held_out, budget) if held_out else (None, [])
    return train, test, found.left_out


def _sources(run: Run, config: EvaluateConfig, left_out: int) -> dict[str, Any]:
    """The weights and features, and the sources of images, labels and groups, for the results."""
    sources: dict[str, Any] = {"run": run.name, "weights": run.weights_digest}
    sources |= {"layer": config.layer} if config.layer else {}
    sources |= {"pool": config.pool} if config.pool != "auto" else {}
    sources |= {"data": config.data or run.config.data}
    if config.labels:
        sources |= {"labels": config.labels, "pictures_without_labels": left_out}
        sources |= {"label_column": config.label_column} if config.label_column else {}
    if config.groups:
        sources |= {"groups_file": config.groups}
    return sources


def _write(results: dict[str, Any], path: Path) -> list[str]:
    """Write the results to ``path``; if that fails, a warning is printed instead."""
    try:
        write_json(path, results)
    except UserError as error:
        log.warning(error)
        return []
    return [f"written to {path}"]


def _references(run: Run, wanted: EvaluateConfig) -> list[Reference]:
    """The initial weights of the run, if there are any, and the reference weights.

    The reference is the backbone or the weights of ``--reference``, or timm's weights if they are
    on this disk.
    """
    config = run.config
    assert config.channels is not None
    found = []
    if run.start:
        start = LayerFeatures(run.start, wanted.layer, wanted.pool)
        found.append(Reference(START, start, config.input_spec))
    if wanted.reference:
        other = _other_backbone(wanted.reference, config.channels, wanted.trust)
        if other is None:
            other = reference_from_file(wanted.reference, config)
        return [*found, other]
    supervised = supervised_reference(config)
    return [*found, supervised] if supervised else found


def _other_backbone(name: str, channels: int, trust: bool) -> Reference | None:
    """A run, a hub folder or a published backbone with a network of its own; None for a file.

    Raises:
        UserError: it cannot be opened, or it is for images of other channels.
    """
    if not is_hub_model(name) and not Path(name).is_dir():
        return None
    try:
        other = open_backbone(name, trust=trust)
    except UserError as error:
        raise type(error)(str(error).replace("RUN=", "--reference=", 1)) from error
    if other.config.channels != channels:
        raise UserError(
            f"--reference={name} is for images of {other.config.channels} channels, and these "
            f"have {channels}"
        )
    title = f"reference ({Path(name.replace(':', '/')).resolve().name})"
    return Reference(title, LayerFeatures(other.backbone), other.config.input_spec)
