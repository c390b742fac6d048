"""What watches a run: progress on the screen, curves and gauges in the logs, the alarm."""

import contextlib
import math
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from BYOL.evaluation.alarm import Alarm
from BYOL.evaluation.gauges import collapse_gauges, covariance_spectrum, picture_share
from BYOL.training import Seen

LEAST_READINGS = 4  # of the gauges, an epoch
LEAST_SHARES = 32  # batches whose mean picture_share is worth judging, where an epoch has fewer


class Curves(Callback):
    """Loss, rate and τ into the loggers, read from the device only every ``every`` steps.

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
        warn: called with one line, once, when the alarm first fires.
        stop: whether training ends then.
        spectrum: the .csv file, if any, that gets the eigenvalues of the covariance at the end of
            every epoch, a row each: step, then the largest first.
    """

    def __init__(
        self,
        every: int,
        alarm: Alarm,
        warn: Callable[[str], None],
        *,
        stop: bool = False,
        spectrum: Path | None = None,
    ):
        self.every = every
        self.alarms = alarm
        self.warn = warn
        self.stop = stop
        self.spectrum = spectrum
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
        self.shares = deque(self.shares, maxlen=max(batches, LEAST_SHARES))
        self.read_at = trainer.global_step

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
        self.last = collapse_gauges(*seen)
        # From half an epoch on, so that two readings fit into the first.
        most = self.shares.maxlen or LEAST_SHARES
        if len(self.shares) >= max(most // 2, LEAST_SHARES):
            shares = torch.stack([s.cpu() for s in self.shares]).double()
            self.last["picture_share"] = float(shares.mean())
            self.last["picture_share_error"] = float(shares.std()) / math.sqrt(len(shares))
        record(trainer, {f"gauge/{name}": value for name, value in self.last.items()})
        verdict = self.alarms.judge(self.last)
        if verdict and self.alarm is None:
            self.alarm = verdict
            ends = "; training stops here (--on-collapse stop)" if self.stop else ""
            self.warn(f"step {trainer.global_step}: {verdict}{ends}")
        return verdict

    def _keep_spectrum(self, step: int, seen: Seen) -> None:
        if self.spectrum is None:
            return
        values = covariance_spectrum(seen.target).tolist()
        with (
            contextlib.suppress(OSError),
            self.spectrum.open("a") as file,
        ):  # a row is not worth a run
            print(step, *(f"{value:.5g}" for value in values), sep=",", file=file)


class OnlineKNN(Callback):
    """k-NN accuracy of the backbone while it learns, where there are labels.

    Args:
        every: epochs between checks.
        measure: gives the accuracy of a backbone, in [0, 1].
    """

    def __init__(self, every: int, measure: Callable[[torch.nn.Module], float]):
        self.every = every
        self.measure = measure
        self.curve: list[tuple[int, float]] = []

    def state_dict(self) -> dict[str, Any]:
        """The curve."""
        return {"curve": self.curve}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The curve of the run that goes on."""
        self.curve = [(epoch, accuracy) for epoch, accuracy in state_dict["curve"]]

    def improved(self, epoch: int, best: float) -> bool:
        """Whether this epoch was measured and is better than ``best``."""
        return bool(self.curve) and self.curve[-1][0] == epoch and self.curve[-1][1] > best

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Measure when a check is due."""
        epoch = trainer.current_epoch + 1
        if epoch % self.every:
            return
        accuracy = self.measure(module.model.onlineNet.backend)  # type: ignore[union-attr,arg-type]
        self.curve.append((epoch, accuracy))
        record(trainer, {"knn": accuracy, "epoch": trainer.current_epoch})


class ProgressLine(Callback):
    """One line on standard error: share done, images/s, time left, loss.

    A bar on a terminal; elsewhere a plain line at most every ``quiet`` seconds.

    Args:
        images_per_step: over all processes.
        total_steps: of the run.
        quiet: seconds.
    """

    def __init__(self, images_per_step: int, total_steps: int, quiet: float = 20.0):
        self.images_per_step = images_per_step
        self.total_steps = total_steps
        self.quiet = quiet
        self.console = Console(file=sys.stderr)
        self.started = self.spoke = 0.0
        self.first_step = 0
        self.seconds = 0.0  # of training, in this process and in those that it goes on from
        self.images_per_second = 0.0
        self.earlier = 0.0
        self.bar: Progress | None = None

    def state_dict(self) -> dict[str, Any]:
        """Time spent, and how fast it went."""
        running = time.monotonic() - self.started if self.started else 0.0
        return {"seconds": self.earlier + running, "rate": self.images_per_second}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Time spent before."""
        self.seconds = self.earlier = float(state_dict["seconds"])
        self.images_per_second = float(state_dict["rate"])

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Start the clock."""
        self.started = self.spoke = time.monotonic()
        self.first_step = trainer.global_step
        if trainer.is_global_zero and self.console.is_terminal:
            self.bar = Progress(
                TextColumn("training"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %  {task.fields[note]}"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self.bar.start()
            self.task = self.bar.add_task("", total=self.total_steps, note="")

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Say how far the run is, now and then."""
        now = time.monotonic()
        due = now - self.spoke >= (0.5 if self.bar else self.quiet)
        if not due or not trainer.is_global_zero:
            return
        self.spoke = now
        step = trainer.global_step
        loss = float(outputs["loss"]) * trainer.accumulate_grad_batches
        note = f"{self.rate(trainer):,.0f} images/s  loss {loss:.3f}"
        if self.bar:
            self.bar.update(self.task, completed=step, note=note)
            return
        done = step - self.first_step
        left = (now - self.started) / max(done, 1) * (self.total_steps - step)
        print(f"step {step}/{self.total_steps}  {note}  {left / 60:.1f} min left", file=sys.stderr)

    def rate(self, trainer: pl.Trainer) -> float:
        """Images a second since the start of training, checks and checkpoints included."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        return (trainer.global_step - self.first_step) * self.images_per_step / seconds

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Stop the clock and the bar."""
        self.seconds = self.earlier + time.monotonic() - self.started
        self.images_per_second = self.rate(trainer)
        self._stop()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Give the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self.bar:
            self.bar.stop()
            self.bar = None


def stepped(trainer: pl.Trainer, index: int) -> bool:
    """Whether micro-batch ``index`` of the epoch ended an optimizer step."""
    return (index + 1) % trainer.accumulate_grad_batches == 0


def record(trainer: pl.Trainer, values: dict[str, float]) -> None:
    """Write values to every logger, at the current step."""
    for logger in trainer.loggers:
        logger.log_metrics(values, step=trainer.global_step)
