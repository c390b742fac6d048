"""What this machine does a second with a recipe and pictures, and what holds the rest back."""

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
from BYOL.data.sampler import epoch_sampler
from BYOL.data.train_loader import train_loader
from BYOL.evaluation.collapse.alarm import Alarm
from BYOL.training.callbacks.metrics import Curves, Gauges
from BYOL.training.compile import DTYPES
from BYOL.training.module import Pretraining, loss_of
from BYOL.training.optimizers import build_optimizer
from BYOL.training.prepare import Prepared, build_views
from BYOL.training.trainer import engine

ROUNDS = 3
Step = Callable[..., Tensor]  # of the views


def benchmark(
    config: PretrainConfig, prepared: Prepared, model: BYOL, machine: Machine, seconds: float
) -> dict[str, Any]:
    """Time loading, views and the training step alone, then training as it is.

    Args:
        config: settled settings of a run; ``compile`` is "on" or "off".
        prepared: the pictures.
        model: the networks; they are trained a little.
        machine: what it computes on.
        seconds: about how long each part is measured, in three turns.

    Returns:
        ``images_per_second`` of ``loading``, ``views``, ``step`` and ``end_to_end``;
        ``step_operations`` (floating-point, of a micro-batch), ``operations_per_second`` and
        ``matrix_rate`` (of a matrix product in the same precision); ``peak_memory`` in bytes, and
        ``memory_per_image``, what a step takes beyond what was there; ``holds_back``, the slowest.
    """
    device, size = torch_device(machine.accelerator), config.micro_batch
    run = BareRun(config, prepared, model, machine)
    run.train(1)  # compiles what there is to compile
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
    at_once = len(batch["together"].ids) if "together" in batch else size
    found: dict[str, list[float]] = {name: [] for name in (*parts, "end_to_end")}
    products = []
    for _ in range(ROUNDS):  # by turns, so that a slow moment of the machine hits all of them
        for name, part in parts.items():
            pictures = at_once if name == "views" else size
            found[name].append(pictures / seconds_each(part, device, seconds / ROUNDS))
        steps = max(round(seconds / ROUNDS * found["step"][-1] / config.batch_size), 2)
        found["end_to_end"].append(steps * config.batch_size / run.train(steps))
        products.append(matrix_rate(device, DTYPES[machine.precision], seconds / 10))
    rates = {name: round(statistics.median(values), 1) for name, values in found.items()}
    return {
        "images_per_second": rates,
        "step_operations": work,
        "operations_per_second": work * rates["step"] / size,
        "matrix_rate": statistics.median(products),
        "peak_memory": peak_memory(device),
        "memory_per_image": needed / size,
        "holds_back": min(parts, key=rates.__getitem__),
    }


def seconds_each(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Seconds of one call: the mean over about ``seconds``, what was queued included."""
    guess = max(timed(work, device), 1e-6)  # warms up as well
    calls = max(min(int(seconds / guess), 100_000), 2)

    def often() -> None:
        for _ in range(calls):
            work()

    return timed(often, device) / calls


def training_step(config: PretrainConfig, model: BYOL, machine: Machine) -> Step:
    """An optimizer step as a function of a batch's views: what training does, nothing around it."""
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

    def step(x: Tensor, x1: Tensor, *small: Tensor) -> Tensor:
        if device == "cuda":  # the passes may be CUDA graphs
            torch.compiler.cudagraph_mark_step_begin()
        with autocast():
            loss, _ = loss_of(model, x, x1, small)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.updateTargetNetwork()
        return loss.detach()

    return step


def _cost(work: Callable[[], object], device: torch.device) -> tuple[int, int]:
    """Bytes that ``work`` takes beyond what is there already, and its floating-point operations.

    No fewer than none: where ``work`` takes next to nothing, memory that is given back meanwhile
    leaves the highest use below what was there (seen once, by 57 kB a picture).
    """
    restart_peak_memory(device)
    before = peak_memory(device)
    work()
    needed = max(peak_memory(device) - before, 0)
    # what is compiled would be compiled once more to be counted
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        work()
    return needed, counter.get_total_flops()


class BareRun:
    """The parts of ``byol pretrain``, without a folder."""

    def __init__(self, config: PretrainConfig, prepared: Prepared, model: BYOL, machine: Machine):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config, self.machine = config, machine
        views = build_views(config)
        steps = len(prepared.train) // config.batch_size
        self.module = Pretraining(model, config, views, max(steps, 1))
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

    def make_views(self, batch: dict[str, Any]) -> list[Tensor]:
        """Both views of a batch, then the small ones; those that are made together every time."""
        if "together" in batch:
            batch["together"].views = None
        return [*self.module.make_views(batch), *self.module.make_small_views(batch)]

    def train(self, steps: int, *further: Callback) -> float:
        """Seconds of so many optimizer steps by Lightning, from before the first batch.

        Args:
            steps: at most; a callback may stop it earlier.
            further: callbacks.
        """
        clock = _Clock(torch_device(self.machine.accelerator))
        alarm, every = Alarm(self.config), max(self.config.gauges_every, 1)
        trainer = engine(
            self.config,
            self.machine,
            devices=1,
            max_steps=steps,
            callbacks=[
                clock,
                Curves(every=50),
                Gauges(every, alarm, log_alarm=False),
                *further,
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
