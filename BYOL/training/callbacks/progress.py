"""How far a run is, on the screen."""

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from BYOL._console import Progress


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
        self.progress = Progress("training", total_steps, seconds=quiet, transient=False)
        self.started = 0.0
        self.first_step = 0
        self.seconds = 0.0  # of training, in this process and in those that it goes on from
        self.images_per_second = 0.0
        self.earlier = 0.0

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
        self.started = time.monotonic()
        self.first_step = trainer.global_step
        if trainer.is_global_zero:
            self.progress.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Say how far the run is, now and then."""
        if not self.progress.due() or not trainer.is_global_zero:
            return
        step = trainer.global_step
        loss = float(outputs["loss"]) * trainer.accumulate_grad_batches
        note = f"{self.rate(trainer):,.0f} images/s  loss {loss:.3f}"
        done = step - self.first_step
        left = (time.monotonic() - self.started) / max(done, 1) * (self.total_steps - step)
        line = f"step {step}/{self.total_steps}  {note}  {left / 60:.1f} min left"
        self.progress.update(step, note, line)

    def rate(self, trainer: pl.Trainer) -> float:
        """Images a second since the start of training, checks and checkpoints included."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        return (trainer.global_step - self.first_step) * self.images_per_step / seconds

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Stop the clock and the bar."""
        self.seconds = self.earlier + time.monotonic() - self.started
        self.images_per_second = self.rate(trainer)
        self.progress.stop()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Give the terminal back."""
        self.progress.stop()
