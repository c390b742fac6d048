"""Random numbers as a pure function of a key, without hidden state that would have to be saved.

``uniforms(key, ids, n)`` returns n numbers for every sample, which depend only on the key and on
the id of the sample. The batch, the loader process and the device do not change them. A resumed run
is therefore equal to a run that was never stopped.

The generator is the SplitMix64 finaliser (Steele, Lea and Flood 2014, "Fast splittable
pseudorandom number generators") applied to a counter.
"""

import contextlib
import os
import threading
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_MIX1 = 0xBF58476D1CE4E5B9
_MIX2 = 0x94D049BB133111EB
_TURNS = threading.RLock()  # held by the thread that seeds PyTorch's generators
if hasattr(os, "register_at_fork"):  # a forked process has no other thread to wait for
    os.register_at_fork(after_in_child=_TURNS._at_fork_reinit)  # type: ignore[attr-defined]


def fold(*parts: int) -> int:
    """Mix integers, in order, into one 64-bit key: ``fold(seed, epoch, view)``.

    Returns:
        A Python int in [0, 2⁶⁴). Different tuples give unrelated keys.
    """
    state = 0
    for part in parts:
        state = _mix_int((state ^ (part & _MASK)) + _GOLDEN & _MASK)
    return state


def uniforms(key: int, ids: Tensor, n: int) -> Tensor:
    """``n`` uniform numbers in [0, 1) for every id.

    Args:
        key: a key from :func:`fold`.
        ids: (B,) integer tensor on any device.
        n: the number of values for every id.

    Returns:
        (B, n) float32 on the device of ``ids``; equal on every device.
    """
    counter = torch.arange(1, n + 1, device=ids.device, dtype=torch.int64)
    per_id = _mix((ids.to(torch.int64) ^ _signed(key)) + _signed(_GOLDEN))
    bits = _mix(per_id[:, None] + counter * _signed(_GOLDEN))
    return ((bits >> 40) & 0xFFFFFF).to(torch.float32) * 2.0**-24


def permutation(key: int, n: int) -> Tensor:
    """A random permutation of 0 … n-1 that depends only on ``key``: (n,) int64 on the CPU."""
    generator = torch.Generator().manual_seed(key >> 1)
    return torch.randperm(n, generator=generator)


def evenly_spaced(count: int, most: int) -> np.ndarray:
    """At most ``most`` evenly spaced indices of ``count`` items, the first and last included.

    Returns:
        (m,) int64, increasing; all indices if ``count`` is at most ``most``.
    """
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def seed_generators(key: int, device: torch.device) -> None:
    """Seed PyTorch's generators of the CPU and of ``device``, which dropout uses, for example.

    This is faster than ``torch.manual_seed``, which takes a millisecond for all kinds of devices.
    """
    seed = key >> 1
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


@contextlib.contextmanager
def generators_kept(device: torch.device) -> Iterator[None]:
    """Restore PyTorch's generators of the CPU and of ``device`` on exit.

    Otherwise a training that seeds them would leave every caller with the same random numbers,
    whatever seed the caller had. Threads wait for each other here, because all threads of a process
    draw from the same generators.
    """
    modules = {"cuda": torch.cuda, "mps": torch.mps}
    kept = [m for m in (torch, modules.get(device.type)) if m is not None]
    with _TURNS:
        states = [module.get_rng_state() for module in kept]
        try:
            yield
        finally:
            for module, state in zip(kept, states, strict=True):
                module.set_rng_state(state)


def _signed(value: int) -> int:
    """The int64 with the same 64 bits as the unsigned ``value``."""
    return value - (1 << 64) if value >= 1 << 63 else value


def _mix_int(z: int) -> int:
    z = (z ^ (z >> 30)) * _MIX1 & _MASK
    z = (z ^ (z >> 27)) * _MIX2 & _MASK
    return z ^ (z >> 31)


def _mix(z: Tensor) -> Tensor:
    # int64 products wrap around, as the algorithm requires. Its shifts are logical, whereas torch's
    # keep the sign, hence the masks.
    z = (z ^ ((z >> 30) & ((1 << 34) - 1))) * _signed(_MIX1)
    z = (z ^ ((z >> 27) & ((1 << 37) - 1))) * _signed(_MIX2)
    return z ^ ((z >> 31) & ((1 << 33) - 1))
