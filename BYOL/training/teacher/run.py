"""The teacher in the course of a run: its targets before training, its row after it."""

import dataclasses
import logging
from typing import Any

from BYOL._hardware import Machine, pick_machine
from BYOL.config import PretrainConfig
from BYOL.errors import UserError
from BYOL.evaluation.baselines import TEACHER, Reference
from BYOL.model.layer_features import LayerFeatures
from BYOL.runs.open import Run
from BYOL.training.prepare import Prepared
from BYOL.training.resume import Start
from BYOL.training.teacher.features import FOLDER, TeacherFeatures, features_of_run
from BYOL.training.teacher.network import open_teacher
from BYOL.training.teacher.targets import build_targets

log = logging.getLogger(__name__)


def with_targets(
    config: PretrainConfig, prepared: Prepared, start: Start, machine: Machine
) -> Prepared:
    """Return ``prepared`` with the targets of the teacher; unchanged without a teacher.

    Raises:
        UserError: the features of the teacher cannot be computed.
    """
    if prepared.teacher is None:
        return prepared
    features = features_of_run(config, prepared.teacher, machine)
    targets = build_targets(
        config,
        features,
        prepared.train,
        start.folder,
        held_out=prepared.test is None,
        resumed=start.checkpoint is not None,
    )
    if prepared.test is not None:  # for the agreement, and for the row of the comparison
        features.of(prepared.test)
    origin = "taken from an earlier run" if features.reused else f"{features.seconds:.0f} s"
    log.info(
        f"teacher {prepared.teacher.name}, trained on {prepared.teacher.trained_on}: features of "
        f"{features.images:,} images ({origin}); the targets are {config.output_size} components "
        f"with {targets.space.share:.0%} of their variance"
    )
    return dataclasses.replace(prepared, targets=targets)


def run_teacher(run: Run, accelerator: str) -> TeacherFeatures | None:
    """Return the features of the teacher of a run; None if it has none.

    A teacher that cannot be opened any more is logged as a warning, and None is returned.
    """
    config = run.config
    if config.teacher is None or run.published:
        return None
    assert config.channels is not None
    try:
        teacher = open_teacher(config, config.channels, accelerator)
    except UserError as error:
        log.warning(f"no row of the teacher: {error}")
        return None
    machine = pick_machine(accelerator, 1, "auto")
    return TeacherFeatures(teacher, run.folder.path.absolute().parent / FOLDER, machine)


def teacher_reference(features: TeacherFeatures) -> Reference:
    """Return the row of the teacher in a comparison: its own frozen features."""
    teacher = features.teacher
    network = LayerFeatures(teacher.network)
    return Reference(TEACHER, network, teacher.input_spec, features.vectors)


def teacher_results(config: PretrainConfig, prepared: Prepared, **agreement: Any) -> dict[str, Any]:
    """Return what ``results.json`` says about the teacher."""
    assert prepared.targets is not None
    return {
        **prepared.targets.features.facts,
        "components": config.output_size,
        "variance_share": round(prepared.targets.space.share, 4),
        **agreement,
    }
