"""The end of a run: the exported backbone, its evaluation, and the report."""

import dataclasses
import logging
import math
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from BYOL import __version__
from BYOL._files import write_json
from BYOL._hardware import Machine, pick_workers, torch_device
from BYOL._waiting import waiting
from BYOL.config import PretrainConfig
from BYOL.config.backbone_spec import BackboneSpec
from BYOL.config.tasks import Measures
from BYOL.config.view_settings import ViewSettings
from BYOL.data.loader_errors import loader_died
from BYOL.data.sources import Splits
from BYOL.errors import first_line
from BYOL.evaluation.baselines import START, Reference
from BYOL.evaluation.collapse.feature_metrics import feature_collapse_metrics
from BYOL.evaluation.evaluate import evaluate
from BYOL.evaluation.splits import comparable_test_set
from BYOL.export import export_backbone
from BYOL.model.weights import load_weights, weights_digest
from BYOL.runs.build_model import untrained_backbone
from BYOL.runs.folder import RunFolder
from BYOL.runs.open import (
    backbone_metadata,
    open_run,
    starting_backbone,
    with_weights,
)
from BYOL.training.prepare import Prepared
from BYOL.training.run_setup import RunSetup
from BYOL.training.teacher.run import teacher_facts, teacher_results, teacher_rows
from BYOL.views.config import InputSpec

log = logging.getLogger(__name__)
MAX_SILENT_IMAGES = 10_000  # images whose evaluation takes a minute or two

# from the resolved settings of a run to rows of its comparison
KnownRows = Callable[[PretrainConfig], Mapping[str, Measures]]


def finalize_run(
    run: RunSetup, results: dict[str, Any], known: KnownRows | None = None
) -> dict[str, Any]:
    """Write the backbone, evaluate it, and write the results of the run.

    A comparison that fails is logged as a warning and ends no run.

    Args:
        run: the run, with the trained networks.
        results: results of the training itself.
        known: function of the settings that returns rows that were measured before; None: all
            rows are measured.

    Returns:
        ``results`` with the collapse metrics of the features, the comparison, machine and versions.
    """
    config, prepared, model, machine = run.config, run.prepared, run.model, run.machine
    spec, folder = config.only(BackboneSpec), run.start.folder
    initial = untrained_backbone(spec)
    export_backbone(model.onlineNet.backend, folder.backbone, backbone_metadata(config))
    features = _feature_metrics(run, initial)
    usable = not results["stopped"] and all(map(math.isfinite, features["trained"].values()))
    references = _references(spec, config.input_spec, prepared, folder)
    evaluation = None
    try:
        if usable:
            evaluation = _evaluation(run, initial, references, known(config) if known else {})
    except Exception as error:
        if loader_died(error):  # a fault of the machine: a resumed run repeats the evaluation
            raise
        log.warning(f"no comparison ({first_line(error)}); byol evaluate {folder.path} makes one")
    results |= {
        "weights": weights_digest(  # as the exported backbone is opened
            with_weights(spec, load_weights(folder.backbone)[0], folder.backbone)
        ),
        "pictures": len(prepared.train),
        "feature_gauges": features,
        "evaluation": evaluation,
        **teacher_results(config.only(ViewSettings), prepared, model, machine),
        "machine": dataclasses.asdict(machine),
        "versions": _versions(),
    }
    write_json(folder.results, results)
    return results


def save_report(
    seed: int,
    workers: int | None,
    prepared: Prepared,
    folder: RunFolder,
    machine: Machine,
) -> None:
    """Write the report of a complete run; a failure is logged as a warning and ends no run.

    Args:
        seed: random seed of the sample of images.
        workers: number of processes that load images; None depends on the machine.
        prepared: the images.
        folder: run folder, for ``report.html``.
        machine: the machine that computes the features.
    """
    from BYOL.report.html import write_report
    from BYOL.report.sample_features import SampleConfig

    images = Splits(prepared.train, prepared.test, prepared.labelled)
    workers = pick_workers(workers, machine.accelerator)
    settings = SampleConfig(torch_device(machine.accelerator), workers, seed=seed)
    try:
        write_report(open_run(folder.path), images, settings, folder.report)
    except Exception as error:
        log.warning(f"no report ({first_line(error)}); byol report {folder.path} makes one")


def _references(
    spec: BackboneSpec, input_spec: InputSpec, prepared: Prepared, folder: RunFolder
) -> list[Reference]:
    """Return the further rows of the comparison: initial weights and teacher, if there are any."""
    start = starting_backbone(spec, folder)
    references = [Reference(START, start, input_spec)] if start else []
    return [*references, *teacher_rows(prepared.targets.features if prepared.targets else None)]


def _evaluation(
    run: RunSetup,
    initial: nn.Module,
    references: list[Reference],
    known: Mapping[str, Measures],
) -> dict[str, Any] | None:
    """Return the comparison of ``byol evaluate``; None without labels."""
    config, prepared, machine = run.config, run.prepared, run.machine
    bank = prepared.labelled or prepared.train
    if not config.evaluate or bank.labels is None:
        return None
    evaluation = evaluate(
        run.model.onlineNet.backend,
        initial,
        bank,
        comparable_test_set(prepared.test, bank),
        config.input_spec,
        device=torch_device(machine.accelerator),
        workers=pick_workers(config.workers, machine.accelerator),
        seed=config.seed,
        references=references,
        known=known,
        metric=config.metric,
        log_times=len(bank) > MAX_SILENT_IMAGES,
    )
    return {**evaluation, **(teacher_facts(prepared.targets.features) if prepared.targets else {})}


@waiting("computing the collapse metrics of the features")
def _feature_metrics(run: RunSetup, initial: nn.Module) -> dict[str, dict[str, float]]:
    """Return the collapse metrics of the features, which are used later."""
    return feature_collapse_metrics(
        run.model.onlineNet.backend,
        initial,
        run.prepared.train,
        run.config.input_spec,
        device=torch_device(run.machine.accelerator),
        workers=pick_workers(run.config.workers, run.machine.accelerator),
    )


def _versions() -> dict[str, str]:
    return {
        "BYOL": __version__,
        "torch": torch.__version__,
        "pytorch-lightning": pl.__version__,
        "python": platform.python_version(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
