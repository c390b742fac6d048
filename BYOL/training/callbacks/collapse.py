"""Collapse metrics during training, and the alarm."""

import contextlib
import logging
import math
import os
from collections import deque
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from BYOL._files import write_atomically
from BYOL._untrusted import open_no_follow
from BYOL.errors import UserError
from BYOL.evaluation.collapse.alarm import Alarm
from BYOL.evaluation.collapse.metrics import collapse_metrics, covariance_spectrum, picture_share
from BYOL.training.callbacks.log_values import ends_optimizer_step, log_values
from BYOL.training.module import Projections

log = logging.getLogger(__name__)
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
MIN_MEASUREMENTS = 4  # of the collapse metrics per epoch
MIN_SHARES = 32  # batches over which picture_share is averaged, where an epoch has fewer


class CollapseMetrics(Callback):
    """Writes collapse metrics of the projections to the loggers and evaluates the alarm.

    There are at least four measurements per epoch, the last one at its end. Between measurements
    training does not wait for the device. Only the first process measures, and its decision holds
    for all processes.

    Args:
        every: greatest number of optimizer steps between measurements.
        alarm: evaluates the measurements.
        stop: whether training ends when the alarm fires.
        log_alarm: whether a warning is logged when the alarm first fires.
        spectrum: .csv file for the eigenvalues of the covariance at the end of every epoch, one row
            each: the step, then the eigenvalues in descending order; None means no file.
    """

    def __init__(
        self,
        every: int,
        alarm: Alarm,
        *,
        stop: bool = False,
        log_alarm: bool = True,
        spectrum: Path | None = None,
    ):
        self.every = every
        self.alarms = alarm
        self.stop = stop
        self.log_alarm = log_alarm
        self.spectrum = spectrum
        self.last: dict[str, float] = {}
        self.alarm: str | None = None
        self.stopped = False
        self.measured_at = 0
        self.shares: deque[torch.Tensor] = deque()

    @property
    def state_key(self) -> str:
        """The key of the state in checkpoints, as in earlier versions."""
        return "Gauges"

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Resolve the interval, which depends on the length of an epoch."""
        batches = int(trainer.num_training_batches)
        steps = batches // trainer.accumulate_grad_batches
        self.every = max(min(self.every, steps // MIN_MEASUREMENTS), 1)
        shares = (share.to(module.device) for share in self.shares)  # a checkpoint's are on the CPU
        self.shares = deque(shares, maxlen=max(batches, MIN_SHARES))
        self.measured_at = trainer.global_step
        if self.spectrum is not None and trainer.is_global_zero:
            _remove_later_rows(self.spectrum, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """Return the last measurement, the state of the alarm and the recent shares."""
        state: dict[str, Any] = {"last": self.last, "alarm": self.alarm, **self.alarms.state}
        if self.shares:
            state["shares"] = torch.stack(list(self.shares)).cpu()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of the run that is resumed."""
        self.last, self.alarm = dict(state_dict["last"]), state_dict["alarm"]
        self.alarms.state = state_dict
        self.shares = deque(state_dict.get("shares", torch.empty(0)).unbind())

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Measure if a measurement is due."""
        projections = module.projections
        assert isinstance(projections, Projections)
        if len(projections.target) > 1:
            self.shares.append(picture_share(projections.target, projections.target1))
        step = trainer.global_step
        due = step % self.every == 0 or trainer.is_last_batch
        if step == self.measured_at or not due or not ends_optimizer_step(trainer, index):
            return
        self.measured_at = step
        if trainer.world_size > 1:  # of the whole batch, not of the part of this process
            parts = (part for part in projections if part is not None)
            projections = Projections(*(module.all_gather(part).flatten(0, 1) for part in parts))  # type: ignore[union-attr]
        cause = self._measure(trainer, projections) if trainer.is_global_zero else None
        if trainer.is_last_batch and trainer.is_global_zero:
            self._write_spectrum(step, projections)
        if self.stop and trainer.strategy.broadcast(cause) is not None:
            self.stopped = trainer.should_stop = True

    def _measure(self, trainer: pl.Trainer, projections: Projections) -> str | None:
        self.last = collapse_metrics(*projections)
        # From half an epoch on, so that the first epoch has two measurements of it.
        most = self.shares.maxlen or MIN_SHARES
        if len(self.shares) >= max(most // 2, MIN_SHARES):
            shares = torch.stack(list(self.shares)).cpu().double()
            self.last["picture_share"] = float(shares.mean())
            self.last["picture_share_error"] = float(shares.std()) / math.sqrt(len(shares))
        log_values(trainer, {f"gauge/{name}": value for name, value in self.last.items()})
        cause = self.alarms.check(self.last)
        if cause and self.alarm is None:
            self.alarm = cause
            ending = "; training stops here (--on-collapse stop)" if self.stop else ""
            if self.log_alarm:
                log.warning(f"step {trainer.global_step}: {cause}{ending}")
        return cause

    def _write_spectrum(self, step: int, projections: Projections) -> None:
        if self.spectrum is None:
            return
        values = covariance_spectrum(projections.target).tolist()
        with (
            contextlib.suppress(OSError),  # a missing row does not justify the loss of a run
            os.fdopen(open_no_follow(self.spectrum, _APPEND), "a") as file,
        ):
            print(step, *(f"{value:.5g}" for value in values), sep=",", file=file)


def _remove_later_rows(spectrum: Path, step: int) -> None:
    """Remove the rows after ``step``: a run that was killed writes them again."""
    with contextlib.suppress(OSError, UserError):
        text = spectrum.read_text(encoding="utf-8", errors="surrogateescape")
        lines = text.splitlines(keepends=True)
        kept = [line for line in lines if _step_of(line) <= step]
        if len(kept) < len(lines):
            data = "".join(kept).encode("utf-8", "surrogateescape")
            write_atomically(spectrum, lambda temporary: temporary.write_bytes(data))


def _step_of(row: str) -> float:
    number = row.split(",")[0]
    return int(number) if row.endswith("\n") and number.isdecimal() else math.inf
