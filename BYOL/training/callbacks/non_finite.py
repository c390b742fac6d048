"""Optimizer steps whose gradient is not finite."""

import logging
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from BYOL.errors import UserError
from BYOL.runs.folder import RunFolder
from BYOL.training.callbacks.collapse import CollapseMetrics
from BYOL.training.lars import LARS

log = logging.getLogger(__name__)
MAX_STREAK = 20  # fp16 halves its scale about ten times at the beginning of a run
READ_EVERY = 50  # optimizer steps between reads of the counters of an accelerator


class NonFiniteSteps(Callback):
    """Skips steps with a gradient that is not finite, and ends a run that has only such steps.

    A fused optimizer is instructed to skip the step. For other optimizers the gradient is replaced
    by zeros. Both happen on the device and do not wait for it. The counters are read at every step
    on a CPU and every :data:`READ_EVERY` steps elsewhere. The first skipped step is logged.

    Args:
        folder: folder of the run, for the message.
        collapse: its last values are part of the message.
    """

    def __init__(self, folder: RunFolder, collapse: CollapseMetrics):
        self.folder = folder
        self.collapse = collapse
        self.skipped = 0
        self.count: Tensor | None = None  # number of skipped steps, on the device
        self.streak: Tensor | None = None  # number of skipped steps in a row, on the device

    @property
    def state_key(self) -> str:
        """The key of the state in checkpoints, as in earlier versions."""
        return "FiniteSteps"

    def state_dict(self) -> dict[str, Any]:
        """Return the number of skipped steps."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the number of skipped steps."""
        self.skipped = int(state_dict["skipped"])

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Create the counters on the device."""
        self.count = torch.tensor(self.skipped, device=module.device)
        self.streak = torch.tensor(0, device=module.device)

    @torch.no_grad()
    def on_before_optimizer_step(
        self, trainer: pl.Trainer, module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Check the gradients, which are equal on all processes."""
        assert self.count is not None and self.streak is not None
        groups = optimizer.param_groups  # asking the module for them is ten times the work
        grads = [p.grad for group in groups for p in group["params"] if p.grad is not None]
        if not grads:
            return
        bad = ~torch.stack(torch._foreach_norm(grads)).sum().isfinite()
        self.count += bad
        self.streak = (self.streak + 1) * bad
        if optimizer.defaults.get("fused"):
            optimizer.found_inf = bad.float()  # type: ignore[attr-defined]
            return
        if grads[0].device.type != "cpu" or bad:
            for grad in grads:
                grad.masked_fill_(bad, 0.0)
        if isinstance(optimizer, LARS):
            optimizer.unfit = bad

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Read the counters on a CPU, where that costs nothing, and elsewhere now and then."""
        if module.device.type == "cpu" or trainer.global_step % READ_EVERY == 0:
            self._read(trainer, module)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Read the counters."""
        self._read(trainer, module)

    def is_healthy(self, trainer: pl.Trainer, module: pl.LightningModule) -> bool:
        """Return whether the state is worth a checkpoint: the last step was not skipped.

        Raises:
            UserError: the weights are not finite, or too many steps in a row were skipped.
        """
        self._read(trainer, module)
        return self.streak is None or not int(self.streak)

    def _read(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self.count is None or self.streak is None:
            return
        count = int(self.count)
        if count == self.skipped:
            return
        if not self.skipped:
            log.warning(
                f"step {trainer.global_step}: the loss or its gradient is not finite; the step is "
                "skipped, and so are others of this kind"
            )
        self.skipped = count
        if int(self.streak) >= MAX_STREAK or not all_finite(module):
            raise self._error(trainer)

    def _error(self, trainer: pl.Trainer) -> UserError:
        values = ", ".join(f"{name} {value:.3g}" for name, value in self.collapse.last.items())
        learning_rate = trainer.optimizers[0].param_groups[0]["lr"]
        checkpoint = "there is no earlier checkpoint"
        if self.folder.checkpoint.exists():
            checkpoint = f"{self.folder.checkpoint} is earlier"
        return UserError(
            f"stopped at step {trainer.global_step}: loss, gradient or weights are not finite "
            f"({self.skipped} steps skipped); learning rate {learning_rate:.3g}; collapse metrics: "
            f"{values or 'not measured'}; {checkpoint}: resume from it with a lower --lr"
        )


def all_finite(module: torch.nn.Module) -> bool:
    """Return whether all weights and running statistics are finite; this waits for the device."""
    tensors = [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]
    return bool(torch.stack([t.detach().isfinite().all() for t in tensors]).all())
