"""What a run of 1.28 million, of 100 million and of 10 billion pictures costs on N GPUs.

    python benchmarks/scale.py
    python benchmarks/scale.py --gpu-rate 600 --bandwidth 6e9 --mtbf-hours 2000
    python benchmarks/scale.py --measure 1

Bytes, messages and operations are counted from the module itself; what was measured and what is
assumed is printed with its source, and every number of it is a flag. ``--measure 1`` measures again
what can be measured on this machine: a checkpoint's bytes and its seconds to save and to read, and
the order of an epoch. docs/scale.md shows the tables.
"""

import argparse
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import arguments, header, save
from failures import best_interval, expected_wall, simulate
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from traffic import Collective, bytes_sent, collectives

from BYOL.byol import BYOL
from BYOL.config.presets import preset_config
from BYOL.model.loss import criterion
from BYOL.runs.build_model import build_model

NODE = 8  # GPUs
SETS = (("ImageNet", 1_281_167, 300), ("100 million", 10**8, 10), ("10 billion", 10**10, 1))

# flag: value, unit, where it is from
MEASURED: dict[str, tuple[float, str, str]] = {
    "decode_rate": (372, "pictures/s a core", "benchmarks/photos.py: decode and two crops, AVX2"),
    "save_rate": (164e6, "B/s", "--measure 1: written, sealed, flushed, a busy local disk"),
    "load_rate": (345e6, "B/s", "--measure 1: checksum and read"),
}
ASSUMED: dict[str, tuple[float, str, str]] = {
    "gpu_rate": (1000, "pictures/s a GPU", "assumed; no GPU was at hand (87 a TPUv3 core in the "
                 "paper, 185 a RTX 4090 by lightly's figures)"),
    "batch": (4096, "pictures", "the paper's global batch"),
    "picture_bytes": (107_700, "B", "ImageNet's training archive: 138 GB / 1,281,167"),
    "shard_bytes": (1e9, "B", "assumed: a common size of a tar shard"),
    "bandwidth": (25e9, "B/s a GPU", "assumed: 200 Gbit/s a GPU"),
    "latency": (10e-6, "s a hop", "assumed; a collective takes log2(N) of them"),
    "mtbf_hours": (6340, "h a node", "arXiv 2407.21783: 419 interruptions of 2,048 nodes of 8 in "
                   "54 days"),
    "restart": (300, "s", "assumed: until the job is started again and trains"),
    "interval": (600, "s", "--checkpoint-minutes 10, the default"),
}  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """Of one optimizer step's network, whatever the number of pictures."""

    operations: float  # floating-point, a picture
    activations: float  # bytes a picture that the backward pass needs, in bf16
    weights: int  # bytes of the online network
    state: int  # bytes on a GPU: both networks, gradients, their buckets, momentum
    checkpoint: int  # bytes
    parts: list[Collective]


def paper_network(backbone: str) -> BYOL:
    """The paper's networks, without content."""
    with torch.device("meta"):
        config = preset_config(
            "paper-300", backbone=backbone, stem="imagenet", channels=3, image_size=224
        )
        return build_model(config)


def cost(backbone: str) -> Cost:
    """Count what a network of the paper's takes, on tensors without content."""
    model = paper_network(backbone).train()
    held: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, nn.Parameter):
            storage = tensor.untyped_storage()
            held[storage._cdata] = storage.nbytes()
        return tensor

    x = torch.empty(2, 3, 224, 224, device="meta")
    saved = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with FlopCounterMode(display=False) as counter:
        with saved:
            online, online1, target, target1 = model(x, x)
            loss = criterion(online, target1, online1, target)
        loss.backward()
    weights = _bytes(p for p in model.parameters() if p.requires_grad)
    everything = _bytes(model.state_dict().values())
    return Cost(
        operations=counter.get_total_flops() / 2,
        activations=sum(held.values()) / 2 / 2,  # two pictures; two bytes instead of four
        weights=weights,
        state=everything + 3 * weights,
        checkpoint=everything + weights,
        parts=collectives(model),
    )


def _bytes(tensors: Any) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def step_seconds(one: Cost, gpus: int, given: argparse.Namespace) -> dict[str, float]:
    """Seconds of an optimizer step: computing, what gradients add, what batch statistics add.

    Gradients travel while the backward pass (half of a step: the target has none) goes on, and only
    what is left of them then is waited for. Batch statistics are waited for, every one.
    """
    compute = given.batch / gpus / given.gpu_rate
    hops = math.log2(gpus) * given.latency if gpus > 1 else 0.0
    gradients, statistics = one.parts[:1], one.parts[1:]
    travel = bytes_sent(gradients, gpus) / given.bandwidth + gradients[0].count * hops
    waits = bytes_sent(statistics, gpus) / given.bandwidth + hops * sum(p.count for p in statistics)
    return {
        "compute": compute,
        "gradients": max(travel - compute / 2, 0.0),
        "statistics": waits,
    }


def run_cost(
    one: Cost, pictures: int, epochs: int, gpus: int, given: argparse.Namespace
) -> dict[str, float]:
    """All about one run; times in seconds."""
    parts = step_seconds(one, gpus, given)
    step = sum(parts.values())
    rate = given.batch / step
    work = epochs * pictures / rate
    mtbf = given.mtbf_hours * 3600 / math.ceil(gpus / NODE)
    saving = one.checkpoint / given.save_rate
    restart = given.restart + one.checkpoint / given.load_rate
    rng = np.random.default_rng(0)
    setting = (mtbf, given.interval, saving, restart)
    runs = [simulate(work, *setting, rng) for _ in range(given.trials)]
    mean = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
    best = best_interval(mtbf, saving)
    return {
        "rate": rate,
        "work": work,
        "read_total": float(epochs) * pictures * given.picture_bytes,
        "read_rate": rate * given.picture_bytes,
        "decode_cores": rate / gpus / given.decode_rate,
        "shards": math.ceil(pictures * given.picture_bytes / given.shard_bytes),
        "order": 8.0 * pictures,  # bytes, of every process: the order of an epoch
        "step": step,
        "waiting": 1 - parts["compute"] / step,
        "memory": one.state + one.activations * given.batch / gpus,
        **mean,
        "overhead": mean["wall"] / work - 1,
        "expected": expected_wall(work, *setting) / work - 1,
        "best": best,
        "best_overhead": expected_wall(work, mtbf, best, saving, restart) / work - 1,
    }


def constants(given: argparse.Namespace) -> str:
    """The table of what the rest is made of."""
    rows = ["| flag | value | from |", "|---|---|---|"]
    for kind, table in (("measured", MEASURED), ("not measured here", ASSUMED)):
        for name, (_, unit, source) in table.items():
            flag = f"`--{name.replace('_', '-')}`"
            rows.append(f"| {flag} | {getattr(given, name):,g} {unit} | {kind}: {source} |")
    return "\n".join(rows)


def network_table(one: Cost, given: argparse.Namespace) -> str:
    """The table of what a step and a checkpoint are."""
    rows = [
        f"| {given.backbone}, 224 px, the paper's heads | |",
        "|---|---|",
        f"| operations a picture | {one.operations / 1e9:.1f} GFLOP |",
        f"| weights of the online network | {one.weights / 1e6:.0f} MB |",
        f"| on a GPU, whatever the batch: networks, gradients, momentum | {unit(one.state)} |",
        f"| and for every picture of its batch, in bf16 | {one.activations / 1e6:.0f} MB |",
        f"| checkpoint | {one.checkpoint / 1e6:.0f} MB, {one.checkpoint / given.save_rate:.1f} s "
        f"to save, {one.checkpoint / given.load_rate:.1f} s to read |",
    ]
    rows += [
        f"| a step: {part.what} | {part.count} × {part.kind}, {part.size / 1e6:.2f} MB |"
        for part in one.parts
    ]
    return "\n".join(rows)


def runs_table(one: Cost, given: argparse.Namespace) -> tuple[str, list[dict[str, Any]]]:
    """The two tables of runs, and their numbers."""
    size = "| run | GPUs | pictures/s | time | read | read/s | cores a GPU | shards | order |"
    rows = [size, "|" + "---|" * 9]
    faults = (
        "| run | GPUs | step, ms | waiting | memory | failures | lost | cost | by formula | best |"
    )
    more = [faults, "|" + "---|" * 10]
    found = []
    for name, pictures, epochs in SETS:
        for gpus in map(int, given.gpus.split(",")):
            c = run_cost(one, pictures, epochs, gpus, given)
            found.append({"run": name, "epochs": epochs, "gpus": gpus, **c})
            head = f"| {name} × {epochs} | {gpus}"
            rows.append(
                f"{head} | {c['rate']:,.0f} | {hours(c['work'])} | {unit(c['read_total'])} | "
                f"{unit(c['read_rate'])} | {c['decode_cores']:.1f} | {c['shards']:,} | "
                f"{unit(c['order'])} |"
            )
            more.append(
                f"{head} | {c['step'] * 1e3:.0f} | {c['waiting']:.0%} | {unit(c['memory'])} | "
                f"{c['failures']:.2f} | {hours(c['lost'])} | {c['overhead']:.2%} | "
                f"{c['expected']:.2%} | {hours(c['best'])}, {c['best_overhead']:.2%} |"
            )
    return "\n".join([*rows, "", *more]), found


def hours(seconds: float) -> str:
    """A time in the unit that suits it."""
    for size, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"


def unit(size: float) -> str:
    """Bytes in the unit that suits them."""
    for power, name in ((15, "PB"), (12, "TB"), (9, "GB"), (6, "MB")):
        if size >= 10**power:
            return f"{size / 10**power:.3g} {name}"
    return f"{size:.0f} B"


def measure(backbone: str) -> dict[str, float]:
    """A checkpoint of the paper's size, saved and read, and the order of ten million pictures."""
    from BYOL._random import permutation
    from BYOL.runs.folder import RunFolder
    from BYOL.runs.open import load_checkpoint
    from BYOL.training.checkpoint_io import CheckpointStore

    model = paper_network(backbone).to_empty(device="cpu")
    momentum = {k: {"momentum_buffer": torch.rand_like(p)} for k, p in enumerate(model.parameters())
                if p.requires_grad}  # fmt: skip
    state = {"state_dict": model.state_dict(), "optimizer_states": [{"state": momentum}],
             "global_step": 1, "byol_version": "0", "byol_config": {}}  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = RunFolder(Path(name))
        folder.create()
        store = CheckpointStore(folder, 1, lambda: None)
        begun = time.perf_counter()
        store.save_checkpoint(state, folder.checkpoint)
        saving, begun = time.perf_counter() - begun, time.perf_counter()
        load_checkpoint(folder.checkpoint)
        loading, size = time.perf_counter() - begun, folder.checkpoint.stat().st_size
    begun = time.perf_counter()
    permutation(0, 10**7)
    order = time.perf_counter() - begun
    print(f"a checkpoint of {size / 1e6:.0f} MB: {saving:.2f} s to save ({size / saving / 1e6:.0f} "
          f"MB/s), {loading:.2f} s to read ({size / loading / 1e6:.0f} MB/s); the order of ten "
          f"million pictures: {order:.2f} s")  # fmt: skip
    return {"bytes": size, "save": saving, "load": loading, "order": order}


def settings() -> dict[str, Any]:
    """Flags and their values where none is given."""
    numbers = {name: float(value) for name, (value, _, _) in (MEASURED | ASSUMED).items()}
    return {"backbone": "resnet50", "gpus": "8,64,512", "trials": 2000, "measure": 0, **numbers}


def main() -> None:
    given = arguments(__doc__, **settings())
    found: dict[str, Any] = {"machine": header()}
    if given.measure:
        save(given.json, **found, measured=measure(given.backbone))
        return
    one = cost(given.backbone)
    runs, numbers = runs_table(one, given)
    print("", constants(given), network_table(one, given), runs, sep="\n\n")
    save(given.json, **found, runs=numbers)


if __name__ == "__main__":
    main()
