"""Whether to compile the training forward pass, and doing it; a failure costs a line, not the run.

Compiling fuses the element-wise operations between convolutions and matrix products. It takes a
minute or more before the first step, which a short run never earns back.
"""

import copy
import dataclasses
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from BYOL._hardware import Machine, matrix_rate, torch_device
from BYOL.byol import BYOL
from BYOL.config import PretrainConfig
from BYOL.errors import first_line
from BYOL.model.loss import criterion

log = logging.getLogger(__name__)
# By accelerator and precision: the seconds that compiling takes, the share of a step that it saves,
# and the share of the matrix rate that a step reaches without it; where it saves too little to
# matter there is no entry. Measured but for the GPU's fp32 and fp16 (docs/performance.md,
# "Compiling", "On a GPU"); there small networks gain most, .7 of a step, since they are graphs too.
PAYS: dict[tuple[str, str], tuple[float, float, float]] = {
    ("cpu", "bf16"): (35.0, 0.06, 0.6),
    ("gpu", "fp32"): (80.0, 0.3, 0.3),
    ("gpu", "bf16"): (80.0, 0.5, 0.12),
    ("gpu", "fp16"): (80.0, 0.5, 0.12),
}
GRAPH_TRIALS = 3  # warms up, records, replays
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def settle_compile(
    config: PretrainConfig, pictures: int, model: BYOL, machine: Machine
) -> PretrainConfig:
    """The settings of a run over so many pictures, ``compile`` being "on" or "off" then."""
    if config.compile != "auto":
        return config
    steps = config.total_steps(pictures) * config.accumulate
    on = worth_compiling(model, config.view_shape, steps, machine)
    return dataclasses.replace(config, compile="on" if on else "off")


def worth_compiling(
    model: BYOL, shape: tuple[int, int, int, int], steps: int, machine: Machine
) -> bool:
    """Whether a run is long enough to earn back what compiling costs, twice over.

    The run's length is estimated: the operations of a step, counted without doing them, at the
    machine's own rate of matrix products, measured here.

    Args:
        model: the networks.
        shape: of a micro-batch of views, (B, C, S, S).
        steps: micro-batches of the whole run.
        machine: what the run computes on.
    """
    if (machine.accelerator, machine.precision) not in PAYS:
        return False
    cost, gain, reached = PAYS[machine.accelerator, machine.precision]
    try:
        work = _operations(model, shape)
    except Exception:  # a module of the user's own that runs on real tensors only
        return False
    rate = matrix_rate(torch_device(machine.accelerator), DTYPES[machine.precision])
    seconds = steps * work / (reached * rate)
    return seconds * gain > 2 * cost


def _operations(model: BYOL, shape: tuple[int, int, int, int]) -> int:
    """Floating-point operations of a training step, but for the predictor's few.

    Counted on tensors without content. Both views pass the online network, forward and (twice as
    many operations) backward, and the target forward.
    """
    network = copy.deepcopy(model.onlineNet).to("meta").train()
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(shape, device="meta")).sum().backward()
    return counter.get_total_flops() * (8 if model.EAvg else 6) // 3


def compile_forward(
    model: BYOL,
    example: Tensor,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    graphs: bool = False,
) -> bool:
    """Compile ``model``'s forward pass in place and try it, forward and backward.

    Its weights, buffers and gradients, and the random numbers to come, are as before.

    Args:
        model: in training mode, on its device.
        example: (B, C, S, S) like the batches to come.
        autocast: a context like that of training.
        graphs: on a GPU, record forward and backward pass as CUDA graphs: the host then asks for
            all of their kernels at once. Every step must begin with
            ``torch.compiler.cudagraph_mark_step_begin()`` and have one forward pass; what the step
            before put out is gone then.

    Returns:
        Whether it worked; if not, the model runs uncompiled.
    """
    what = {True: "not recorded as CUDA graphs, compiled", False: "not compiled, the run goes on"}
    for recorded in (True, False) if graphs else (False,):
        reason = _failure(model, example, autocast, recorded)
        if reason is None:
            return True
        log.info(f"{what[recorded]} without: {reason}")
    return False


def _failure(
    model: BYOL,
    example: Tensor,
    autocast: Callable[[], AbstractContextManager[object]],
    graphs: bool,
) -> str | None:
    """Why the model cannot be compiled so; None where it is then."""
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    devices = [example.device] if example.device.type == "cuda" else []
    try:
        model.compile(dynamic=False, **({"mode": "reduce-overhead"} if graphs else {}))
        with torch.random.fork_rng(devices), autocast():
            for _ in range(GRAPH_TRIALS if graphs else 1):
                if graphs:  # to call it takes an import of three seconds
                    torch.compiler.cudagraph_mark_step_begin()
                _loss(model, example).backward()
                model.zero_grad(set_to_none=True)
    except Exception as error:
        model._compiled_call_impl = None
        return f"{type(error).__name__}: {first_line(error)}"
    finally:
        model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, value in model.named_buffers():
                value.copy_(buffers[name])
    return None


def _loss(model: BYOL, x: Tensor) -> Tensor:
    # A copy: a graph for one tensor given twice does not fit two views and is compiled anew.
    onlinex, onlinex1, targetx, targetx1 = model(x, x.clone())
    return criterion(onlinex, targetx1, onlinex1, targetx)
