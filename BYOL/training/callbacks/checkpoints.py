"""Checkpoints during training, and requests to stop."""

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from BYOL.errors import StoppedError
from BYOL.training.callbacks.log_values import ends_optimizer_step
from BYOL.training.callbacks.non_finite import NonFiniteSteps
from BYOL.training.callbacks.online import OnlineEvaluation
from BYOL.training.checkpoint_io import CheckpointSchedule, CheckpointStore
from BYOL.training.signals import StopRequest

ASK_EVERY = 8  # optimizer steps between questions to the other processes


class Checkpoints(Callback):
    """Saves a checkpoint when one is due or a stop was requested; must be the last callback.

    Everything that other callbacks write about a step is on disk before the checkpoint of that
    step. So a resumed run neither loses nor repeats a row of its curves.

    Args:
        store: writes the checkpoints.
        schedule: decides by steps and by time when one is due.
        every_epochs: number of epochs between checkpoints at the end of an epoch.
        stop: request to stop, checked after every optimizer step.
        non_finite: knows whether the state is healthy; other states are not saved.
        online: if its k-NN is the best so far, the checkpoint becomes ``best.ckpt`` too.
        facts: facts that a resumed run must share, saved in every checkpoint as ``byol_facts``.
    """

    def __init__(
        self,
        store: CheckpointStore,
        schedule: CheckpointSchedule,
        every_epochs: int,
        stop: StopRequest,
        non_finite: NonFiniteSteps,
        online: OnlineEvaluation | None,
        facts: dict[str, Any],
    ):
        self.store = store
        self.schedule = schedule
        self.every_epochs = every_epochs
        self.stop = stop
        self.non_finite = non_finite
        self.online = online
        self.facts = facts
        self.best = -1.0
        self.started = False

    def state_dict(self) -> dict[str, Any]:
        """Return the best accuracy so far."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best accuracy of the run that is resumed."""
        self.best = float(state_dict["best"])

    def on_save_checkpoint(
        self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the facts to ``checkpoint``."""
        checkpoint["byol_facts"] = self.facts

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Install the signal handlers again, which Lightning has just replaced."""
        self.started = True
        self.stop.install_handlers()
        self.stop.set_deferred(True)
        self.schedule.restart()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Save or stop within an epoch; the last step is handled at the end of the epoch."""
        if trainer.is_last_batch or not ends_optimizer_step(trainer, index):
            return
        step = trainer.global_step
        ask = trainer.world_size == 1 or step % ASK_EVERY == 0
        stopping = ask and any_process(trainer, bool(self.stop.signal_name))
        timed = ask and any_process(trainer, self.schedule.due_by_time())
        # If training ends early (--on-collapse stop), Lightning then counts the epoch as done.
        if stopping or timed or self.schedule.due_by_steps(step) or trainer.should_stop:
            self._save(trainer, module)
        if stopping:
            self._raise_stopped(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Save or stop after an epoch and its k-NN; the last one is saved when training ends."""
        if trainer.should_stop and self.store.step == trainer.global_step:
            return  # stopped within the epoch, and saved there
        epoch = trainer.current_epoch + 1
        # Different machines may round an accuracy differently: all processes save, or none.
        best = self.online is not None and any_process(
            trainer, self.online.improved(epoch, self.best)
        )
        last = epoch == trainer.max_epochs
        stopping = not last and any_process(trainer, bool(self.stop.signal_name))
        due = any_process(trainer, self.schedule.due_by_time())
        due = due or self.schedule.due_by_steps(trainer.global_step)
        if best and self.online:
            self.best = self.online.knn[-1][1]
        if best or (not last and (stopping or due or epoch % self.every_epochs == 0)):
            self._save(trainer, module, best)
        if stopping:
            self._raise_stopped(trainer)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Save the final state."""
        if self.store.step != trainer.global_step:
            self._save(trainer, module)
        self.stop.set_deferred(False)

    def on_exception(
        self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Let a signal end the process at once: nothing checks the request any more."""
        self.stop.deferred = False

    def _save(self, trainer: pl.Trainer, module: pl.LightningModule, best: bool = False) -> None:
        self.schedule.restart()
        if not self.non_finite.is_healthy(trainer, module):
            return
        for logger in trainer.loggers:
            logger.save()
        trainer.save_checkpoint(self.store.folder.checkpoint)
        # Only the first process writes. If the others did not know whether it succeeded, they would
        # save once more at the end and wait there.
        self.store.step = trainer.strategy.broadcast(self.store.step)
        if best and trainer.is_global_zero and self.store.step == trainer.global_step:
            self.store.mark_best()

    def _raise_stopped(self, trainer: pl.Trainer) -> None:
        if not trainer.is_global_zero:
            raise StoppedError  # the first process has the message
        step, cause = self.store.step, self.stop.signal_name or "another process"
        saved = "saved" if step == trainer.global_step else f"the last checkpoint is of step {step}"
        raise StoppedError(
            f"stopped at step {trainer.global_step} by {cause}, "
            f"{saved}: the same command with --resume resumes it"
        )


def any_process(trainer: pl.Trainer, flag: bool) -> bool:
    """Return whether ``flag`` is true in any process; all processes must call this."""
    if trainer.world_size == 1:
        return flag
    return bool(trainer.strategy.reduce_boolean_decision(flag, all=False))
