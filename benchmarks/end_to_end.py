"""``byol pretrain`` compared with its own training step: does a step wait for loading or for views?

    python benchmarks/end_to_end.py --small cifar/train --photos photos/ --threads 2

There are three runs: 32-px images in memory, the same from files, and photographs at 224 px from
files. Each is compared with the same step on views that are ready. The step is measured before and
after the run, and the mean is used, so that a machine that slows down affects both.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import arguments, header, save

from BYOL._hardware import pick_machine
from BYOL.config.presets import preset_config
from BYOL.data.sources import open_images
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
    """Write a folder with links to at most ``most`` images of ``data``; return its path."""
    images = open_images(data).train
    folder.mkdir()
    for i in np.linspace(0, len(images) - 1, min(most, len(images))).astype(int):
        path = Path(images.root, images.paths[int(i)]).resolve()
        (folder / f"{i}{path.suffix}").symlink_to(path)
    return str(folder)


def one(name: str, steps: int, seconds: float, data: str, **settings: Any) -> dict[str, float]:
    """Measure a run of about ``steps`` steps, and its training step."""
    with tempfile.TemporaryDirectory() as folder:
        batch = settings["batch_size"]
        images = linked(data, steps * batch, Path(folder) / "images")
        epochs = max(round(steps * batch / len(list(Path(images).iterdir()))), 1)
        config = preset_config(
            "small", data=images, out=f"{folder}/run", epochs=epochs, knn_every=0,
            evaluate=False, **settings,
        )  # fmt: skip
        resolved = prepare(config, into_memory=False).config
        before = step_rate(resolved, seconds)
        results = pretrain(config)
        step = (before + step_rate(resolved, seconds)) / 2
    run = results["images_per_second"]
    print(f"  {name:44s} step {step:8.1f}  run {run:8.1f} images/s  {run / step:.3f} of the step "
          f"({results['steps']} steps)", flush=True)  # fmt: skip
    return {"step": step, "run": run, "share": run / step, "steps": results["steps"]}


def main() -> None:
    args = arguments(
        __doc__, small="cifar/train", photos="photos", backbone="resnet18", batch=64, steps=20,
        seconds=20.0, threads=2, parts="memory,files,photos",
    )  # fmt: skip
    line = header("pytorch-lightning")
    small = {"data": args.small, "backbone": args.backbone, "batch_size": args.batch}
    print(f"byol pretrain compared with its own step, {args.backbone}, batch {args.batch}")
    photos = {**small, "data": args.photos, "batch_size": 32, "image_size": 224}
    parts: dict[str, tuple[str, dict[str, Any]]] = {
        "memory": ("32 px, held in memory", small),
        "files": ("32 px, from files", {**small, "memory": 0.0}),
        "photos": ("photographs, 224 px, from files, batch 32", photos),
    }
    shares = {}
    for part in args.parts.split(","):
        name, settings = parts[part]
        shares[part] = one(name, args.steps, args.seconds, **settings)
    save(args.json, machine=line, **shares)


if __name__ == "__main__":
    main()
