"""The training step as a Lightning module."""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from BYOL import __version__, byol
from BYOL._hardware import restart_peak_memory
from BYOL._random import fold, seed_generators
from BYOL.config import PretrainConfig
from BYOL.config.optimization_settings import OptimizationSettings
from BYOL.data.batch import Batch
from BYOL.model.kept_buffers import buffers_kept
from BYOL.model.loss import criterion
from BYOL.model.schedules import learning_rate, tau
from BYOL.training.compile import compile_forward
from BYOL.training.length import Length
from BYOL.training.optimizers import build_optimizer, keep_present_settings, set_learning_rate
from BYOL.views.pipeline import Views


class Projections(NamedTuple):
    """Outputs that the collapse metrics need, (B, P) each.

    ``target`` and ``target1`` are the target projections of the two views. ``prediction1`` predicts
    ``target`` from the second view. With a teacher, whose vectors cannot collapse, ``target`` and
    ``target1`` are the predictions of both views, and ``prediction1`` predicts ``teacher``.
    """

    target: Tensor
    target1: Tensor
    prediction1: Tensor
    teacher: Tensor | None = None


def batch_loss(
    model: byol.BYOL,
    x: Tensor,
    x1: Tensor,
    further: Sequence[Tensor] = (),
    kinds: Sequence[str] = (),
    teacher: Tensor | None = None,
) -> tuple[Tensor, Projections]:
    """Return the loss of the views of a batch, and the projections for the collapse metrics.

    Only the online network processes further views (multi-crop, Caron et al. 2020, arXiv
    2006.09882), and each of them predicts both targets. With one predictor for all views the loss
    is the mean over views, so its range and the suitable learning rate do not depend on their
    number. With predictors of their own, :func:`sum_over_kinds` combines the views.

    Args:
        model: the networks.
        x: (B, C, S, S), the first view.
        x1: (B, C, S, S), the second view.
        further: further views, (B, C, s, s) each.
        kinds: the kind of each further view; without them, all are small views.
        teacher: (B, P) vectors of a teacher, which replace the targets of all views.
    """
    onlinex, onlinex1, targetx, targetx1 = model(x, x1)
    if teacher is not None:
        targetx = targetx1 = teacher
    losses = {"large": [criterion(onlinex, targetx1, onlinex1, targetx)]}
    for view, kind in zip(further, kinds or ["small"] * len(further), strict=True):
        prediction = model.predict_further(view, targetx, targetx1, kind)
        losses.setdefault(kind, []).append(criterion(prediction, targetx1, prediction, targetx))
    seen = (onlinex, onlinex1) if teacher is not None else (targetx, targetx1)
    target, target1, prediction1 = (z.detach() for z in (*seen, onlinex1))
    projections = Projections(target, target1, prediction1, teacher)
    if model.onlineNet.view_predictors:
        return sum_over_kinds(losses), projections
    return torch.stack([loss for each in losses.values() for loss in each]).mean(), projections


def sum_over_kinds(losses: dict[str, list[Tensor]]) -> Tensor:
    """Return the loss of MULAN (arXiv 2602.05845) for views whose kinds have their own predictors.

    Each kind is scaled by the number of its pairs of a prediction and a target, so its gradient
    does not depend on the number of its views, and the kinds are added. In [0, 4] for each kind.

    Args:
        losses: for each kind of views the sums over both targets, scalars of
            :func:`BYOL.model.loss.criterion`.
    """
    return torch.stack([torch.stack(each).mean() / 2 for each in losses.values()]).sum()


class Pretraining(pl.LightningModule):
    """Makes views of a batch, computes the loss, and updates the target after the optimizer.

    Args:
        model: the networks.
        config: resolved settings.
        views: makes two views of a batch on the device of the batch.
        steps_per_epoch: number of optimizer steps per epoch.
        targets: returns the vectors of the teacher for indices of images; None without a teacher.
    """

    def __init__(
        self,
        model: byol.BYOL,
        config: PretrainConfig,
        views: Views,
        steps_per_epoch: int,
        targets: Callable[[Tensor], Tensor] | None = None,
    ):
        super().__init__()
        self.targets = targets
        self.model = model
        self.config = config
        self.views = views
        length = config.only(OptimizationSettings)
        self.length = Length.of(length, config.length_changes, steps_per_epoch)
        # At most half of the run, so that a trial run of one epoch has the full learning rate too.
        self.warmup_steps = min(
            round(config.warmup_epochs * steps_per_epoch), self.length.first // 2
        )
        self.projections: Projections | None = None  # of the last batch, for the collapse metrics
        self.graphs = False  # whether the passes of the networks may be CUDA graphs
        self.had_batch = False  # whether a batch was processed

    def on_fit_start(self) -> None:
        """Compile the model if configured; it is on its device only now."""
        if self.config.compile != "on":
            return
        example = torch.zeros(self.config.view_shape, device=self.device)
        example = example.contiguous(memory_format=torch.channels_last)
        autocast = self.trainer.precision_plugin.forward_context
        # Graphs have fixed memory for their outputs: a second part of a step would overwrite it.
        single_pass = self.config.accumulate == 1 and not self.views.further
        on_one_gpu = self.device.type == "cuda" and self.trainer.world_size == 1
        self.graphs = single_pass and on_one_gpu
        compile_forward(self.model, example, autocast, self.graphs)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed PyTorch's generator, which dropout uses, from seed, epoch, batch and process."""
        seed = fold(self.config.seed, batch.epoch, batch_idx, self.global_rank)
        seed_generators(seed, self.device)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch of :func:`BYOL.data.train_loader.train_loader`."""
        self.projections = None  # with CUDA graphs, this step overwrites their memory
        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()
        teacher = self.targets(batch.ids) if self.targets else None
        x, x1, *further = self.make_views(batch)
        kinds = [view.kind for view in self.views.further]
        loss, self.projections = batch_loss(self.model, x, x1, further, kinds, teacher)
        return loss

    def backward(self, loss: Tensor, *arguments: Any, **options: Any) -> None:
        """Compute the gradients; layers that are computed again change no running statistics."""
        recomputes = self.config.grad_checkpointing
        with buffers_kept(self.model.onlineNet) if recomputes else contextlib.nullcontext():
            super().backward(loss, *arguments, **options)

    def make_views(self, batch: Batch) -> list[Tensor]:
        """Return all views of a batch, (B, C, S, S) each, the two large ones first.

        They depend on seed, epoch and sample.
        """
        shared, count = batch.together, len(self.views.all_configs)
        if shared is None:
            return self._new_views(batch, range(count))
        if shared.views is None:
            whole = dataclasses.replace(batch, ids=shared.ids, images=shared.images)
            shared.views = self._new_views(whole, range(2))
        part = slice(batch.start, batch.start + len(batch))
        further = self._new_views(batch, range(2, count)) if count > 2 else []
        return [*(view[part] for view in shared.views), *further]

    @torch.no_grad()
    def _new_views(self, batch: Batch, which: Sequence[int]) -> list[Tensor]:
        images = batch.crops if batch.images is None else batch.images
        key = fold(self.config.seed, batch.epoch)
        with torch.autocast(self.device.type, enabled=False):
            views = self.views(images, batch.ids, key, which)
        return [view.contiguous(memory_format=torch.channels_last) for view in views]

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Measure a GPU's memory from the second batch on: without compilation and tuning."""
        if not self.had_batch and self.device.type == "cuda":
            restart_peak_memory(self.device)
        self.had_batch = True

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the configured optimizer; every step sets its learning rate."""
        c = self.config
        optimizer = build_optimizer(
            c.optimizer,
            self.model,
            lr=c.lr,
            weight_decay=c.weight_decay,
            momentum=c.momentum,
            trust=c.trust_coefficient,
            predictor_lr_scale=c.predictor_lr_scale,
        )
        keep_present_settings(optimizer)
        return optimizer

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        """Set the learning rate, update the weights, then the target: once per optimizer step."""
        step, c = self.trainer.global_step, self.config
        total = self.length.at(step)
        lr = learning_rate(step, total, self.warmup_steps, c.lr, c.batch_size)
        set_learning_rate(optimizer, lr)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.model.updateTargetNetwork(tau(step, total, c.tau, c.tau_schedule))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Convert the number of micro-batches in the epoch to the accumulation of this run."""
        earlier, present = checkpoint["byol_config"].get("accumulate", 1), self.config.accumulate
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for counts in (progress["total"], progress["current"]):
            for name, count in counts.items():
                counts[name] = count * present // earlier  # exact: saved between two steps

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add version and settings to ``checkpoint``."""
        checkpoint["byol_version"] = __version__
        checkpoint["byol_config"] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self.config).items()
        }
