"""What a trained run leaves: the backbone, the evidence that it has learnt, and the report."""

import dataclasses
import logging
import math
import platform
import time
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from BYOL import __version__, byol
from BYOL._files import write_json
from BYOL._hardware import Machine, pick_workers, torch_device
from BYOL.config import PretrainConfig
from BYOL.config.tasks import Measures
from BYOL.data.loader_errors import loader_died
from BYOL.data.open import Splits
from BYOL.errors import first_line
from BYOL.evaluation.baselines import START, Reference
from BYOL.evaluation.collapse.feature_metrics import feature_collapse_metrics
from BYOL.evaluation.evaluate import NOTHING_KNOWN, evaluate
from BYOL.evaluation.splits import comparable_test_set
from BYOL.export import export_backbone
from BYOL.runs.folder import RunFolder
from BYOL.runs.open import backbone_metadata, open_run, started_from, untrained
from BYOL.training.prepare import Prepared

log = logging.getLogger(__name__)
QUIET_UP_TO = 10_000  # pictures whose comparison is a matter of a minute or two


def finish(
    config: PretrainConfig,
    prepared: Prepared,
    model: byol.BYOL,
    folder: RunFolder,
    results: dict[str, Any],
    machine: Machine,
    known: Mapping[str, Measures] = NOTHING_KNOWN,
) -> dict[str, Any]:
    """Write the backbone, measure it, and write what is known of the run.

    Args:
        config: of the run, settled.
        prepared: its pictures.
        model: trained.
        folder: gets ``backbone.safetensors`` and ``results.json``.
        results: of the training itself.
        machine: that trains.
        known: rows of the comparison that were measured before.

    Returns:
        ``results`` with the gauges of the features, the comparison, machine and versions.
    """
    fresh = untrained(config)
    export_backbone(model.onlineNet.backend, folder.backbone, backbone_metadata(config))
    features = _feature_gauges(config, prepared, model, fresh, machine)
    usable = not results["stopped"] and all(map(math.isfinite, features["trained"].values()))
    start = started_from(config, folder)
    references = [Reference(START, start, config.input_spec)] if start else []
    evidence = None
    try:
        if usable:
            evidence = _evidence(config, prepared, model, machine, fresh, references, known)
    except Exception as error:
        if loader_died(error):  # the machine's fault, not the pictures': a resumed run makes it up
            raise
        log.warning(f"no comparison ({first_line(error)}); byol evaluate {folder.path} makes one")
    results |= {
        "pictures": len(prepared.train),
        "feature_gauges": features,
        "evaluation": evidence,
        "machine": dataclasses.asdict(machine),
        "versions": _versions(),
    }
    write_json(folder.results, results)
    return results


def save_report(
    config: PretrainConfig,
    prepared: Prepared,
    folder: RunFolder,
    machine: Machine,
) -> None:
    """The run as a page. A run that has come to its end does not fail for it.

    Args:
        config: of the run.
        prepared: its pictures.
        folder: gets ``report.html``.
        machine: that looks at the pictures.
    """
    from BYOL.report.html import write_report
    from BYOL.report.sample_features import SampleConfig

    pictures = Splits(prepared.train, prepared.test, prepared.labelled)
    workers = pick_workers(config.workers, machine.accelerator)
    how = SampleConfig(torch_device(machine.accelerator), workers, seed=config.seed)
    try:
        write_report(open_run(folder.path), pictures, how, folder.report)
    except Exception as error:
        log.warning(f"no report ({first_line(error)}); byol report {folder.path} makes one")


def _evidence(
    config: PretrainConfig,
    prepared: Prepared,
    model: byol.BYOL,
    machine: Machine,
    fresh: nn.Module,
    references: list[Reference],
    known: Mapping[str, Measures],
) -> dict[str, Any] | None:
    """The comparison of ``byol evaluate``, where there are labels to compare with."""
    bank = prepared.labelled or prepared.train
    if not config.evaluate or bank.labels is None:
        return None
    return evaluate(
        model.onlineNet.backend,
        fresh,
        bank,
        comparable_test_set(prepared.test, bank),
        config.input_spec,
        device=torch_device(machine.accelerator),
        workers=pick_workers(config.workers, machine.accelerator),
        seed=config.seed,
        references=references,
        known=known,
        log_times=len(bank) > QUIET_UP_TO,
    )


def _feature_gauges(
    config: PretrainConfig,
    prepared: Prepared,
    model: byol.BYOL,
    fresh: nn.Module,
    machine: Machine,
) -> dict[str, dict[str, float]]:
    """The gauges of what the backbone gives, which is what is used afterwards."""
    return feature_collapse_metrics(
        model.onlineNet.backend,
        fresh,
        prepared.train,
        config.input_spec,
        device=torch_device(machine.accelerator),
        workers=pick_workers(config.workers, machine.accelerator),
    )


def _versions() -> dict[str, str]:
    return {
        "BYOL": __version__,
        "torch": torch.__version__,
        "pytorch-lightning": pl.__version__,
        "python": platform.python_version(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
