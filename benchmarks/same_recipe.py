"""One recipe in two implementations: lightly's CIFAR-10 recipe by its own parts and by BYOL.

    python benchmarks/same_recipe.py --data cifar/ --epochs 6 --seeds 1 --json record.json

Epochs, backbone, files and evaluation are equal, so only the code differs. Sides: ``lightly`` (its
data set, transform, heads, loss and momentum update); ``lightly-cifar`` (the preset of ``byol
pretrain`` for this recipe, whose brightness changes are on average as large as torchvision's of
0.4: torchvision multiplies, BYOL adds as the authors do); and ``brightness .4`` (the same with the
value 0.4 itself).
"""

import itertools
import math
import time
from pathlib import Path
from typing import Any

import torch
from common import arguments, header, load_saved, save
from equal_time import BATCH, INPUT_SPEC, by_preset, evaluate, new_backbone, table
from peers import LightlyStep, lightly_batches

from BYOL.data.dataset import Images
from BYOL.data.sources import open_images
from BYOL.training.prepare import load_into_memory

SIDES: dict[str, dict[str, Any]] = {
    "lightly": {},
    "lightly-cifar": {},
    "brightness .4": {"brightness": 0.4},
}


def by_lightly(args: Any, seed: int, count: int) -> tuple[torch.nn.Module, Any]:
    torch.manual_seed(seed)
    backbone = new_backbone(args)
    step = LightlyStep(backbone, backbone(torch.zeros(2, 3, 32, 32)).shape[1])
    steps = args.epochs * (count // BATCH)
    batches = lightly_batches(Path(args.data) / "train", BATCH, workers=args.threads)
    for number, (x, x1) in enumerate(itertools.islice(batches, steps)):
        step.set_learning_rate_share(0.5 * (1 + math.cos(math.pi * number / steps)))
        step(x, x1)
    return backbone, INPUT_SPEC


def one(args: Any, side: str, seed: int, train: Images, test: Images) -> dict[str, float]:
    start = time.perf_counter()
    if side == "lightly":
        backbone, input_spec = by_lightly(args, seed, len(train))
    else:
        trained = by_preset(args, "lightly-cifar", seed, args.epochs, checks=0, **SIDES[side])
        backbone, input_spec = trained.backbone, trained.input_spec
    seconds = time.perf_counter() - start
    rate = args.epochs * len(train) / seconds
    return {"seconds": seconds, "rate": rate, **evaluate(backbone, input_spec, train, test)}


def main() -> None:
    args = arguments(
        __doc__, data="cifar", epochs=6, seeds=1, first_seed=0, backbone="plain6", threads=1,
        sides=",".join(SIDES), folder=None,
    )  # fmt: skip
    record = load_saved(args.json, machine=header("lightly"), rows={})
    splits = open_images(args.data)
    assert splits.test is not None
    train, _ = load_into_memory(splits.train, 1 << 32)
    test, _ = load_into_memory(splits.test, 1 << 32)
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    for seed, side in itertools.product(seeds, args.sides.split(",")):
        name = f"{side} {seed}"
        if name not in record["rows"]:
            record["rows"][name] = one(args, side, seed, train, test)
            print(name, record["rows"][name], flush=True)
            save(args.json, **record)
    table(record["rows"], args.sides.split(","))


if __name__ == "__main__":
    main()
