"""Accuracy of supervised training on the same files: the upper limit for a run without labels.

    python -m pip install airbench==0.1.8
    python benchmarks/ceiling.py --data cifar10.npz --seeds 3

Keller Jordan's airbench94 trains with labels, with its own code and settings. On CIFAR-10 as
published its accuracy is .9401 (mean of 1,000 runs). Here it reads the images of our runs, so a
difference from .9401 is the effect of these images (such as compression), or of our replacements:
without a GPU it runs on the processor, where bf16 or fp32 replaces fp16.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import airbench
import torch
from airbench import lib_airbench94 as recipe
from airbench import utils
from common import arguments, header, save

from BYOL._hardware import pick_precision
from BYOL.data.dataset import Images
from BYOL.data.sources import open_images


class Clock:
    """The part of ``torch.cuda.Event`` that the training uses."""

    def __init__(self, enable_timing: bool = False) -> None:
        self.at = 0.0

    def record(self) -> None:
        self.at = time.perf_counter()

    def elapsed_time(self, other: "Clock") -> float:
        return 1e3 * (other.at - self.at)


class OnProcessor(utils.CifarLoader):
    """The loader of airbench, in float32 on the processor."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{**settings, "gpu": "cpu"})
        self.images = self.images.float()


@contextmanager
def without_a_gpu() -> Iterator[None]:
    """Replace the CUDA functions that airbench uses."""
    with (
        mock.patch.object(torch.cuda, "Event", Clock),
        mock.patch.object(torch.cuda, "synchronize"),
        mock.patch.object(torch.nn.Module, "cuda", lambda module: module),
        mock.patch.object(torch.nn.Module, "half", torch.nn.Module.float),
        mock.patch.object(utils, "CifarLoader", OnProcessor),
        mock.patch.object(recipe, "CifarLoader", OnProcessor),
    ):
        yield


def keep(images: Images, path: Path) -> None:
    """Write ``images`` as the file that the loader of airbench reads."""
    pixels = torch.stack([images.read(i) for i in range(len(images))])
    held = {
        "images": pixels.permute(0, 2, 3, 1).contiguous(),
        "labels": torch.as_tensor(images.labels),
        "classes": list(images.classes),
    }
    torch.save(held, path)


def network() -> torch.nn.Sequential:
    """Return its network. On a processor that is faster in bf16 only the network uses it."""
    made = airbench.make_net94()
    if not torch.cuda.is_available() and pick_precision("auto", "cpu") == "bf16":
        inner = torch.autocast("cpu", dtype=torch.bfloat16)(made.forward)
        made.forward = lambda images: inner(images).float()
    return made


def trained(seed: int, epochs: float) -> dict[str, float]:
    torch.manual_seed(seed)
    start = time.perf_counter()
    model = airbench.train94(epochs=epochs, make_net=network)
    seconds = time.perf_counter() - start
    test = utils.CifarLoader("cifar10", train=False)
    plain, flips = (utils.evaluate(model, test, tta_level=level) for level in (0, 2))
    print(f"seed {seed}: {plain:.4f}, {flips:.4f} over six views, {seconds:.0f} s", flush=True)
    return {"plain": plain, "six views": flips, "seconds": seconds}


def main() -> None:
    args = arguments(__doc__, data="cifar/", seeds=3, epochs=9.9)
    header("airbench")
    splits = open_images(args.data)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # its loader reads the folder cifar10 of the working directory
        Path("cifar10").mkdir()
        keep(splits.train, Path("cifar10/train.pt"))
        keep(splits.test, Path("cifar10/test.pt"))
        if torch.cuda.is_available():
            rows = [trained(seed, args.epochs) for seed in range(args.seeds)]
        else:
            with without_a_gpu():
                rows = [trained(seed, args.epochs) for seed in range(args.seeds)]
        os.chdir("/")  # so that the folder can be removed
    save(args.json, rows=rows)


if __name__ == "__main__":
    main()
