"""The time limit of a run: its length is corrected if the speed differs from the measured one."""

import dataclasses
import logging
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from BYOL.config import PretrainConfig
from BYOL.config.recipe import fit_length
from BYOL.training.budget import Estimate
from BYOL.training.callbacks.log_values import ends_optimizer_step
from BYOL.training.module import Pretraining

log = logging.getLogger(__name__)
_MOMENTS = (0.1, 0.25, 0.5, 0.75, 0.9)  # fractions of the training time after which it is corrected
_LEAST_STEPS = 5  # whose time is an estimate of the speed
_TOLERANCE = 0.03  # relative difference of the remaining steps that is not worth a correction
_NOTABLE = 0.1  # change of the number of steps since the last message that is worth another one
_MOST_SLOWDOWN = 4.0  # of what follows the training, estimated from that of the steps


class TimeLimit(Callback):
    """Corrects the number of steps so that a run with ``--minutes`` ends in time.

    The speed before the first step is a sample of some seconds: a laptop slows down when it gets
    hot, and other programs come and go. Every correction is recorded in the settings of the run.
    A resumed run keeps the recorded length, so it has no such callback.

    Args:
        estimate: the measured speed, with the deadline of the training.
        save: writes the changed settings.
    """

    def __init__(self, estimate: Estimate, save: Callable[[PretrainConfig], None]):
        assert estimate.deadline is not None
        self._estimate, self._deadline, self._save = estimate, estimate.deadline, save
        self._moments: list[float] = []
        self._since, self._first = 0.0, 0
        self._logged = 0  # number of steps in the last message

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Start the clock."""
        self._since, self._first = time.monotonic(), trainer.global_step
        span = self._deadline - self._since
        self._moments = [self._since + share * span for share in _MOMENTS if span > 0]

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Correct the length if it is time for that."""
        if not self._moments or not ends_optimizer_step(trainer, index):
            return
        now, step = time.monotonic(), trainer.global_step
        assert isinstance(module, Pretraining)
        done = step - self._first
        # Half of the remaining steps: a run that a short disturbance has shortened must not end
        # before the next moment.
        due = now >= self._moments[0] or done >= (module.length.final - self._first) // 2
        if not due or done < _LEAST_STEPS:
            return
        each = (now - self._since) / done
        total = self._total(step, now, each)
        left = module.length.final - step
        if left > 0 and abs(total - step - left) > _TOLERANCE * left:
            self._change(trainer, module, step, total)
        self._moments = [moment for moment in self._moments if moment > now]
        self._since, self._first = now, step

    def _total(self, step: int, now: float, each: float) -> int:
        """The number of steps of a run that ends in time if a step takes ``each`` seconds."""
        slowdown = min(max(each / self._estimate.step, 1 / _MOST_SLOWDOWN), _MOST_SLOWDOWN)
        left = self._deadline - now + self._estimate.rest * (1 - slowdown)
        return step + max(int(left / each), 1)

    def _change(self, trainer: pl.Trainer, module: Pretraining, step: int, total: int) -> None:
        per_epoch = module.length.per_epoch
        values = fit_length(total, per_epoch, self._estimate.most_epochs)
        if values["steps"] is None and values["epochs"] * per_epoch <= step:
            values["steps"] = total
            values["epochs"] = -(-total // per_epoch)
        total = values["steps"] or values["epochs"] * per_epoch
        module.length.change(step, total)
        module.config = dataclasses.replace(
            module.config, **values, length_changes=module.length.flat
        )
        trainer.fit_loop.max_epochs = values["epochs"]
        trainer.fit_loop.epoch_loop.max_steps = values["steps"] or -1
        self._save(module.config)
        if abs(total - self._logged) > _NOTABLE * total:
            self._logged = total
            log.info(f"the speed has changed: {total:,} steps fit the time limit now")
