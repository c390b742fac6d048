"""Equal wall-clock, equal pictures, equal backbone: ours with its preset against lightly's recipe.

    python benchmarks/equal_time.py --data cifar/ --minutes 10 --seeds 3 --threads 2

``cifar/`` holds CIFAR-10 as files, ``train/`` and ``test/`` with class folders. Ours is ``byol
pretrain`` with the preset ``small`` and as many epochs as fit (measured in a trial epoch), decoding
included. lightly's side is its CIFAR-10 benchmark recipe, put together from its own data set,
transform, heads, loss and momentum update: SGD 0.06 for a batch of 128, weight decay 5e-4,
m = 0.99, no blur; its cosine follows the clock, so it ends where the time ends. Both are judged
alike.
"""

import copy
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from common import arguments, header, save, small_stem
from lightly.data import LightlyDataset
from lightly.loss import NegativeCosineSimilarity
from lightly.transforms.byol_transform import BYOLTransform, BYOLView1Transform, BYOLView2Transform
from peers import LightlyBYOL
from torch import nn

from BYOL.backbones import build_backbone
from BYOL.data.images import Images
from BYOL.data.sources import open_images
from BYOL.evaluation.features import extract_features
from BYOL.evaluation.knn import knn_accuracy
from BYOL.evaluation.linear import linear_probe
from BYOL.preparation import IMAGENET_MEAN, IMAGENET_STD, in_memory
from BYOL.presets import preset_config
from BYOL.pretraining import pretrain
from BYOL.runs import open_run
from BYOL.views.config import Sight

BATCH = 128  # of lightly's recipe


def ours(given: Any, seed: int, epochs: int) -> tuple[nn.Module, Sight, float, float]:
    with tempfile.TemporaryDirectory() as folder:
        config = preset_config(
            "small",
            data=given.data,
            backbone=given.backbone,
            epochs=epochs,
            seed=seed,
            evaluate=False,
            knn_every=0,
            out=f"{folder}/run",
        )
        start = time.perf_counter()
        results = pretrain(config, say=lambda line: None)
        seconds = time.perf_counter() - start
        run = open_run(f"{folder}/run")
        return run.backbone, run.config.sight, seconds, results["images_per_second"]


def lightly(given: Any, seed: int, budget: float) -> tuple[nn.Module, Sight, float, float]:
    torch.manual_seed(seed)
    start = time.perf_counter()
    transform = BYOLTransform(
        BYOLView1Transform(input_size=32, gaussian_blur=0.0),
        BYOLView2Transform(input_size=32, gaussian_blur=0.0),
    )
    data = LightlyDataset(input_dir=str(Path(given.data) / "train"), transform=transform)
    loader = torch.utils.data.DataLoader(
        data, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=2
    )
    backbone = build_backbone(
        given.backbone, in_channels=3, image_size=32, stem=small_stem(given.backbone)
    )
    model = LightlyBYOL(backbone, backbone(torch.zeros(2, 3, 32, 32)).shape[1]).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=6e-2, momentum=0.9, weight_decay=5e-4)
    loss_of, shown = NegativeCosineSimilarity(), 0
    while True:
        for views, _, _ in loader:
            passed = (time.perf_counter() - start) / budget
            if passed >= 1:
                sight = Sight(32, IMAGENET_MEAN, IMAGENET_STD)
                return model.backbone, sight, time.perf_counter() - start, shown / budget
            for group in optimizer.param_groups:
                group["lr"] = 6e-2 * 0.5 * (1 + math.cos(math.pi * passed))
            model.follow(0.99)
            p0, z0 = model(views[0]), model.forward_momentum(views[0])
            p1, z1 = model(views[1]), model.forward_momentum(views[1])
            loss = 0.5 * (loss_of(p0, z1) + loss_of(p1, z0))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            shown += BATCH


def judge(backbone: nn.Module, sight: Sight, train: Images, test: Images) -> dict[str, float]:
    device = torch.device("cpu")
    ids, bank = extract_features(backbone, train, sight, device=device)
    asked, queries = extract_features(backbone, test, sight, device=device)
    labels, truth = train.labels[ids], test.labels[asked]
    guessed = linear_probe(bank, labels, queries).predictions
    return {
        "knn200": knn_accuracy(bank, labels, queries, truth, k=200, temperature=0.1),
        "linear": float((guessed == truth).mean()),
    }


def main() -> None:
    given = arguments(__doc__, data="cifar", minutes=10.0, seeds=3, backbone="plain6", threads=2)
    line, budget = header("lightly"), given.minutes * 60
    splits = open_images(given.data)
    train, _ = in_memory(splits.train, 1 << 32)
    test, _ = in_memory(splits.test, 1 << 32)
    untrained = build_backbone(
        given.backbone, in_channels=3, image_size=32, stem=small_stem(given.backbone)
    )
    start = judge(untrained, Sight(32, IMAGENET_MEAN, IMAGENET_STD), train, test)
    print(f"untrained: kNN {start['knn200']:.3f}, linear {start['linear']:.3f}", flush=True)
    _, _, seconds, rate = ours(given, 0, 1)
    fixed = seconds - len(train) / rate
    epochs = max(int((budget - fixed) * rate / len(train)), 1)
    rows: dict[str, list[dict[str, float]]] = {"BYOL": [], "lightly": []}
    for seed in range(given.seeds):
        for name, side in (
            ("BYOL", lambda seed: ours(given, seed, epochs)),
            ("lightly", lambda seed: lightly(given, seed, budget)),
        ):
            backbone, sight, seconds, rate = side(seed)
            row = {
                "seconds": seconds,
                "rate": rate,
                **judge(copy.deepcopy(backbone), sight, train, test),
            }
            rows[name].append(row)
            print(f"{name:8s} seed {seed}: {seconds:.0f} s, {rate:,.0f} images/s, "
                  f"kNN {row['knn200']:.3f}, linear {row['linear']:.3f}", flush=True)  # fmt: skip
            save(given.json, machine=line, untrained=start, rows=rows)
    for name, found in rows.items():
        means = {k: statistics.mean(row[k] for row in found) for k in ("knn200", "linear")}
        print(f"{name:8s} mean: kNN {means['knn200']:.3f}, linear {means['linear']:.3f}")


if __name__ == "__main__":
    main()
