"""One training step, as Lightning sees it."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from BYOL import __version__, byol
from BYOL._hardware import restart_peak_memory
from BYOL._random import fold, seed_generators
from BYOL.config import PretrainConfig
from BYOL.data.train_loader import Together
from BYOL.model.loss import criterion
from BYOL.model.schedules import learning_rate, tau
from BYOL.training.compile import compile_forward
from BYOL.training.optimizers import build_optimizer, keep_settings, set_learning_rate
from BYOL.views.pipeline import Views


class Seen(NamedTuple):
    """What the gauges look at, (B, P) each: both views' targets, and the prediction of the first
    from the second view."""

    target: Tensor
    target1: Tensor
    prediction1: Tensor


def loss_of(
    model: byol.BYOL, x: Tensor, x1: Tensor, small: Sequence[Tensor] = ()
) -> tuple[Tensor, Seen]:
    """The loss of a batch's views, and what the gauges look at.

    Small views (multi-crop, Caron et al. 2020, arXiv 2006.09882) are seen by the online network
    alone and predict both targets; the mean keeps the loss in its range and the rate its size.

    Args:
        model: the networks.
        x: (B, C, S, S), the first view.
        x1: the second.
        small: (B, C, s, s) each.
    """
    onlinex, onlinex1, targetx, targetx1 = model(x, x1)
    losses = [criterion(onlinex, targetx1, onlinex1, targetx)]
    for view in small:
        prediction = model.predict_further(view, targetx, targetx1)
        losses.append(criterion(prediction, targetx1, prediction, targetx))
    seen = Seen(targetx.detach(), targetx1.detach(), onlinex1.detach())
    return torch.stack(losses).mean(), seen


class Pretraining(pl.LightningModule):
    """Views of a batch, the model, the loss; after the optimizer, the target.

    Args:
        model: the networks.
        config: settled settings.
        views: makes two views of a batch, on the batch's device.
        steps_per_epoch: optimizer steps.
    """

    def __init__(
        self,
        model: byol.BYOL,
        config: PretrainConfig,
        views: Views,
        steps_per_epoch: int,
    ):
        super().__init__()
        self.model = model
        self.config = config
        self.views = views
        self.total_steps = steps_per_epoch * config.epochs
        if config.steps is not None:
            self.total_steps = min(self.total_steps, config.steps)
        # A trial run of one epoch is to learn too, hence at most half of the run.
        self.warmup_steps = min(
            round(config.warmup_epochs * steps_per_epoch), self.total_steps // 2
        )
        self.seen: Seen | None = None  # of the last batch, for the gauges
        self.graphs = False  # whether the networks' passes may be CUDA graphs
        self.underway = False  # whether a batch has passed

    def on_fit_start(self) -> None:
        """Compile, where that is wanted: the model is on its device only now."""
        if self.config.compile != "on":
            return
        example = torch.zeros(self.config.view_shape, device=self.device)
        example = example.contiguous(memory_format=torch.channels_last)
        autocast = self.trainer.precision_plugin.forward_context
        # Graphs keep what they put out at one place: a second part of a step would overwrite it.
        alone = self.config.accumulate == 1 and not self.config.small_views
        self.graphs = alone and self.device.type == "cuda" and self.trainer.world_size == 1
        compile_forward(self.model, example, autocast, self.graphs)

    def on_train_batch_start(self, batch: dict[str, Any], batch_idx: int) -> None:
        """Dropout and the like draw from PyTorch's generator: it is a function of the place too."""
        place = fold(self.config.seed, int(batch["epoch"]), batch_idx, self.global_rank)
        seed_generators(place, self.device)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The loss of a batch from :func:`BYOL.data.train_loader.train_loader`."""
        self.seen = None  # it may lie where this step's will
        if self.graphs:
            torch.compiler.cudagraph_mark_step_begin()
        loss, self.seen = loss_of(self.model, *self.make_views(batch), self.make_small_views(batch))
        return loss

    @torch.no_grad()
    def make_views(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Two views of a batch, (B, C, S, S) each; decided by seed, epoch and sample alone."""
        shared: Together | None = batch.get("together")
        if shared is None:
            return self._made(batch)
        if shared.views is None:
            shared.views = self._made({**batch, "ids": shared.ids, "images": shared.images})
        part = slice(batch["start"], batch["start"] + len(batch["ids"]))
        return shared.views[0][part], shared.views[1][part]

    def _made(self, batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        key = fold(self.config.seed, int(batch["epoch"]))
        with torch.autocast(self.device.type, enabled=False):
            if "images" in batch:
                x, x1 = self.views(batch["images"], batch["ids"], key)
            else:
                x, x1 = self.views.from_crops(batch["crops"], batch["crops1"], batch["ids"], key)
        layout = torch.channels_last
        return x.contiguous(memory_format=layout), x1.contiguous(memory_format=layout)

    @torch.no_grad()
    def make_small_views(self, batch: dict[str, Any]) -> list[Tensor]:
        """The small views of a batch, (B, C, s, s) each, decided as the two large ones are."""
        key = fold(self.config.seed, int(batch["epoch"]))
        with torch.autocast(self.device.type, enabled=False):
            views = self.views.small_views(
                batch.get("images"), batch.get("small"), batch["ids"], key
            )
        return [view.contiguous(memory_format=torch.channels_last) for view in views]

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count a GPU's memory from the second batch on: compiling and cuDNN's search are over."""
        if not self.underway and self.device.type == "cuda":
            restart_peak_memory(self.device)
        self.underway = True

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The configured optimizer; its rate is set at every step."""
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
        keep_settings(optimizer)
        return optimizer

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None
    ) -> None:
        """Rate, update, target: once per optimizer step, whatever the accumulation."""
        step, c = self.trainer.global_step, self.config
        rate = learning_rate(step, self.total_steps, self.warmup_steps, c.lr, c.batch_size)
        set_learning_rate(optimizer, rate)
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        self.model.updateTargetNetwork(tau(step, self.total_steps, c.tau, c.tau_schedule))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Count the batches of the epoch in parts of the size that this run has."""
        was, now = checkpoint["byol_config"].get("accumulate", 1), self.config.accumulate
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        for counts in (progress["total"], progress["current"]):
            for name, count in counts.items():
                counts[name] = count * now // was  # it was saved between two steps

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say in the checkpoint what it is."""
        checkpoint["byol_version"] = __version__
        checkpoint["byol_config"] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self.config).items()
        }
