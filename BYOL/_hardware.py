"""What this machine has, asked for once and refused early."""

import contextlib
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

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
        UserError: the accelerator is unknown, not here, or has fewer devices.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            wanted = "gpu"
        else:
            wanted = "mps" if torch.backends.mps.is_available() else "cpu"
    count = {
        "cpu": 2**31,  # processes on a CPU are as many as one likes
        "gpu": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    if wanted not in count:
        accepted = ", ".join(["auto", *count])
        raise UserError(f"--accelerator={wanted} is unknown: choose one of {accepted}")
    there = count[wanted]
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
    return 1 if accelerator == "cpu" else max(min(len(own_cores()) // 2, 16), 1)


def own_cores() -> list[int]:
    """Numbers of the cores that this process may use; of all where the system cannot say."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def available_memory() -> int | None:
    """Bytes that this process may still use, containers' limits included; None if unknown."""
    found = []
    with contextlib.suppress(OSError, IndexError, ValueError):
        lines = Path("/proc/meminfo").read_text()
        found.append(int(lines.split("MemAvailable:")[1].split()[0]) * 1024)
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with contextlib.suppress(OSError, ValueError):  # ValueError: "max" is no limit
            root = Path("/sys/fs/cgroup")
            free = int((root / limit).read_text()) - int((root / used).read_text())
            found.append(max(free, 0))
    return min(found, default=None)


def matrix_rate(device: torch.device, dtype: torch.dtype, seconds: float = 0.5) -> float:
    """Floating-point operations a second of a large matrix product: what the machine can give.

    Args:
        device: where.
        dtype: of the factors.
        seconds: about how long to measure.
    """
    side, largest = (256, 2048) if device.type == "cpu" else (2048, 8192)
    while True:
        a, b = torch.randn(2, side, side, device=device).to(dtype)
        timed(lambda: a @ b, device)  # noqa: B023  not counted: it sets up
        once = max(timed(lambda: a @ b, device), 1e-6)  # noqa: B023
        if side == largest or 8 * once > seconds:  # of a larger one; where bf16 is emulated, say
            break
        side *= 2
    rounds = max(round(seconds / once), 1)
    return 2 * side**3 * rounds / timed(lambda: [a @ b for _ in range(rounds)], device)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that ``work`` takes, the device's own part included."""
    wait_for(device)
    start = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - start


def wait_for(device: torch.device) -> None:
    """Until everything queued on the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def restart_peak_memory(device: torch.device) -> None:
    """Forget the highest use so far, where the system lets us (a GPU, Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """Highest use in bytes: of the GPU's memory, else of this process's."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used if sys.platform == "darwin" else used * 1024
