"""What watches a run: curves and gauges in the logs, the alarm."""

import contextlib
import logging
import math
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from BYOL._files import write_atomically
from BYOL._links import open_no_follow
from BYOL.errors import UserError
from BYOL.evaluation.collapse.alarm import Alarm
from BYOL.evaluation.collapse.metrics import collapse_metrics, covariance_spectrum, picture_share
from BYOL.evaluation.online import OnlineAccuracies
from BYOL.training.module import Seen

log = logging.getLogger(__name__)
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND
LEAST_READINGS = 4  # of the gauges, an epoch
LEAST_SHARES = 32  # batches whose mean picture_share is worth judging, where an epoch has fewer


class Curves(Callback):
    """Loss, rate and epoch into the loggers, read from the device only every ``every`` steps.

    Args:
        every: optimizer steps between rows.
    """

    def __init__(self, every: int):
        self.every = every
        self.losses: list[torch.Tensor] = []

    def state_dict(self) -> dict[str, Any]:
        """The losses that stand in no row yet."""
        return {"losses": [loss.cpu() for loss in self.losses]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with them."""
        self.losses = list(state_dict["losses"])

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Keep the loss where it is; write a row when one is due."""
        self.losses.append(outputs["loss"].detach())
        due = trainer.global_step % self.every == 0 or trainer.is_last_batch
        if due and stepped(trainer, index):
            self._flush(trainer, module)

    def _flush(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not self.losses:
            return
        loss = torch.stack([loss.to(module.device) for loss in self.losses]).mean()
        self.losses.clear()
        optimizer = trainer.optimizers[0]
        record(
            trainer,
            {
                "loss": float(loss) * trainer.accumulate_grad_batches,
                "learning_rate": optimizer.param_groups[0]["lr"],
                "epoch": trainer.current_epoch,
            },
        )


class Gauges(Callback):
    """Collapse gauges of the projections into the loggers, and the alarm.

    At least four readings an epoch, the last at its end. Between readings the device is not waited
    for. Only the first process reads; what it decides holds for all.

    Args:
        every: optimizer steps between readings, at most.
        alarm: judges the readings.
        stop: whether training ends then.
        log_alarm: whether a warning is logged when the alarm first fires.
        spectrum: the .csv file, if any, that gets the eigenvalues of the covariance at the end of
            every epoch, a row each: step, then the largest first.
    """

    def __init__(
        self,
        every: int,
        alarm: Alarm,
        *,
        stop: bool = False,
        spectrum: Path | None = None,
        log_alarm: bool = True,
    ):
        self.every = every
        self.alarms = alarm
        self.stop = stop
        self.spectrum = spectrum
        self.log_alarm = log_alarm
        self.last: dict[str, float] = {}
        self.alarm: str | None = None
        self.stopped = False
        self.read_at = 0
        self.shares: deque[torch.Tensor] = deque()

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Settle the rhythm, which depends on the length of an epoch."""
        batches = int(trainer.num_training_batches)
        steps = batches // trainer.accumulate_grad_batches
        self.every = max(min(self.every, steps // LEAST_READINGS), 1)
        kept = (share.to(module.device) for share in self.shares)  # a checkpoint's are on the CPU
        self.shares = deque(kept, maxlen=max(batches, LEAST_SHARES))
        self.read_at = trainer.global_step
        if self.spectrum is not None and trainer.is_global_zero:
            _forget_later(self.spectrum, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """What is behind the next reading."""
        state: dict[str, Any] = {"last": self.last, "alarm": self.alarm, **self.alarms.state}
        if self.shares:
            state["shares"] = torch.stack(list(self.shares)).cpu()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As it was in the run that goes on."""
        self.last, self.alarm = dict(state_dict["last"]), state_dict["alarm"]
        self.alarms.state = state_dict
        self.shares = deque(state_dict.get("shares", torch.empty(0)).unbind())

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Read the gauges when a reading is due."""
        seen = module.seen
        assert isinstance(seen, Seen)
        if len(seen.target) > 1:
            self.shares.append(picture_share(seen.target, seen.target1))
        step = trainer.global_step
        due = step % self.every == 0 or trainer.is_last_batch
        if step == self.read_at or not due or not stepped(trainer, index):
            return
        self.read_at = step
        if trainer.world_size > 1:  # of the whole batch, not of this process's part
            seen = Seen(*(module.all_gather(part).flatten(0, 1) for part in seen))  # type: ignore[union-attr]
        verdict = self._read(trainer, seen) if trainer.is_global_zero else None
        if trainer.is_last_batch and trainer.is_global_zero:
            self._keep_spectrum(step, seen)
        if self.stop and trainer.strategy.broadcast(verdict) is not None:
            self.stopped = trainer.should_stop = True

    def _read(self, trainer: pl.Trainer, seen: Seen) -> str | None:
        self.last = collapse_metrics(*seen)
        # From half an epoch on, so that two readings fit into the first.
        most = self.shares.maxlen or LEAST_SHARES
        if len(self.shares) >= max(most // 2, LEAST_SHARES):
            shares = torch.stack(list(self.shares)).cpu().double()
            self.last["picture_share"] = float(shares.mean())
            self.last["picture_share_error"] = float(shares.std()) / math.sqrt(len(shares))
        record(trainer, {f"gauge/{name}": value for name, value in self.last.items()})
        verdict = self.alarms.check(self.last)
        if verdict and self.alarm is None:
            self.alarm = verdict
            ends = "; training stops here (--on-collapse stop)" if self.stop else ""
            if self.log_alarm:
                log.warning(f"step {trainer.global_step}: {verdict}{ends}")
        return verdict

    def _keep_spectrum(self, step: int, seen: Seen) -> None:
        if self.spectrum is None:
            return
        values = covariance_spectrum(seen.target).tolist()
        with (
            contextlib.suppress(OSError),
            os.fdopen(open_no_follow(self.spectrum, _APPEND), "a") as file,
        ):  # a row is not worth a run
            print(step, *(f"{value:.5g}" for value in values), sep=",", file=file)


def _forget_later(spectrum: Path, step: int) -> None:
    """Cut the rows behind a step: a run that was killed makes them again."""
    with contextlib.suppress(OSError, UserError):
        lines = spectrum.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if _step_of(line) <= step]
        if len(kept) < len(lines):
            text = "".join(kept)
            write_atomically(spectrum, lambda temporary: temporary.write_text(text, "utf-8"))


def _step_of(row: str) -> float:
    number = row.split(",")[0]
    return int(number) if row.endswith("\n") and number.isdecimal() else math.inf


class OnlineChecks(Callback):
    """Accuracies of the backbone while it learns, where there are labels.

    Args:
        every: epochs between checks.
        measure: gives those of a backbone.
    """

    def __init__(self, every: int, measure: Callable[[torch.nn.Module], OnlineAccuracies]):
        self.every = every
        self.measure = measure
        self.knn: list[tuple[int, float]] = []
        self.probe: list[tuple[int, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """The curves."""
        return {"curve": self.knn, "probe": self.probe}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The curves of the run that goes on; that may be one from before there was a probe."""
        self.knn = [(epoch, accuracy) for epoch, accuracy in state_dict["curve"]]
        self.probe = [(epoch, accuracy) for epoch, accuracy in state_dict.get("probe", [])]

    def improved(self, epoch: int, best: float) -> bool:
        """Whether this epoch was measured and its k-NN is better than ``best``."""
        return bool(self.knn) and self.knn[-1][0] == epoch and self.knn[-1][1] > best

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Measure when a check is due."""
        epoch = trainer.current_epoch + 1
        if epoch % self.every:
            return
        found = self.measure(module.model.onlineNet.backend)  # type: ignore[union-attr,arg-type]
        self.knn.append((epoch, found.knn))
        values = {"knn": found.knn}
        if found.probe is not None:
            self.probe.append((epoch, found.probe))
            values["probe"] = found.probe
        record(trainer, {**values, "epoch": trainer.current_epoch})


def stepped(trainer: pl.Trainer, index: int) -> bool:
    """Whether micro-batch ``index`` of the epoch ended an optimizer step."""
    return (index + 1) % trainer.accumulate_grad_batches == 0


def record(trainer: pl.Trainer, values: dict[str, float]) -> None:
    """Write values to every logger, at the current step."""
    for logger in trainer.loggers:
        logger.log_metrics(values, step=trainer.global_step)
