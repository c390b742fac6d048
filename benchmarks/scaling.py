"""How cost grows with the size of the pictures, of the batch and of the set.

    python benchmarks/scaling.py --threads 2

Random pictures; ``byol benchmark`` for each size, and opening a folder of so many files.
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
from BYOL.data.open import open_images
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
    found = benchmark(prepared.config, prepared, build_model(prepared.config), machine, seconds)
    rates = found["images_per_second"]
    print(f"  {size:4d} px, batch {batch:4d}: views {rates['views']:9,.1f}  "
          f"step {rates['step']:8,.1f}  end to end {rates['end_to_end']:8,.1f} images/s  "
          f"{found['operations_per_second'] / found['matrix_rate']:4.0%} of the matrix rate  "
          f"{found['memory_per_image'] / 1e6:7.2f} MB a picture", flush=True)  # fmt: skip
    return found


def opening(folder: Path, count: int) -> dict[str, float]:
    """Seconds to index a folder; the files are links to a hundred pictures."""
    root = folder / str(count)
    picture = Image.fromarray(np.zeros((32, 32, 3), np.uint8))
    for i in range(count):
        path = root / f"{i % 100:02}" / f"{i}.jpg"
        if i < 100:
            path.parent.mkdir(parents=True)
            picture.save(path)
        else:  # a file system allows some 65,000 links to one file
            path.hardlink_to(root / f"{i % 100:02}" / f"{i % 100}.jpg")
    start = time.perf_counter()
    images = open_images(str(root)).train
    seconds = time.perf_counter() - start
    print(f"  {len(images):8,} files: {seconds:6.2f} s to open", flush=True)
    return {"files": len(images), "seconds": seconds}


def main() -> None:
    given = arguments(
        __doc__, backbone="plain6", sizes="32,64,128,224", batches="32,128,512", seconds=3.0,
        files="1000,10000,100000",
    )  # fmt: skip
    line = header("pytorch-lightning")
    found: dict[str, Any] = {"machine": line, "threads": torch.get_num_threads()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Small ones first: what a part takes is how much the process grew.
        print(f"size of the batch, {given.backbone}")
        found["batches"] = [
            part(folder, given.backbone, 32, int(batch), given.seconds)
            for batch in given.batches.split(",")
        ]
        print(f"size of the pictures, {given.backbone}")
        found["sizes"] = [
            part(folder, given.backbone, int(size), 64, given.seconds)
            for size in given.sizes.split(",")
        ]
        print("size of the set")
        found["files"] = [opening(folder, int(count)) for count in given.files.split(",")]
    save(given.json, **found)


if __name__ == "__main__":
    main()
