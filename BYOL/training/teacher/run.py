"""The teacher in the course of a run: its targets before training, its row after it."""

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

from BYOL._hardware import Machine, pick_accelerator, pick_machine
from BYOL.byol import BYOL
from BYOL.config.model_settings import ModelSettings
from BYOL.config.view_settings import ViewSettings
from BYOL.data.dataset import Images
from BYOL.errors import UserError
from BYOL.evaluation.baselines import TEACHER, Reference
from BYOL.model.layer_features import LayerFeatures
from BYOL.runs.open import Run
from BYOL.runs.schema import read_results
from BYOL.training.prepare import Prepared
from BYOL.training.teacher.features import FOLDER, TeacherFeatures, features_of_run
from BYOL.training.teacher.network import open_teacher
from BYOL.training.teacher.targets import build_targets, measure_agreement

if TYPE_CHECKING:
    from BYOL.training.resume import Start  # it imports Lightning

log = logging.getLogger(__name__)


def with_targets(
    prepared: Prepared,
    start: "Start",
    machine: Machine,
    *,
    components: int,
    out: str | None,
    workers: int | None,
) -> Prepared:
    """Return ``prepared`` with the targets of the teacher; unchanged without a teacher.

    Args:
        prepared: the images and the teacher.
        start: where the run starts, and its folder.
        machine: the machine that computes.
        components: number of dimensions of a target.
        out: the folder of the run, next to which the features are stored.
        workers: number of processes that load images; None depends on the machine.

    Raises:
        UserError: the features of the teacher cannot be computed.
    """
    if prepared.teacher is None:
        return prepared
    features = features_of_run(out, workers, prepared.teacher, machine)
    targets = build_targets(
        components,
        features,
        prepared.train,
        start.folder,
        held_out=prepared.test is None,
        resumed=start.checkpoint is not None,
    )
    if prepared.test is not None:  # for the agreement, and for the row of the comparison
        features.of(prepared.test)
    teacher = prepared.teacher
    origin = "read from an earlier run" if features.reused else f"{features.seconds:.0f} s"
    log.info(
        f"teacher {teacher.name} (trained on {teacher.trained_on}, licence {teacher.licence}): "
        f"features of {features.images:,} images at {teacher.size} px ({origin}), "
        f"{components} components with {targets.space.share:.0%} of their variance"
    )
    return dataclasses.replace(prepared, targets=targets)


def run_teacher(run: Run, accelerator: str, *sets: Images | None) -> TeacherFeatures | None:
    """Return the features of the teacher of a run; None if it has none.

    A teacher that cannot be opened any more is logged as a warning, and None is returned.

    Args:
        run: the run.
        accelerator: cpu, gpu or mps.
        sets: images whose stored features are read.
    """
    config = run.config
    if config.teacher is None or run.published:
        return None
    assert config.channels is not None
    try:
        teacher = open_teacher(config.only(ModelSettings), config.channels, accelerator)
    except UserError as error:
        log.warning(f"no row of the teacher: {error}")
        return None
    folder = run.folder.path.absolute().parent / FOLDER
    features = TeacherFeatures(teacher, folder, _recorded_machine(run, accelerator))
    features.read(*sets)
    return features


def _recorded_machine(run: Run, accelerator: str) -> Machine:
    """Return this machine with the precision of the run, in which its features are stored."""
    recorded = ((read_results(run.folder.results) or {}).get("machine") or {}).get("precision")
    if recorded is None:  # a run of an earlier version, or one that is not finished
        return pick_machine(accelerator, 1, "auto")
    return Machine(pick_accelerator(accelerator, 1), str(recorded))


def teacher_rows(features: TeacherFeatures | None) -> list[Reference]:
    """Return the row of the teacher in a comparison, its own frozen features; none without one."""
    if features is None:
        return []
    network, spec = LayerFeatures(features.teacher.network), features.teacher.input_spec
    return [Reference(TEACHER, network, spec, features.vectors)]


def teacher_facts(features: TeacherFeatures | None) -> dict[str, Any]:
    """Return the entry ``teacher`` of an evaluation; empty without a teacher."""
    return {} if features is None else {"teacher": features.facts}


def teacher_results(
    config: ViewSettings, prepared: Prepared, model: BYOL, machine: Machine
) -> dict[str, Any]:
    """Return the entry ``teacher`` of results.json; empty without a teacher.

    It holds the facts about the teacher, its cost, and how well the trained network predicts it.
    """
    targets = prepared.targets
    if targets is None:
        return {}
    agreement = measure_agreement(config, targets, model, prepared.train, prepared.test, machine)
    return {
        "teacher": {
            **targets.features.facts,
            "components": len(targets.space.scales),
            "variance_share": round(targets.space.share, 4),
            **agreement,
        }
    }
