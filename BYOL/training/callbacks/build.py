"""Everything that watches a run, put together: progress, curves, gauges, safety, checkpoints."""

from typing import Any

from pytorch_lightning.callbacks import Callback

from BYOL._hardware import Machine, torch_device
from BYOL.config import PretrainConfig, save_config
from BYOL.config.tasks import CLASSES
from BYOL.evaluation.collapse.alarm import Alarm
from BYOL.evaluation.online import online_check
from BYOL.evaluation.splits import comparable_test_set, task_of
from BYOL.training.callbacks.checkpoint import BrokenPictures, Checkpoints, FiniteSteps
from BYOL.training.callbacks.metrics import Curves, Gauges, OnlineChecks
from BYOL.training.callbacks.progress import ProgressLine
from BYOL.training.checkpoint_io import CheckpointStore, Due
from BYOL.training.prepare import Prepared
from BYOL.training.resume import Start
from BYOL.training.signals import StopRequest


class Watchers:
    """The callbacks of a run, what writes its checkpoints, and what both have found in the end.

    Args:
        config: settled settings.
        prepared: the pictures.
        start: where the run begins.
        machine: what it computes on.
        stop: looked at after every optimizer step.
        total_steps: of the run.
        held_to: what a run that goes on must not change; stands in every checkpoint.
    """

    def __init__(
        self,
        config: PretrainConfig,
        prepared: Prepared,
        start: Start,
        machine: Machine,
        stop: StopRequest,
        total_steps: int,
        held_to: dict[str, Any],
    ):
        def restore() -> None:
            start.folder.create()
            save_config(config, start.folder.config)

        folder = start.folder
        self.left_out = prepared.broken
        self.store = CheckpointStore(folder, config.checkpoint_keep, restore, start.step)
        self.progress = ProgressLine(config.batch_size, total_steps)
        self.broken = BrokenPictures()
        self.gauges = Gauges(
            config.gauges_every,
            Alarm(config),
            stop=config.on_collapse == "stop",
            spectrum=folder.spectrum,
        )
        self.finite = FiniteSteps(folder, self.gauges)
        self.online = _online_checks(config, prepared, machine)
        due = Due(config.checkpoint_steps, config.checkpoint_minutes)
        every = config.checkpoint_every
        self.callbacks: list[Callback] = [
            self.progress,
            self.broken,
            self.finite,
            Curves(every=max(min(50, total_steps // 20), 1)),
            *([self.gauges] if config.gauges_every else []),
            *([self.online] if self.online else []),
            Checkpoints(self.store, due, every, stop, self.finite, self.online, held_to),
        ]

    def found(self) -> dict[str, Any]:
        """Their part of ``results.json``."""
        return {
            "train_seconds": round(self.progress.seconds, 1),
            "images_per_second": round(self.progress.images_per_second, 1),
            "steps_skipped": self.finite.skipped,
            "pictures_left_out": sorted({*self.left_out, *self.broken.names}),
            "gauges": self.gauges.last,
            "alarm": self.gauges.alarm,
            "stopped": self.gauges.stopped,
            "online_knn": self.online.knn if self.online else [],
            "online_probe": self.online.probe if self.online else [],
        }


def _online_checks(
    config: PretrainConfig, prepared: Prepared, machine: Machine
) -> OnlineChecks | None:
    bank = prepared.labelled or prepared.train
    if not config.knn_every or task_of(bank) != CLASSES:
        return None
    device = torch_device(machine.accelerator)
    measure = online_check(
        bank, comparable_test_set(prepared.test, bank), config.input_spec, device=device
    )
    return OnlineChecks(config.knn_every, measure)
