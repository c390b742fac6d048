"""Cost as a function of the size of the images, of the batch and of the data set.

    python benchmarks/scaling.py --threads 2

Runs ``byol benchmark`` on random images for each size, and opens folders of many files.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import arguments, header, save
from PIL import Image

from BYOL._hardware import pick_machine
from BYOL.config.presets import preset_config
from BYOL.data.sources import open_images
from BYOL.runs.build_model import build_model
from BYOL.training.benchmark import benchmark
from BYOL.training.prepare import prepare


def part(folder: Path, backbone: str, size: int, batch: int, seconds: float) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    path = folder / f"{size}.npy"
    np.save(path, rng.integers(0, 256, (max(2 * batch, 64), size, size, 3), dtype=np.uint8))
    config = preset_config(
        "small", data=str(path), backbone=backbone, image_size=size, batch_size=batch, compile="off"
    )
    prepared = prepare(config)
    machine = pick_machine(config.accelerator, 1, config.precision)
    figures = benchmark(prepared.config, prepared, build_model(prepared.config), machine, seconds)
    rates = figures["images_per_second"]
    print(f"  {size:4d} px, batch {batch:4d}: views {rates['views']:9,.1f}  "
          f"step {rates['step']:8,.1f}  end to end {rates['end_to_end']:8,.1f} images/s  "
          f"{figures['operations_per_second'] / figures['matrix_rate']:4.0%} of the matrix rate  "
          f"{figures['memory_per_image'] / 1e6:7.2f} MB per image", flush=True)  # fmt: skip
    return figures


def opening(folder: Path, count: int) -> dict[str, float]:
    """Measure the seconds to index a folder of ``count`` files, links to a hundred images."""
    root = folder / str(count)
    image = Image.fromarray(np.zeros((32, 32, 3), np.uint8))
    for i in range(count):
        path = root / f"{i % 100:02}" / f"{i}.jpg"
        if i < 100:
            path.parent.mkdir(parents=True)
            image.save(path)
        else:  # a file system allows some 65,000 links to one file
            path.hardlink_to(root / f"{i % 100:02}" / f"{i % 100}.jpg")
    start = time.perf_counter()
    images = open_images(str(root)).train
    seconds = time.perf_counter() - start
    print(f"  {len(images):8,} files: {seconds:6.2f} s to open", flush=True)
    return {"files": len(images), "seconds": seconds}


def main() -> None:
    args = arguments(
        __doc__, backbone="plain6", sizes="32,64,128,224", batches="32,128,512", seconds=3.0,
        files="1000,10000,100000",
    )  # fmt: skip
    line = header("pytorch-lightning")
    figures: dict[str, Any] = {"machine": line, "threads": torch.get_num_threads()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Small ones first: the memory of a part is the growth of the process.
        print(f"size of the batch, {args.backbone}")
        figures["batches"] = [
            part(folder, args.backbone, 32, int(batch), args.seconds)
            for batch in args.batches.split(",")
        ]
        print(f"size of the images, {args.backbone}")
        figures["sizes"] = [
            part(folder, args.backbone, int(size), 64, args.seconds)
            for size in args.sizes.split(",")
        ]
        print("size of the data set")
        figures["files"] = [opening(folder, int(count)) for count in args.files.split(",")]
    save(args.json, **figures)


if __name__ == "__main__":
    main()
