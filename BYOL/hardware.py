"""What this machine has, asked for once and refused early."""

import os
from dataclasses import dataclass

import torch

from BYOL.errors import UserError


@dataclass(frozen=True)
class Machine:
    """What a run computes on: cpu, gpu or mps, in fp32, bf16 or fp16."""

    accelerator: str
    precision: str


def pick_machine(accelerator: str, devices: int, precision: str) -> Machine:
    """Settle both; see :func:`pick_accelerator` and :func:`pick_precision`."""
    accelerator = pick_accelerator(accelerator, devices)
    return Machine(accelerator, pick_precision(precision, accelerator))


def pick_accelerator(wanted: str, devices: int = 1) -> str:
    """Turn ``auto`` into cpu, gpu or mps, and make sure that what is asked for is there.

    Raises:
        UserError: the accelerator is not here, or has fewer devices.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            wanted = "gpu"
        else:
            wanted = "mps" if torch.backends.mps.is_available() else "cpu"
    there = {
        "cpu": 2**31,  # processes on a CPU are as many as one likes
        "gpu": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }[wanted]
    if there == 0:
        raise UserError(f"--accelerator={wanted} is not on this machine: use cpu or auto")
    if devices > there:
        raise UserError(f"--devices={devices} is more than this machine has: {there}")
    return wanted


def torch_device(accelerator: str) -> torch.device:
    """The first device of an accelerator."""
    return torch.device({"gpu": "cuda"}.get(accelerator, accelerator))


def pick_precision(wanted: str, accelerator: str) -> str:
    """``fp32``, ``bf16`` or ``fp16``; ``auto`` is bf16 where the hardware multiplies it."""
    if wanted == "fp16" and accelerator == "cpu":
        raise UserError("--precision=fp16 is for GPUs: use bf16 or fp32 on a CPU")
    if wanted != "auto":
        return wanted
    if accelerator == "gpu":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = accelerator == "cpu" and _cpu_multiplies_bf16()
    return "bf16" if fast else "fp32"


def _cpu_multiplies_bf16() -> bool:
    capabilities = torch.backends.cpu.get_cpu_capability()
    if "AVX512" not in capabilities and "AMX" not in capabilities:
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def pick_workers(wanted: int | None, accelerator: str) -> int:
    """Loader processes: as told; else one beside a training CPU, half the cores beside a GPU."""
    if wanted is not None:
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return 1 if accelerator == "cpu" else max(min((cores or 1) // 2, 16), 1)
