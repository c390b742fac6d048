"""``byol pretrain`` as a whole against its own training step: do loading and views ever wait?

    python benchmarks/end_to_end.py --small cifar/train --photos photos/ --threads 2

Three runs of the product, each beside the same step fed with views that are ready: 32-px pictures
held in memory, the same from their files, and photographs at 224 px from files. The step is timed
before and after the run, and the mean taken, so that a machine that slows down hits both.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import arguments, header, save

from BYOL._hardware import pick_machine
from BYOL.config.presets import preset_config
from BYOL.data.open import open_images
from BYOL.runs.build_model import build_model
from BYOL.training.benchmark import seconds_each, training_step
from BYOL.training.prepare import prepare
from BYOL.training.pretrain import pretrain


def step_rate(config: Any, seconds: float) -> float:
    machine = pick_machine(config.accelerator, 1, config.precision)
    model = build_model(config).to(memory_format=torch.channels_last).train()
    x, x1 = (
        torch.randn(config.view_shape).contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    )
    step = training_step(config, model, machine)
    return config.batch_size / seconds_each(lambda: step(x, x1), torch.device("cpu"), seconds)


def linked(data: str, most: int, folder: Path) -> str:
    """A folder with links to at most so many of the pictures, for a run of one epoch."""
    images = open_images(data).train
    folder.mkdir()
    for i in np.linspace(0, len(images) - 1, min(most, len(images))).astype(int):
        path = Path(images.root, images.paths[int(i)]).resolve()
        (folder / f"{i}{path.suffix}").symlink_to(path)
    return str(folder)


def one(name: str, steps: int, seconds: float, data: str, **settings: Any) -> dict[str, float]:
    """A run of about ``steps`` steps."""
    with tempfile.TemporaryDirectory() as folder:
        batch = settings["batch_size"]
        pictures = linked(data, steps * batch, Path(folder) / "pictures")
        epochs = max(round(steps * batch / len(list(Path(pictures).iterdir()))), 1)
        config = preset_config(
            "small", data=pictures, out=f"{folder}/run", epochs=epochs, knn_every=0,
            evaluate=False, **settings,
        )  # fmt: skip
        settled = prepare(config, hold=False).config
        before = step_rate(settled, seconds)
        results = pretrain(config)
        step = (before + step_rate(settled, seconds)) / 2
    run = results["images_per_second"]
    print(f"  {name:44s} step {step:8.1f}  run {run:8.1f} images/s  {run / step:.3f} of it "
          f"({results['steps']} steps)", flush=True)  # fmt: skip
    return {"step": step, "run": run, "share": run / step, "steps": results["steps"]}


def main() -> None:
    given = arguments(
        __doc__, small="cifar/train", photos="photos", backbone="resnet18", batch=64, steps=20,
        seconds=20.0, threads=2, parts="memory,files,photos",
    )  # fmt: skip
    line = header("pytorch-lightning")
    small = {"data": given.small, "backbone": given.backbone, "batch_size": given.batch}
    print(f"byol pretrain against its own step, {given.backbone}, batch {given.batch}")
    photos = {**small, "data": given.photos, "batch_size": 32, "image_size": 224}
    parts: dict[str, tuple[str, dict[str, Any]]] = {
        "memory": ("32 px, held in memory", small),
        "files": ("32 px, from files", {**small, "memory": 0.0}),
        "photos": ("photographs, 224 px, from files, batch 32", photos),
    }
    found = {}
    for part in given.parts.split(","):
        name, settings = parts[part]
        found[part] = one(name, given.steps, given.seconds, **settings)
    save(given.json, machine=line, **found)


if __name__ == "__main__":
    main()
