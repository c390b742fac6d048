"""A teacher and BYOL's own target together, or one after the other, at equal time.

    python benchmarks/teacher_and_byol.py --data signs,trash --seconds 60 --seeds 3 --json FILE

Each of DATA has ``train/`` and ``test/`` with class folders, or is a .npz file with both sets and
labels. plain6 is trained with views of 24 px of images of 32 px, in batches of 64, and every side
of :data:`SIDES` has the same seconds of training. The teacher's pass over the images, which all
sides need, is not in them. The loss of a batch is (1 − w) × BYOL's + w × that of a head that
predicts the targets of the teacher; w may change once. The learning rate follows a cosine over
the seconds. What the file of ``--json`` already contains is not run again.
"""

import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from common import arguments, header, load_saved, save
from equal_time import evaluate
from torch import Tensor, nn
from torchvision.transforms.v2.functional import center_crop, resize

from BYOL._hardware import pick_machine
from BYOL._random import fold
from BYOL.byol import BYOL
from BYOL.config import PretrainConfig
from BYOL.config.presets import preset_config
from BYOL.config.recipe_tables import TEACHER
from BYOL.data.dataset import ArrayImages, Images
from BYOL.data.sources import open_images
from BYOL.model.heads import MLP
from BYOL.model.loss import criterion
from BYOL.model.schedules import tau
from BYOL.model.teacher_targets import fit_target_space
from BYOL.training.channel_statistics import IMAGENET_MEAN, IMAGENET_STD
from BYOL.training.optimizers import build_optimizer, set_learning_rate
from BYOL.training.prepare import build_views
from BYOL.training.teacher.features import TeacherFeatures
from BYOL.training.teacher.network import open_teacher

BATCH = 64
SIDE = 48  # pixels: photographs are reduced to squares of this size before training
FEATURES = 128  # of plain6


@dataclass(frozen=True)
class Side:
    """Weights of the teacher's loss in the first and second half, and the learning rate."""

    first: float
    second: float
    lr: float


SIDES = {
    "teacher": Side(1, 1, 1.0),
    "both .9": Side(0.9, 0.9, 1.0),
    "both .5": Side(0.5, 0.5, 1.0),
    "both .5, lr .3": Side(0.5, 0.5, 0.3),
    "teacher, then BYOL": Side(1, 0, 1.0),
    "teacher, then BYOL, lr .1": Side(1, 0, 0.1),
    "teacher, then both": Side(1, 0.5, 1.0),
    "BYOL, then teacher": Side(0, 1, 1.0),
    "BYOL, lr .1": Side(0, 0, 0.1),
}


def configured(data: str, seed: int, channels: int) -> PretrainConfig:
    """Return the settings that all sides share: those of the automatic recipe with a teacher."""
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else ([0.5], [0.25])
    return preset_config(
        "32px-minutes", data=data, seed=seed, batch_size=BATCH, image_size=32, channels=channels,
        mean=mean, std=std, teacher="lite0", **TEACHER,
    )  # fmt: skip


def targets_of(config: PretrainConfig, images: ArrayImages, folder: Path) -> Tensor:
    """Return the targets of the images, (n, k); the features are kept in ``folder``."""
    teacher = open_teacher(config, images.channels, "cpu")
    features = TeacherFeatures(teacher, folder, pick_machine("cpu", 1, "auto")).of(images)
    space = fit_target_space(features)
    return space(torch.from_numpy(features.astype("float32")))


def in_memory(images: Images) -> ArrayImages:
    """Return images in memory; photographs as squares from their middle."""
    if isinstance(images, ArrayImages):
        return images
    pixels = (images.read(i) for i in range(len(images)))
    squares = [center_crop(resize(p, [SIDE], antialias=True), [SIDE]) for p in pixels]
    return ArrayImages(
        images.name, images.channels, images.labels, images.classes, torch.stack(squares)
    )


def loss_of(
    model: BYOL, head: nn.Module, x: Tensor, x1: Tensor, target: Tensor, weight: float
) -> Tensor:
    """Return the weighted loss of two views (B, C, S, S) and the teacher's targets (B, k)."""
    online = model.onlineNet
    f, f1 = online.backend(x), online.backend(x1)
    loss = f.new_zeros(())
    if weight:
        loss = loss + weight * criterion(head(f), target, head(f1), target)
    if weight < 1:
        assert online.predictor is not None
        p, p1 = (online.predictor(online.projection(each)) for each in (f, f1))
        with torch.no_grad():
            z, z1 = model.targetNet(x), model.targetNet(x1)
        loss = loss + (1 - weight) * criterion(p, z1, p1, z)
    return loss


def train(
    images: ArrayImages, targets: Tensor, config: PretrainConfig, side: Side, seconds: float
) -> tuple[nn.Module, int]:
    """Train for ``seconds`` and return the backbone and the number of steps."""
    torch.manual_seed(config.seed)
    model = BYOL(
        FEATURES, config.hidden_size, config.output_size, backend="plain6", image_size=32,
        in_channels=images.channels,
    ).to(memory_format=torch.channels_last)  # fmt: skip
    head = MLP(FEATURES, config.hidden_size, targets.shape[1])
    model.onlineNet.add_module("teacher_head", head)  # so that the optimizer has its parameters
    optimizer = build_optimizer("sgd", model, lr=side.lr, weight_decay=1e-4, momentum=0.9)
    views, step, epoch, start = build_views(config), 0, 0, time.perf_counter()
    while True:
        for ids in torch.randperm(len(images)).split(BATCH)[: len(images) // BATCH]:
            passed = (time.perf_counter() - start) / seconds
            if passed >= 1:
                return model.onlineNet.backend, step
            x, x1 = views(images.data[ids], ids, fold(config.seed, epoch))
            x, x1 = (v.contiguous(memory_format=torch.channels_last) for v in (x, x1))
            warm = min(step / 50, 1)
            rate = side.lr * BATCH / 256 * warm * 0.5 * (1 + math.cos(math.pi * passed))
            set_learning_rate(optimizer, rate)
            optimizer.zero_grad(set_to_none=True)
            weight = side.first if passed < 0.5 else side.second
            loss_of(model, head, x, x1, targets[ids], weight).backward()
            optimizer.step()
            if weight < 1:
                share = tau(int(passed * 1000), 1000, config.tau, config.tau_schedule)
                model.updateTargetNetwork(share)
            step += 1
        epoch += 1


def one(data: str, seed: int, side: Side, seconds: float, folder: Path) -> dict[str, float]:
    """Train one side on one set and return its accuracies on the test images."""
    splits = open_images(data)
    config = configured(data, seed, splits.train.channels)
    assert splits.test is not None
    targets = targets_of(config, splits.train, folder)
    backbone, steps = train(in_memory(splits.train), targets, config, side, seconds)
    found = evaluate(backbone.eval(), config.input_spec, splits.train, splits.test, k=20)
    return {"steps": steps, **found}


def main() -> None:
    args = arguments(
        __doc__, data="signs", seconds=60.0, seeds=3, sides=";".join(SIDES), folder="runs"
    )
    record = load_saved(args.json, machine=header(), seconds=args.seconds, rows={})
    for seed in range(args.seeds):
        for data in args.data.split(","):
            for side in args.sides.split(";"):
                name = f"{data} | {side} | {seed}"
                if name not in record["rows"]:
                    record["rows"][name] = one(
                        data, seed, SIDES[side], args.seconds, Path(args.folder)
                    )
                    save(args.json, **record)
                    print(name, record["rows"][name], flush=True)
    table(record["rows"])


def table(rows: dict[str, dict[str, float]]) -> None:
    """Print mean and standard deviation over seeds of every set and side."""
    for group in dict.fromkeys(name.rpartition(" | ")[0] for name in rows):
        found = [row for name, row in rows.items() if name.rpartition(" | ")[0] == group]
        cells = []
        for measure in found[0]:
            values = [row[measure] for row in found]
            spread = statistics.stdev(values) if len(values) > 1 else math.nan
            cells.append(f"{measure} {statistics.mean(values):.3f} ±{spread:.3f}")
        print(f"{group:50s} " + "   ".join(cells))


if __name__ == "__main__":
    main()
