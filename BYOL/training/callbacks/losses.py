"""Loss and learning rate in the logs."""

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from BYOL.training.callbacks.log_values import ends_optimizer_step, log_values


class Losses(Callback):
    """Writes loss, learning rate and epoch to the loggers.

    The losses stay on the device between two rows, so training does not wait for them.

    Args:
        every: optimizer steps between rows.
    """

    def __init__(self, every: int):
        self.every = every
        self.losses: list[torch.Tensor] = []

    @property
    def state_key(self) -> str:
        """The key of the state in checkpoints, as in earlier versions."""
        return "Curves"

    def state_dict(self) -> dict[str, Any]:
        """Return the losses that are not in a row yet."""
        return {"losses": [loss.cpu() for loss in self.losses]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the losses that were not in a row yet."""
        self.losses = list(state_dict["losses"])

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Keep the loss, and write a row if one is due."""
        # Lightning has divided it by the number of parts, which may change when a run is resumed.
        self.losses.append(outputs["loss"].detach() * trainer.accumulate_grad_batches)
        due = trainer.global_step % self.every == 0 or trainer.is_last_batch
        if due and ends_optimizer_step(trainer, index):
            self._write_row(trainer, module)

    def _write_row(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not self.losses:
            return
        loss = torch.stack([loss.to(module.device) for loss in self.losses]).mean()
        self.losses.clear()
        optimizer = trainer.optimizers[0]
        log_values(
            trainer,
            {
                "loss": float(loss),
                "learning_rate": optimizer.param_groups[0]["lr"],
                "epoch": trainer.current_epoch,
            },
        )
