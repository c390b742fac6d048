"""The callbacks of a run and their share of the results."""

from functools import partial
from typing import Any

from pytorch_lightning.callbacks import Callback

from BYOL._hardware import torch_device
from BYOL.config import save_config
from BYOL.config.evaluation_settings import EvaluationSettings
from BYOL.config.tasks import CLASSES
from BYOL.evaluation.collapse.alarm import Alarm, likely_cause
from BYOL.evaluation.collapse.metrics import with_former_names
from BYOL.evaluation.labelled_set import task_of
from BYOL.evaluation.online import online_check
from BYOL.evaluation.splits import comparable_test_set
from BYOL.runs.folder import RunFolder
from BYOL.training.budget import Estimate
from BYOL.training.callbacks.broken_images import BrokenImages
from BYOL.training.callbacks.checkpoints import Checkpoints
from BYOL.training.callbacks.collapse import CollapseMetrics
from BYOL.training.callbacks.losses import Losses
from BYOL.training.callbacks.non_finite import NonFiniteSteps
from BYOL.training.callbacks.online import OnlineEvaluation
from BYOL.training.callbacks.progress import ProgressLine
from BYOL.training.callbacks.time_limit import TimeLimit
from BYOL.training.checkpoint_io import CheckpointSchedule, CheckpointStore
from BYOL.training.module import Pretraining
from BYOL.training.run_setup import RunSetup
from BYOL.training.signals import StopRequest


class RunCallbacks:
    """The callbacks of a run and the store of its checkpoints.

    Args:
        run: the run.
        stop: request to stop, checked after every optimizer step.
        module: what is trained.
        facts: facts that a resumed run must share; they are saved in every checkpoint.
    """

    def __init__(
        self,
        run: RunSetup,
        stop: StopRequest,
        module: Pretraining,
        facts: dict[str, Any],
    ):
        config, start = run.config, run.start

        def restore_folder() -> None:
            start.folder.create()
            save_config(module.config, start.folder.config)  # its length may have been corrected

        folder, total_steps = start.folder, module.length.final
        self.left_out = run.prepared.broken
        self.store = CheckpointStore(folder, config.checkpoint_keep, restore_folder, start.step)
        self.progress = ProgressLine(config.batch_size, module.length)
        self.broken = BrokenImages()
        alarm, measured = Alarm(partial(likely_cause, config)), config.only(EvaluationSettings)
        self.collapse = _collapse_metrics(measured, alarm, folder)
        self.non_finite = NonFiniteSteps(folder, self.collapse)
        self.online = _online_evaluation(run)
        schedule = CheckpointSchedule(config.checkpoint_steps, config.checkpoint_minutes)
        every = config.checkpoint_every
        self.checkpoints = Checkpoints(
            self.store, schedule, every, stop, self.non_finite, self.online, facts
        )
        self.callbacks: list[Callback] = [
            self.progress,
            self.broken,
            self.non_finite,
            Losses(every=max(min(50, total_steps // 20), 1)),
            *([self.collapse] if config.gauges_every else []),
            *([self.online] if self.online else []),
            *_time_limit(run.estimate, folder),
            self.checkpoints,
        ]

    @property
    def started(self) -> bool:
        """Whether training has started; the state of a checkpoint is restored before."""
        return self.checkpoints.started

    def results(self) -> dict[str, Any]:
        """Return the part of ``results.json`` that the callbacks have measured."""
        return {
            "train_seconds": round(self.progress.seconds, 1),
            "images_per_second": round(self.progress.images_per_second, 1),
            "steps_skipped": self.non_finite.skipped,
            "pictures_left_out": sorted({*self.left_out, *self.broken.names}),
            "gauges": with_former_names(self.collapse.last),
            "alarm": self.collapse.alarm,
            "stopped": self.collapse.stopped,
            "online_knn": self.online.knn if self.online else [],
            "online_probe": self.online.probe if self.online else [],
        }


def _collapse_metrics(
    config: EvaluationSettings, alarm: Alarm, folder: RunFolder
) -> CollapseMetrics:
    stop = config.on_collapse == "stop"
    return CollapseMetrics(config.gauges_every, alarm, stop=stop, spectrum=folder.spectrum)


def _time_limit(estimate: Estimate | None, folder: RunFolder) -> list[Callback]:
    if estimate is None or estimate.deadline is None:
        return []
    return [TimeLimit(estimate, lambda config: save_config(config, folder.config))]


def _online_evaluation(run: RunSetup) -> OnlineEvaluation | None:
    config, prepared = run.config, run.prepared
    bank = prepared.labelled or prepared.train
    if not config.knn_every or task_of(bank) != CLASSES:
        return None
    device = torch_device(run.machine.accelerator)
    measure = online_check(
        bank, comparable_test_set(prepared.test, bank), config.input_spec, device=device
    )
    return OnlineEvaluation(config.knn_every, measure)
