"""Compilation of the training forward pass; a failure costs a message, not the run.

Compilation fuses the element-wise operations between convolutions and matrix products. It takes a
minute or more before the first step, which a short run does not earn back.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from BYOL._hardware import Machine
from BYOL.byol import BYOL
from BYOL.config.optimization_settings import OptimizationSettings
from BYOL.config.run_settings import CompileSetting
from BYOL.errors import first_line
from BYOL.model.loss import criterion

log = logging.getLogger(__name__)
# Micro-batches from which on a run is compiled, by accelerator and precision; without an entry it
# never is. After so many the small network that was measured (plain6 on a CPU, ResNet-18 on a GPU,
# both at 32 px) has earned back twice the time of its compilation: docs/performance.md,
# "Compiling". The entries for fp32 and fp16 on a GPU are estimates.
MIN_MICRO_BATCHES: dict[tuple[str, str], int] = {
    ("cpu", "bf16"): 10_000,
    ("gpu", "fp32"): 15_000,
    ("gpu", "bf16"): 10_000,
    ("gpu", "fp16"): 10_000,
}
GRAPH_TRIALS = 3  # warm-up, recording, replay
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_compile(
    specified: CompileSetting, config: OptimizationSettings, images: int, machine: Machine
) -> CompileSetting:
    """Return ``specified``; for auto, "on" or "off" for a run over ``images`` images."""
    if specified != "auto":
        return specified
    micro_batches = config.total_steps(images) * config.accumulate
    return "on" if compilation_pays_off(micro_batches, machine) else "off"


def compilation_pays_off(micro_batches: int, machine: Machine) -> bool:
    """Return whether a run of ``micro_batches`` micro-batches on ``machine`` is compiled."""
    least = MIN_MICRO_BATCHES.get((machine.accelerator, machine.precision))
    return least is not None and micro_batches >= least


def compile_forward(
    model: BYOL,
    example: Tensor,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    graphs: bool = False,
) -> bool:
    """Compile the forward pass of ``model`` in place and try it, forward and backward.

    Weights, buffers, gradients and the random generators stay as they were. A failure is logged.

    Args:
        model: networks in training mode, on their device.
        example: (B, C, S, S), like the batches of the run.
        autocast: function that returns a context like that of training.
        graphs: record forward and backward pass as CUDA graphs, so that the host launches all
            kernels at once. Every step must then start with
            ``torch.compiler.cudagraph_mark_step_begin()`` and have one forward pass, and the
            outputs of the previous step become invalid.

    Returns:
        Whether it succeeded; if not, the model runs uncompiled.
    """
    for recorded in (True, False) if graphs else (False,):
        reason = _failure(model, example, autocast, recorded)
        if reason is None:
            return True
        if recorded:
            log.info(f"not recorded as CUDA graphs, compiled without: {reason}")
        else:
            log.info(f"not compiled, the run continues without: {reason}")
    return False


def _failure(
    model: BYOL,
    example: Tensor,
    autocast: Callable[[], AbstractContextManager[object]],
    graphs: bool,
) -> str | None:
    """Compile ``model`` and return None, or the reason why that is impossible."""
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    devices = [example.device] if example.device.type == "cuda" else []
    try:
        model.compile(dynamic=False, **({"mode": "reduce-overhead"} if graphs else {}))
        with torch.random.fork_rng(devices), autocast():
            for _ in range(GRAPH_TRIALS if graphs else 1):
                if graphs:  # the first call imports for three seconds
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
    # A graph for the same tensor twice does not fit two views and would be compiled again.
    onlinex, onlinex1, targetx, targetx1 = model(x, x.clone())
    return criterion(onlinex, targetx1, onlinex1, targetx)
