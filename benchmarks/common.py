"""Helpers of all benchmarks: alternating measurements in one process, medians, ratios."""

import argparse
import importlib.metadata
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def alternate(
    sides: dict[str, Callable[[], int]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Measure the images per second of all sides in turns, so that a slow minute affects them all.

    Args:
        sides: name → function that does the work and returns the number of images it processed.
        rounds: number of measured rounds. One more round runs first and is not counted.
        clock: returns the time in seconds.
    """
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, work in sides.items():
            start = clock()
            done = work()
            if turn:
                rates[name].append(done / (clock() - start))
    return rates


def report(title: str, rates: dict[str, list[float]], ours: str = "BYOL") -> dict[str, Any]:
    """Print medians, ranges and the ratio of ``ours`` to each side; return the same figures."""
    print(f"\n{title}")
    middle = {name: statistics.median(values) for name, values in rates.items()}
    for name, values in rates.items():
        ratio = (
            "" if name == ours else f"   {ours} is {middle[ours] / middle[name]:.2f} times as fast"
        )
        print(
            f"  {name:34s} {middle[name]:9,.1f} images/s  "
            f"({min(values):,.1f} … {max(values):,.1f}){ratio}",
            flush=True,
        )
    return {"title": title, "images_per_second": rates, "median": middle}


def arguments(description: str, **defaults: Any) -> argparse.Namespace:
    """Parse the flags of ``defaults`` (name → default), ``--threads`` and ``--json FILE``."""
    parser = argparse.ArgumentParser(description=description)
    for name, value in {"threads": 1, "json": None, **defaults}.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=type(value) if value is not None else str,
            default=value,
        )
    parsed = parser.parse_args()
    torch.set_num_threads(parsed.threads)
    return parsed


def header(*packages: str) -> str:
    """Print and return the machine and the versions of ``packages``."""
    versions = [
        f"{name} {importlib.metadata.version(name)}" for name in ("BYOL", "torch", *packages)
    ]
    line = (
        f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, "
        f"{torch.get_num_threads()} threads; Python {platform.python_version()}, "
    ) + ", ".join(versions)
    print(line)
    return line


def save(path: str | None, **figures: Any) -> None:
    """Write ``figures`` as JSON to ``path``, the value of ``--json``; None writes nothing."""
    if path:
        Path(path).write_text(json.dumps(figures, indent=1))


def load_saved(path: str | None, **default: Any) -> dict[str, Any]:
    """Return the figures that :func:`save` wrote to ``path``; ``default`` if there are none."""
    if path and Path(path).exists():
        saved: dict[str, Any] = json.loads(Path(path).read_text())
        return saved
    return default


def small_stem(backbone: str) -> str:
    """Return the stem that ``byol pretrain`` chooses for images of 32 px."""
    return "small" if backbone.startswith("resnet") else "imagenet"
