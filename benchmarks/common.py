"""What every benchmark shares: both sides by turns in one process, medians, ratios."""

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


def alternate(sides: dict[str, Callable[[], int]], rounds: int) -> dict[str, list[float]]:
    """Images per second of every side, by turns, so that a slow minute hits all of them.

    Args:
        sides: by name, a function that works and returns how many images it has done.
        rounds: measured ones; one more before them is not counted.
    """
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, work in sides.items():
            start = time.perf_counter()
            done = work()
            if turn:
                rates[name].append(done / (time.perf_counter() - start))
    return rates


def report(title: str, rates: dict[str, list[float]], ours: str = "BYOL") -> dict[str, Any]:
    """Print medians, their spread, and how many times as fast ours is; return the same."""
    print(f"\n{title}")
    middle = {name: statistics.median(values) for name, values in rates.items()}
    for name, values in rates.items():
        ratio = (
            "" if name == ours else f"   ours is {middle[ours] / middle[name]:.2f} times as fast"
        )
        print(
            f"  {name:34s} {middle[name]:9,.1f} images/s  "
            f"({min(values):,.1f} … {max(values):,.1f}){ratio}",
            flush=True,
        )
    return {"title": title, "images_per_second": rates, "median": middle}


def arguments(description: str, **defaults: Any) -> argparse.Namespace:
    """Flags from names and default values, beside ``--threads`` and ``--json FILE``."""
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
    """The machine and the versions, for the first line."""
    versions = [
        f"{name} {importlib.metadata.version(name)}" for name in ("BYOL", "torch", *packages)
    ]
    line = (
        f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, "
        f"{torch.get_num_threads()} threads; Python {platform.python_version()}, "
    ) + ", ".join(versions)
    print(line)
    return line


def save(path: str | None, **found: Any) -> None:
    """Keep the figures, if ``--json`` says where."""
    if path:
        Path(path).write_text(json.dumps(found, indent=1))


def small_stem(backbone: str) -> str:
    """The stem for 32 px that ``byol pretrain`` would choose."""
    return "small" if backbone.startswith("resnet") else "imagenet"
