"""The speed of each part of training on this machine."""

import functools
import itertools
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from BYOL._hardware import (
    Machine,
    matrix_rate,
    peak_memory,
    pick_workers,
    restart_peak_memory,
    timed,
    torch_device,
    wait_for,
)
from BYOL.byol import BYOL
from BYOL.config import PretrainConfig
from BYOL.config.view_configs import further_kinds
from BYOL.config.view_settings import ViewSettings
from BYOL.data.batch import Batch
from BYOL.data.sampler import epoch_sampler
from BYOL.data.train_loader import train_loader
from BYOL.evaluation.collapse.alarm import Alarm, likely_cause
from BYOL.training.callbacks.collapse import CollapseMetrics
from BYOL.training.callbacks.losses import Losses
from BYOL.training.compile import DTYPES
from BYOL.training.module import Pretraining, batch_loss
from BYOL.training.optimizers import build_optimizer
from BYOL.training.prepare import Prepared, build_views
from BYOL.training.trainer import build_trainer

ROUNDS = 3
Step = Callable[..., Tensor]  # of the views


def benchmark(
    config: PretrainConfig, prepared: Prepared, model: BYOL, machine: Machine, seconds: float
) -> dict[str, Any]:
    """Time loading, views and the training step separately, then all of training.

    Args:
        config: resolved settings of a run; ``compile`` is "on" or "off".
        prepared: the images.
        model: the networks, which are trained a little.
        machine: the machine that computes.
        seconds: approximate time for the measurement of each part, in three rounds.

    Returns:
        ``images_per_second`` of ``loading``, ``views``, ``step`` and ``end_to_end``;
        ``step_operations`` (floating-point, of a micro-batch), ``operations_per_second`` and
        ``matrix_rate`` (of a matrix product in the same precision); ``peak_memory`` in bytes, and
        ``memory_per_image``, the additional memory of a step; ``holds_back``, the slowest part.
    """
    device, size = torch_device(machine.accelerator), config.micro_batch
    run = TrialRun(config, prepared, model, machine)
    run.train(1)  # compiles, if configured
    batches = itertools.chain.from_iterable(iter(lambda: iter(run.loader), None))
    batch = next(batches)
    model.to(device).train()
    run.module.to(device)
    views = run.make_views(batch)
    step = training_step(config, model, machine)
    needed, work = _cost(lambda: step(*views), device)
    parts: dict[str, Callable[[], object]] = {
        "loading": lambda: next(batches),
        "views": lambda: run.make_views(batch),
        "step": lambda: step(*views),
    }
    view_batch = len(batch.together.ids) if batch.together else size
    speeds: dict[str, list[float]] = {name: [] for name in (*parts, "end_to_end")}
    products = []
    for _ in range(ROUNDS):  # in turns, so that a slow moment of the machine affects all of them
        for name, part in parts.items():
            images = view_batch if name == "views" else size
            speeds[name].append(images / seconds_each(part, device, seconds / ROUNDS))
        steps = max(round(seconds / ROUNDS * speeds["step"][-1] / config.batch_size), 2)
        speeds["end_to_end"].append(steps * config.batch_size / run.train(steps))
        products.append(matrix_rate(device, DTYPES[machine.precision], seconds / 10))
    medians = {name: round(statistics.median(values), 1) for name, values in speeds.items()}
    return {
        "images_per_second": medians,
        "step_operations": work,
        "operations_per_second": work * medians["step"] / size,
        "matrix_rate": statistics.median(products),
        "peak_memory": peak_memory(device),
        "memory_per_image": needed / size,
        "holds_back": min(parts, key=medians.__getitem__),
    }


def seconds_each(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Return the seconds of one call of ``work``, the mean over about ``seconds``."""
    guess = max(timed(work, device), 1e-6)  # warms up as well
    calls = max(min(int(seconds / guess), 100_000), 2)

    def repeat() -> None:
        for _ in range(calls):
            work()

    return timed(repeat, device) / calls


def training_step(config: PretrainConfig, model: BYOL, machine: Machine) -> Step:
    """Return an optimizer step as a function of the views of a batch, without Lightning."""
    optimizer = build_optimizer(
        config.optimizer,
        model,
        lr=config.lr * config.batch_size / 256,
        weight_decay=config.weight_decay,
        momentum=config.momentum,
        trust=config.trust_coefficient,
        predictor_lr_scale=config.predictor_lr_scale,
    )
    device, precision = torch_device(machine.accelerator).type, machine.precision

    def autocast() -> AbstractContextManager[object]:
        if precision == "fp32":
            return nullcontext()
        return torch.autocast(device, DTYPES[precision])

    kinds = further_kinds(config.only(ViewSettings))

    def step(x: Tensor, x1: Tensor, *further: Tensor) -> Tensor:
        if device == "cuda":  # the passes may be CUDA graphs
            torch.compiler.cudagraph_mark_step_begin()
        with autocast():
            loss, _ = batch_loss(model, x, x1, further, kinds)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.updateTargetNetwork()
        return loss.detach()

    return step


def _cost(work: Callable[[], object], device: torch.device) -> tuple[int, int]:
    """Return the additional memory of ``work`` in bytes, and its floating-point operations.

    The memory is at least 0: if ``work`` needs almost none, memory that is freed meanwhile lowers
    the peak below the use before (observed once, by 57 kB per image).
    """
    restart_peak_memory(device)
    before = peak_memory(device)
    work()
    needed = max(peak_memory(device) - before, 0)
    # counting would compile compiled code again
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        work()
    return needed, counter.get_total_flops()


class TrialRun:
    """Training as in ``byol pretrain``, without a run folder."""

    def __init__(self, config: PretrainConfig, prepared: Prepared, model: BYOL, machine: Machine):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config, self.machine = config, machine
        views = build_views(config.only(ViewSettings), compiled=config.compile == "on")
        steps = len(prepared.train) // config.batch_size
        self.module = Pretraining(model, config, views, max(steps, 1), prepared.targets)
        self.loader = train_loader(
            prepared.train,
            epoch_sampler(
                prepared.train,
                config.micro_batch,
                accumulate=config.accumulate,
                buffer=config.shuffle_buffer,
            ),
            views=views.all_configs,
            workers=pick_workers(config.workers, machine.accelerator),
            device=torch_device(machine.accelerator),
        )

    def make_views(self, batch: Batch) -> list[Tensor]:
        """Return all views of a batch, both large ones first; joint views are made again."""
        if batch.together:
            batch.together.views = None
        return self.module.make_views(batch)

    def train(self, steps: int, *callbacks: Callback) -> float:
        """Train, and return the seconds from before the first batch to the end of the last.

        Args:
            steps: greatest number of optimizer steps; a callback may stop earlier.
            callbacks: further callbacks.
        """
        clock = _Clock(torch_device(self.machine.accelerator))
        alarm = Alarm(functools.partial(likely_cause, self.config))
        every = max(self.config.gauges_every, 1)
        trainer = build_trainer(
            self.machine,
            accumulate=self.config.accumulate,
            deterministic=self.config.deterministic,
            max_steps=steps,
            callbacks=[
                clock,
                Losses(every=50),
                CollapseMetrics(every, alarm, log_alarm=False),
                *callbacks,
            ],
            logger=False,
        )
        trainer.fit(self.module, self.loader)
        return clock.seconds


class _Clock(Callback):
    """Seconds of training, from before the first batch to the end of the last."""

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds = 0.0

    def on_train_start(self, *_: Any) -> None:
        self.seconds = -time.perf_counter()

    def on_train_end(self, *_: Any) -> None:
        wait_for(self.device)
        self.seconds += time.perf_counter()
