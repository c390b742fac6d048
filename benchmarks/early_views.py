"""Smaller views in the first epochs (progressive resizing): a sketch, which is not in the package.

    python benchmarks/early_views.py --data cifar10.npz --plan 16:19,24:12 --json record.json

DATA is a .npz file with training and test images and labels. ``--plan`` lists sizes of views, each
with the number of epochs that have it. plain6 is trained with the preset 32px-minutes and
evaluated on the test images; ``--plan 24:23`` is the preset itself for 23 epochs.
"""

import dataclasses
import itertools
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from common import arguments, header, save
from equal_time import evaluate

from BYOL.config.presets import preset_config
from BYOL.data.batch import Batch
from BYOL.data.sources import open_images
from BYOL.runs.open import open_run
from BYOL.training import train
from BYOL.training.module import Pretraining
from BYOL.training.prepare import build_views
from BYOL.training.pretrain import pretrain


def resizing(sizes: list[int]) -> type[Pretraining]:
    """Return the module of the training step with views of ``sizes[epoch]`` pixels."""

    class Resizing(Pretraining):
        def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
            if self.views.configs[0].size != sizes[batch.epoch]:
                self.views = build_views(
                    dataclasses.replace(self.config, view_size=sizes[batch.epoch])
                )
            super().on_train_batch_start(batch, batch_idx)

    return Resizing


def main() -> None:
    args = arguments(__doc__, data="cifar10.npz", plan="24:23", seed=0)
    line = header()
    plan = [tuple(map(int, part.split(":"))) for part in args.plan.split(",")]
    sizes = list(itertools.chain.from_iterable([size] * epochs for size, epochs in plan))
    with tempfile.TemporaryDirectory() as folder:
        config = preset_config(
            "32px-minutes", data=args.data, backbone="plain6", epochs=len(sizes), seed=args.seed,
            view_size=sizes[-1], evaluate=False, report=False, knn_every=0,
            out=str(Path(folder) / "run"),
        )  # fmt: skip
        with mock.patch.object(train, "Pretraining", resizing(sizes)):
            results: dict[str, Any] = pretrain(config)
        run, splits = open_run(config.out or ""), open_images(args.data)
        assert splits.test is not None
        found = evaluate(run.backbone, run.config.input_spec, splits.train, splits.test)
    figures = {"plan": args.plan, "seconds": results["train_seconds"], **found}
    print(figures)
    save(args.json, machine=line, **figures)


if __name__ == "__main__":
    main()
