"""The hardware of this machine: accelerators, precision, cores, memory and speed."""

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from BYOL.errors import MachineError, SettingsError

_THREAD_BYTES = 128 << 20  # a thread's stack and what the C library reserves for its allocations


@dataclass(frozen=True)
class Machine:
    """The accelerator of a run (cpu, gpu or mps) and its precision (fp32, bf16 or fp16)."""

    accelerator: str
    precision: str


def pick_machine(accelerator: str, devices: int, precision: str) -> Machine:
    """Resolve the settings; see :func:`pick_accelerator` and :func:`pick_precision`."""
    accelerator = pick_accelerator(accelerator, devices)
    return Machine(accelerator, pick_precision(precision, accelerator))


def pick_accelerator(wanted: str, devices: int = 1) -> str:
    """Resolve ``auto`` to cpu, gpu or mps, and check that the accelerator is available.

    Raises:
        UserError: the accelerator is unknown, not available, or has fewer than ``devices`` devices.
    """
    if wanted == "auto":
        if torch.cuda.is_available():
            wanted = "gpu"
        else:
            wanted = "mps" if torch.backends.mps.is_available() else "cpu"
    count = {
        "cpu": 2**31,  # any number of processes may share a CPU
        "gpu": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    if wanted not in count:
        accepted = ", ".join(["auto", *count])
        raise SettingsError(f"--accelerator={wanted} is unknown: choose one of {accepted}")
    available = count[wanted]
    if available == 0:
        raise MachineError(f"--accelerator={wanted} is not on this machine: use cpu or auto")
    if devices > available:
        raise MachineError(f"--devices={devices} is more than this machine has: {available}")
    return wanted


def torch_device(accelerator: str) -> torch.device:
    """The first device of ``accelerator``."""
    return torch.device({"gpu": "cuda"}.get(accelerator, accelerator))


def pick_precision(wanted: str, accelerator: str) -> str:
    """Resolve the precision: ``auto`` is bf16 where the hardware is faster in it, otherwise fp32.

    Raises:
        UserError: fp16 on a CPU.
    """
    if wanted == "fp16" and accelerator == "cpu":
        raise SettingsError("--precision=fp16 is for GPUs: use bf16 or fp32 on a CPU")
    if wanted != "auto":
        return wanted
    if accelerator == "gpu":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = accelerator == "cpu" and _cpu_multiplies_bf16() and _cpu_is_faster_in_bf16()
    return "bf16" if fast else "fp32"


def _cpu_multiplies_bf16() -> bool:
    capabilities = torch.backends.cpu.get_cpu_capability()
    if "AVX512" not in capabilities and "AMX" not in capabilities:
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


@functools.cache
def _cpu_is_faster_in_bf16() -> bool:
    """Whether this CPU computes a convolution faster in bf16 than in fp32; measured in about 0.4 s.

    That a CPU has instructions for bf16 says nothing about their speed. Intel processors of model
    207 without AMX compute convolutions in bf16 at .58 of their rate in fp32; others at twice it.
    """
    fp32, bf16 = convolution_rates(torch.float32, torch.bfloat16)
    return bf16 > fp32


@torch.inference_mode(False)
def convolution_rates(*dtypes: torch.dtype, rounds: int = 3) -> list[float]:
    """Return how often a CPU computes a convolution, forward and backward, per second.

    The layer is one in the middle of a small network: 3 × 3, from 64 to 64 channels at 12 px. The
    best of ``rounds`` counts, so that other programs affect the rates little.

    Args:
        dtypes: the types of image and weights, which take turns.
        rounds: how often each is measured.
    """
    layers: list[Callable[[], object]] = []
    for dtype in dtypes:
        x = torch.ones(32, 64, 12, 12, dtype=dtype).to(memory_format=torch.channels_last)
        weight = torch.ones(64, 64, 3, 3, dtype=dtype).to(memory_format=torch.channels_last)
        layers.append(functools.partial(_convolve, x.requires_grad_(), weight.requires_grad_()))
    with torch.enable_grad():
        turns = [[timed(layer, torch.device("cpu")) for layer in layers] for _ in range(rounds + 1)]
    warm = turns[1:]  # the first turn also prepares the layers
    return [1 / min(seconds) for seconds in zip(*warm, strict=True)]


def _convolve(x: torch.Tensor, weight: torch.Tensor) -> object:
    """Compute the convolution and both gradients."""
    y = torch.nn.functional.conv2d(x, weight, padding=1)
    return torch.autograd.grad(y, (x, weight), torch.ones_like(y))


def pick_workers(wanted: int | None, accelerator: str) -> int:
    """The number of loader processes; by default 1 on a CPU, and half of the cores with a GPU."""
    if wanted is not None:
        return wanted
    return 1 if accelerator == "cpu" else max(min(len(own_cores()) // 2, 16), 1)


def own_cores() -> list[int]:
    """The numbers of the cores that this process may use; all cores if that is unknown."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def available_memory() -> int | None:
    """Available memory in bytes, with the limits of containers and of ``ulimit -v``, if known."""
    address_space = _free_address_space()
    found = [] if address_space is None else [address_space]
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


def _free_address_space() -> int | None:
    """Bytes that this process may still reserve; None without a limit (``ulimit -v``)."""
    try:
        import resource

        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError, ValueError):  # not on Windows, and files of Linux only
        return None
    if most == resource.RLIM_INFINITY:
        return None
    return max(most - pages * resource.getpagesize(), 0)


class _CallerExecutor(Executor):
    """An executor without threads: it does the work when it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Call ``fn`` and return its result, or its error, as a future."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def thread_pool(threads: int, name: str = "") -> Executor:
    """Return an executor with ``threads`` threads.

    Where this process may reserve little more memory (``ulimit -v``), the calling thread does the
    work: a thread that gets no memory ends before it begins, and who waits for it waits for ever.

    Args:
        threads: the greatest number of threads.
        name: a prefix of their names.
    """
    free = _free_address_space()
    if free is not None and free < threads * _THREAD_BYTES:
        return _CallerExecutor()
    return ThreadPoolExecutor(threads, name)


def matrix_rate(device: torch.device, dtype: torch.dtype, seconds: float = 0.5) -> float:
    """Floating-point operations per second of a large matrix product, the speed limit of a device.

    Args:
        device: the device to measure.
        dtype: the type of the factors.
        seconds: the approximate duration of the measurement.
    """
    side, largest = (256, 2048) if device.type == "cpu" else (2048, 8192)
    while True:
        a, b = torch.randn(2, side, side, device=device).to(dtype)
        timed(lambda: a @ b, device)  # noqa: B023  warm-up, not measured
        once = max(timed(lambda: a @ b, device), 1e-6)  # noqa: B023
        if side == largest or 8 * once > seconds:  # such as with emulated bf16
            break
        side *= 2
    rounds = max(round(seconds / once), 1)
    return 2 * side**3 * rounds / timed(lambda: [a @ b for _ in range(rounds)], device)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """The seconds that ``work`` takes, until the device has finished."""
    wait_for(device)
    start = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - start


def wait_for(device: torch.device) -> None:
    """Wait until all queued work of ``device`` is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def restart_peak_memory(device: torch.device) -> None:
    """Reset the peak memory use, where the system supports it (GPUs, Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> int:
    """The peak memory use in bytes: of the GPU, or of this process if ``device`` is not a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        import resource

        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used if sys.platform == "darwin" else used * 1024
