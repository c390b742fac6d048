"""What keeps a run safe: checkpoints in time, requests to stop, steps that are not finite."""

import logging
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from BYOL.errors import StoppedError, UserError
from BYOL.runs.folder import RunFolder
from BYOL.training.callbacks.metrics import Gauges, OnlineChecks, stepped
from BYOL.training.checkpoint_io import CheckpointStore, Due
from BYOL.training.lars import LARS
from BYOL.training.signals import StopRequest

log = logging.getLogger(__name__)
MOST_IN_A_ROW = 20  # fp16 halves its scale about ten times when a run begins
LOOK_EVERY = 50  # optimizer steps between looks at an accelerator's count of bad steps
AGREE_EVERY = 8  # optimizer steps between questions to the other processes


class BrokenPictures(Callback):
    """Keeps the names of pictures that could not be read; the next one stood in for each."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def state_dict(self) -> dict[str, Any]:
        """The names."""
        return {"names": sorted(self.names)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The names found before."""
        self.names = set(state_dict["names"])

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Look at what the loader says of its batch."""
        found = batch.get("broken")
        if found:
            if not self.names:
                log.warning(f"{found[0]} cannot be read: the next picture stands in for it")
            self.names.update(found)


class FiniteSteps(Callback):
    """Lets a step with a gradient that is not finite move nothing, and ends a run of only those.

    A fused optimizer is told to skip such a step, for others its gradient is replaced by zeros,
    both on the device: nothing waits for it. The count is read at every step on a CPU, every
    :data:`LOOK_EVERY` steps elsewhere.

    Args:
        folder: of the run, for the message.
        gauges: their last reading is part of the message.
    """

    def __init__(self, folder: RunFolder, gauges: Gauges):
        self.folder = folder
        self.gauges = gauges
        self.skipped = 0
        self.count: Tensor | None = None  # on the device: bad steps
        self.streak: Tensor | None = None  # of them in a row, up to now

    def state_dict(self) -> dict[str, Any]:
        """The count."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The count of the run that goes on."""
        self.skipped = int(state_dict["skipped"])

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Make the counters."""
        self.count = torch.tensor(self.skipped, device=module.device)
        self.streak = torch.tensor(0, device=module.device)

    @torch.no_grad()
    def on_before_optimizer_step(
        self, trainer: pl.Trainer, module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Judge the gradients, which are the same on every process."""
        assert self.count is not None and self.streak is not None
        groups = optimizer.param_groups  # to ask the module for them is ten times the work
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
        """Read the count when that costs nothing, or when it is time."""
        if module.device.type == "cpu" or trainer.global_step % LOOK_EVERY == 0:
            self._look(trainer, module)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Read the count."""
        self._look(trainer, module)

    def healthy(self, trainer: pl.Trainer, module: pl.LightningModule) -> bool:
        """Whether the state is worth a checkpoint: the last step good, everything finite."""
        self._look(trainer, module)
        return self.streak is None or not int(self.streak)

    def _look(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
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
        if int(self.streak) >= MOST_IN_A_ROW or not all_finite(module):
            self._end(trainer)

    def _end(self, trainer: pl.Trainer) -> None:
        gauges = ", ".join(f"{name} {value:.3g}" for name, value in self.gauges.last.items())
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        kept = "no checkpoint was written before"
        if self.folder.checkpoint.exists():
            kept = f"{self.folder.checkpoint} is from before"
        raise UserError(
            f"stopped at step {trainer.global_step}: loss, gradient or weights are not finite "
            f"({self.skipped} steps skipped); learning rate {rate:.3g}; gauges: "
            f"{gauges or 'not read'}; {kept}: go on from it with a lower --lr"
        )


def all_finite(module: torch.nn.Module) -> bool:
    """Whether every weight and every running statistic is a number; waits for the device."""
    tensors = [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]
    return bool(torch.stack([t.detach().isfinite().all() for t in tensors]).all())


class Checkpoints(Callback):
    """Saves when it is time, and when the run is asked to stop; must be the last callback.

    Everything that other callbacks write about a step is on disk before the checkpoint of that
    step, so a run that goes on from it neither loses nor doubles a row of its curves.

    Args:
        store: writes them.
        due: by steps and by time.
        every_epochs: one at the end of every so many epochs.
        stop: looked at after every optimizer step.
        finite: only healthy states are saved.
        online: where its k-NN is the best so far, the checkpoint is ``best.ckpt`` too.
        facts: what a run that goes on is held to; in every checkpoint as ``byol_facts``.
    """

    def __init__(
        self,
        store: CheckpointStore,
        due: Due,
        every_epochs: int,
        stop: StopRequest,
        finite: FiniteSteps,
        online: OnlineChecks | None,
        facts: dict[str, Any],
    ):
        self.store = store
        self.due = due
        self.every_epochs = every_epochs
        self.stop = stop
        self.finite = finite
        self.online = online
        self.facts = facts
        self.best = -1.0

    def state_dict(self) -> dict[str, Any]:
        """The best accuracy so far."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The best accuracy of the run that goes on."""
        self.best = float(state_dict["best"])

    def on_save_checkpoint(
        self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """What the state belongs to."""
        checkpoint["byol_facts"] = self.facts

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Take over the signals, which Lightning has just taken."""
        self.stop.listen()
        self.stop.defer(True)
        self.due.done()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """In the middle of an epoch; its last step is looked at when the epoch is over."""
        if trainer.is_last_batch or not stepped(trainer, index):
            return
        step = trainer.global_step
        talk = trainer.world_size == 1 or step % AGREE_EVERY == 0
        stopping = talk and _any(trainer, bool(self.stop.asked))
        timed = talk and _any(trainer, self.due.by_time())
        # Where training ends early (--on-collapse stop), Lightning then counts the epoch as done.
        if stopping or timed or self.due.by_steps(step) or trainer.should_stop:
            self._save(trainer, module)
        if stopping:
            self._leave(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """After an epoch and its k-NN; the last epoch's is written when training ends."""
        if trainer.should_stop and self.store.step == trainer.global_step:
            return  # in the middle of the epoch, and saved as that
        epoch = trainer.current_epoch + 1
        # unlike machines may round an accuracy apart: all save, or none
        best = self.online is not None and _any(trainer, self.online.improved(epoch, self.best))
        last = epoch == trainer.max_epochs
        stopping = not last and _any(trainer, bool(self.stop.asked))
        timed = _any(trainer, self.due.by_time()) or self.due.by_steps(trainer.global_step)
        if best and self.online:
            self.best = self.online.knn[-1][1]
        if best or (not last and (stopping or timed or epoch % self.every_epochs == 0)):
            self._save(trainer, module, best)
        if stopping:
            self._leave(trainer)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """The final state."""
        if self.store.step != trainer.global_step:
            self._save(trainer, module)
        self.stop.defer(False)

    def on_exception(
        self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Nobody looks any more."""
        self.stop.deferred = False

    def _save(self, trainer: pl.Trainer, module: pl.LightningModule, best: bool = False) -> None:
        self.due.done()
        if not self.finite.healthy(trainer, module):
            return
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(self.store.folder.checkpoint)
        # Only the first process has written, or could not: unless all know of which step there is
        # one, the others would save once more at the end, and wait for it there.
        self.store.step = trainer.strategy.broadcast(self.store.step)
        if best and trainer.is_global_zero and self.store.step == trainer.global_step:
            self.store.mark_best()

    def _leave(self, trainer: pl.Trainer) -> None:
        if not trainer.is_global_zero:
            raise StoppedError  # the first process says why
        kept = self.store.step
        saved = "saved" if kept == trainer.global_step else f"the last checkpoint is of step {kept}"
        raise StoppedError(
            f"stopped at step {trainer.global_step} by {self.stop.asked or 'another process'}, "
            f"{saved}: the same line with --resume goes on"
        )


def _any(trainer: pl.Trainer, mine: bool) -> bool:
    """Whether any process says so; all must ask."""
    if trainer.world_size == 1:
        return mine
    return bool(trainer.strategy.reduce_boolean_decision(mine, all=False))
