"""Forecast of the cost of a run on 1.28 million, 100 million and 10 billion images on N GPUs.

    python benchmarks/scale.py
    python benchmarks/scale.py --gpu-rate 600 --bandwidth 6e9 --mtbf-hours 2000
    python benchmarks/scale.py --measure 1

Bytes, messages and operations are counted from the module. Measured and assumed values are printed
with their source, and each is a flag. ``--measure 1`` repeats the measurements that are possible on
this machine: the size of a checkpoint, its seconds to save and to read, and the order of an epoch.
docs/scale.md contains the tables.
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

# flag: value, unit, source
MEASURED: dict[str, tuple[float, str, str]] = {
    "decode_rate": (372, "images/s per core", "benchmarks/photos.py: decode and two crops, AVX2"),
    "save_rate": (164e6, "B/s", "--measure 1: write, checksum, flush; a busy local disk"),
    "load_rate": (345e6, "B/s", "--measure 1: read and checksum"),
}
ASSUMED: dict[str, tuple[float, str, str]] = {
    "gpu_rate": (1000, "images/s per GPU", "assumed; several GPUs were not available (one: "
                 "docs/performance.md; 87 per TPUv3 core in the paper, 185 per RTX 4090 by "
                 "lightly's figures)"),
    "batch": (4096, "images", "the paper's global batch"),
    "image_bytes": (107_700, "B", "ImageNet's training archive: 138 GB / 1,281,167"),
    "shard_bytes": (1e9, "B", "assumed: a common size of a tar shard"),
    "bandwidth": (25e9, "B/s per GPU", "assumed: 200 Gbit/s per GPU"),
    "latency": (10e-6, "s per hop", "assumed; a collective has log2(N) hops"),
    "mtbf_hours": (6340, "h per node", "arXiv 2407.21783: 419 interruptions of 2,048 nodes of 8 in "
                   "54 days"),
    "restart": (300, "s", "assumed: from a failure until training continues"),
    "interval": (600, "s", "--checkpoint-minutes 10, the default"),
}  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """Cost of a network in an optimizer step and in a checkpoint."""

    operations: float  # floating-point operations per image
    activations: float  # bytes per image that the backward pass needs, in bf16
    weights: int  # bytes of the online network
    state: int  # bytes on a GPU: both networks, gradients, their buckets, momentum
    checkpoint: int  # bytes
    parts: list[Collective]


def paper_network(backbone: str) -> BYOL:
    """Return the networks of the paper as meta tensors."""
    with torch.device("meta"):
        config = preset_config(
            "paper-300", backbone=backbone, stem="imagenet", channels=3, image_size=224
        )
        return build_model(config)


def cost(backbone: str) -> Cost:
    """Count the cost of the networks of the paper on meta tensors."""
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
        activations=sum(held.values()) / 2 / 2,  # two images; two bytes instead of four
        weights=weights,
        state=everything + 3 * weights,
        checkpoint=everything + weights,
        parts=collectives(model),
    )


def _bytes(tensors: Any) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def step_seconds(network: Cost, gpus: int, args: argparse.Namespace) -> dict[str, float]:
    """Return the seconds of an optimizer step: computation, gradients, batch statistics.

    Gradients are sent during the backward pass, which is half of a step, because the target network
    has none. Only the remaining time is added. All batch statistics are waited for.
    """
    compute = args.batch / gpus / args.gpu_rate
    hops = math.log2(gpus) * args.latency if gpus > 1 else 0.0
    gradients, statistics = network.parts[:1], network.parts[1:]
    travel = bytes_sent(gradients, gpus) / args.bandwidth + gradients[0].count * hops
    waits = bytes_sent(statistics, gpus) / args.bandwidth + hops * sum(p.count for p in statistics)
    return {
        "compute": compute,
        "gradients": max(travel - compute / 2, 0.0),
        "statistics": waits,
    }


def run_cost(
    network: Cost, images: int, epochs: int, gpus: int, args: argparse.Namespace
) -> dict[str, float]:
    """Return the figures of one run; times are in seconds."""
    parts = step_seconds(network, gpus, args)
    step = sum(parts.values())
    rate = args.batch / step
    work = epochs * images / rate
    mtbf = args.mtbf_hours * 3600 / math.ceil(gpus / NODE)
    saving = network.checkpoint / args.save_rate
    restart = args.restart + network.checkpoint / args.load_rate
    rng = np.random.default_rng(0)
    setting = (mtbf, args.interval, saving, restart)
    runs = [simulate(work, *setting, rng) for _ in range(args.trials)]
    mean = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
    best = best_interval(mtbf, saving)
    return {
        "rate": rate,
        "work": work,
        "read_total": float(epochs) * images * args.image_bytes,
        "read_rate": rate * args.image_bytes,
        "decode_cores": rate / gpus / args.decode_rate,
        "shards": math.ceil(images * args.image_bytes / args.shard_bytes),
        "order": 8.0 * images,  # bytes per process: the order of an epoch
        "step": step,
        "waiting": 1 - parts["compute"] / step,
        "memory": network.state + network.activations * args.batch / gpus,
        **mean,
        "overhead": mean["wall"] / work - 1,
        "expected": expected_wall(work, *setting) / work - 1,
        "best": best,
        "best_overhead": expected_wall(work, mtbf, best, saving, restart) / work - 1,
    }


def constants(args: argparse.Namespace) -> str:
    """Return the table of measured and assumed values."""
    return constants_table(args, {"measured": MEASURED, "not measured here": ASSUMED})


def constants_table(
    args: argparse.Namespace, tables: dict[str, dict[str, tuple[float, str, str]]]
) -> str:
    """Return the values of ``args`` with unit and source, by the kind of their source."""
    rows = ["| flag | value | source |", "|---|---|---|"]
    for kind, table in tables.items():
        for name, (_, unit, source) in table.items():
            flag = f"`--{name.replace('_', '-')}`"
            rows.append(f"| {flag} | {getattr(args, name):,g} {unit} | {kind}: {source} |")
    return "\n".join(rows)


def network_table(network: Cost, args: argparse.Namespace) -> str:
    """Return the table of a step and a checkpoint."""
    rows = [
        f"| {args.backbone}, 224 px, the paper's heads | |",
        "|---|---|",
        f"| operations per image | {network.operations / 1e9:.1f} GFLOP |",
        f"| weights of the online network | {network.weights / 1e6:.0f} MB |",
        f"| memory per GPU: networks, gradients, momentum | {unit(network.state)} |",
        "| additional memory per image of its batch, in bf16 | "
        f"{network.activations / 1e6:.0f} MB |",
        f"| checkpoint | {network.checkpoint / 1e6:.0f} MB, "
        f"{network.checkpoint / args.save_rate:.1f} s to save, "
        f"{network.checkpoint / args.load_rate:.1f} s to read |",
    ]
    rows += [
        f"| one step: {part.what} | {part.count} × {part.kind}, {part.size / 1e6:.2f} MB |"
        for part in network.parts
    ]
    return "\n".join(rows)


def runs_table(network: Cost, args: argparse.Namespace) -> tuple[str, list[dict[str, Any]]]:
    """Return the two tables of runs and their values."""
    size = "| run | GPUs | images/s | time | read | read/s | cores per GPU | shards | order |"
    rows = [size, "|" + "---|" * 9]
    faults = (
        "| run | GPUs | step, ms | waiting | memory | failures | lost | cost | by formula | best |"
    )
    more = [faults, "|" + "---|" * 10]
    record = []
    for name, images, epochs in SETS:
        for gpus in map(int, args.gpus.split(",")):
            c = run_cost(network, images, epochs, gpus, args)
            record.append({"run": name, "epochs": epochs, "gpus": gpus, **c})
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
    return "\n".join([*rows, "", *more]), record


def hours(seconds: float) -> str:
    """Format ``seconds`` in days, hours, minutes or seconds."""
    for size, name in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"


def unit(size: float) -> str:
    """Format ``size`` bytes in PB, TB, GB, MB or B."""
    for power, name in ((15, "PB"), (12, "TB"), (9, "GB"), (6, "MB")):
        if size >= 10**power:
            return f"{size / 10**power:.3g} {name}"
    return f"{size:.0f} B"


def measure(backbone: str) -> dict[str, float]:
    """Measure saving and reading a checkpoint of the paper's network, and a large order."""
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
          f"million images: {order:.2f} s")  # fmt: skip
    return {"bytes": size, "save": saving, "load": loading, "order": order}


def settings() -> dict[str, Any]:
    """Return the flags with their default values."""
    numbers = {name: float(value) for name, (value, _, _) in (MEASURED | ASSUMED).items()}
    return {"backbone": "resnet50", "gpus": "8,64,512", "trials": 2000, "measure": 0, **numbers}


def main() -> None:
    args = arguments(__doc__, **settings())
    record: dict[str, Any] = {"machine": header()}
    if args.measure:
        save(args.json, **record, measured=measure(args.backbone))
        return
    network = cost(args.backbone)
    runs, numbers = runs_table(network, args)
    print("", constants(args), network_table(network, args), runs, sep="\n\n")
    save(args.json, **record, runs=numbers)


if __name__ == "__main__":
    main()
