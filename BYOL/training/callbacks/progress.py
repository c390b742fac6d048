"""Progress of training on standard error."""

import time
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from BYOL._console import Progress
from BYOL.training.length import Length


class ProgressLine(Callback):
    """Shows the number of steps, images per second, the time left and the loss.

    Args:
        images_per_step: images of an optimizer step, over all processes.
        length: optimizer steps of the run.
        quiet: least seconds between lines where standard error is no terminal.
    """

    def __init__(self, images_per_step: int, length: Length, quiet: float = 20.0):
        self.images_per_step = images_per_step
        self.length = length
        self.progress = Progress("training", length.final, seconds=quiet, transient=False)
        self.started = 0.0
        self.first_step = 0
        self.seconds = 0.0  # of training, including the runs that this one resumes
        self.images_per_second = 0.0
        self.earlier = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds of training and the speed in images per second."""
        running = time.monotonic() - self.started if self.started else 0.0
        return {"seconds": self.earlier + running, "rate": self.images_per_second}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the seconds of training and the speed."""
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
        """Update the progress if that is due."""
        if not self.progress.due() or not trainer.is_global_zero:
            return
        step = trainer.global_step
        loss = float(outputs["loss"]) * trainer.accumulate_grad_batches
        note = f"{self.speed(trainer):,.0f} images/s  loss {loss:.3f}"
        done = step - self.first_step
        total = self.length.final
        left = (time.monotonic() - self.started) / max(done, 1) * (total - step)
        line = f"step {step}/{total}  {note}  {left / 60:.1f} min left"
        self.progress.update(step, note, line, total)

    def speed(self, trainer: pl.Trainer) -> float:
        """Return images per second since the start, including evaluations and checkpoints."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        return (trainer.global_step - self.first_step) * self.images_per_step / seconds

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Stop the clock and the bar."""
        self.seconds = self.earlier + time.monotonic() - self.started
        self.images_per_second = self.speed(trainer)
        self.progress.stop()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Stop the bar, so that the error message is readable."""
        self.progress.stop()
