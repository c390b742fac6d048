"""One recipe, two codes: lightly's CIFAR-10 recipe by its own parts, and by ``byol pretrain``.

    python benchmarks/same_recipe.py --data cifar/ --epochs 6 --seeds 1 --json found.json

Equal epochs, equal backbone, the same files, judged alike: what differs is the code alone. Sides:
``lightly`` (its data set, transform, heads, loss and momentum update), ``lightly-cifar`` (our
preset of it, with changes of brightness as large as torchvision's .4 are on average: it multiplies
where we, as the authors do, add) and ``brightness .4`` (the same, with the number as it stands).
"""

import itertools
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from common import arguments, header, save
from equal_time import BATCH, SIGHT, by_preset, judge, new_backbone, table
from peers import LightlyStep, lightly_batches

from BYOL.data.dataset import Images
from BYOL.data.open import open_images
from BYOL.training.prepare import in_memory

SIDES: dict[str, dict[str, Any]] = {
    "lightly": {},
    "lightly-cifar": {},
    "brightness .4": {"brightness": 0.4},
}


def by_lightly(given: Any, seed: int, pictures: int) -> tuple[torch.nn.Module, Any]:
    torch.manual_seed(seed)
    backbone = new_backbone(given)
    step = LightlyStep(backbone, backbone(torch.zeros(2, 3, 32, 32)).shape[1])
    steps = given.epochs * (pictures // BATCH)
    batches = lightly_batches(Path(given.data) / "train", BATCH, workers=given.threads)
    for number, (x, x1) in enumerate(itertools.islice(batches, steps)):
        step.set_share_of_rate(0.5 * (1 + math.cos(math.pi * number / steps)))
        step(x, x1)
    return backbone, SIGHT


def one(given: Any, side: str, seed: int, train: Images, test: Images) -> dict[str, float]:
    start = time.perf_counter()
    if side == "lightly":
        backbone, input_spec = by_lightly(given, seed, len(train))
    else:
        trained = by_preset(given, "lightly-cifar", seed, given.epochs, checks=0, **SIDES[side])
        backbone, input_spec = trained.backbone, trained.input_spec
    seconds = time.perf_counter() - start
    rate = given.epochs * len(train) / seconds
    return {"seconds": seconds, "rate": rate, **judge(backbone, input_spec, train, test)}


def main() -> None:
    given = arguments(
        __doc__, data="cifar", epochs=6, seeds=1, first_seed=0, backbone="plain6", threads=1,
        sides=",".join(SIDES),
    )  # fmt: skip
    found: dict[str, Any] = {"machine": header("lightly"), "rows": {}}
    if given.json and Path(given.json).exists():
        found = json.loads(Path(given.json).read_text())
    splits = open_images(given.data)
    assert splits.test is not None
    train, _ = in_memory(splits.train, 1 << 32)
    test, _ = in_memory(splits.test, 1 << 32)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    for seed, side in itertools.product(seeds, given.sides.split(",")):
        name = f"{side} {seed}"
        if name not in found["rows"]:
            found["rows"][name] = one(given, side, seed, train, test)
            print(name, found["rows"][name], flush=True)
            save(given.json, **found)
    table(found["rows"], given.sides.split(","))


if __name__ == "__main__":
    main()
