"""Cost of all steps for ten thousand to ten billion images: the table of docs/scale.md.

    python benchmarks/pipeline.py
    python benchmarks/pipeline.py --gpu-rate 2149 --threads-per-host 64

Training is calculated by ``scale.py``. The other steps are calculated from the constants below,
which are measured on generated vectors (``neighbours.py``, ``large_evaluation.py``) or assumed.
"""

import argparse
from dataclasses import dataclass
from typing import Any

from common import arguments, header, save
from scale import Cost, constants_table, cost, hours, run_cost, settings, unit

SIZE = 2048  # features of a ResNet-50
FORWARD = 8.2e9  # operations of its forward pass at 224 px, two for each multiplication
CODE_BYTES = 32 + 8  # of a vector of more than 256 numbers in the index of duplicates, and its row
THUMBNAIL = 257  # numbers, in addition to the features
LIMIT_HOURS = 30 * 24  # of one host; beyond it a step is not done in one piece

MEASURED: dict[str, tuple[float, str, str]] = {
    "dense_rate": (3.6e10, "operations/s per core", "neighbours.py: exact pairs of 200,000 × 128"),
    "scan_rate": (
        8.4e8,
        "codes/s per core",
        "neighbours.py: 10 million × 128, with all costs of a query",
    ),
    "probed": (
        0.052,
        "of the lists",
        "neighbours.py: 10 million × 128; .077 of a million, .13 of 100,000",
    ),
}
ASSUMED: dict[str, tuple[float, str, str]] = {
    "threads_per_host": (128, "cores", "assumed, for a host with 8 GPUs"),
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """How many images are trained on, and with what.

    Args:
        images: number of images.
        source: what DATA is.
        epochs: epochs of the training.
        gpus: GPUs of the training and of the features.
    """

    images: int
    source: str
    epochs: int
    gpus: int


PLANS = (
    Plan(10**4, "folder", 300, 1),
    Plan(10**5, "folder", 300, 1),
    Plan(10**6, "folder", 300, 8),
    Plan(10**7, "shards", 100, 64),
    Plan(10**8, "shards", 10, 64),
    Plan(10**9, "shards", 3, 512),
    Plan(10**10, "shards", 1, 512),
)


def embedding(plan: Plan, network: Cost, args: argparse.Namespace) -> float:
    """Return the seconds of ``byol embed --mirror``: of the GPUs, or of decoding if longer."""
    computed = plan.images * 2 * FORWARD / (args.gpu_rate * network.operations) / plan.gpus
    cores = args.threads_per_host / 8 * plan.gpus
    return max(computed, plan.images / (args.decode_rate * cores))


def duplicates(n: int, args: argparse.Namespace) -> tuple[str, float, float]:
    """Return the engine of ``byol duplicates``, the seconds of one core, and bytes of memory."""
    if n <= 10**6:
        return "exact", n**2 / 2 * 2 * SIZE / args.dense_rate, 0.0
    lists = min(2 * n**0.5, 1 << 16)
    filled = (10 * 40 * lists + n * 2) * lists * 2 * SIZE / args.dense_rate
    return "FAISS", filled + n * n * args.probed * 2 / args.scan_rate, float(n * CODE_BYTES)


def row(plan: Plan, network: Cost, args: argparse.Namespace) -> str:
    """Return the row of the table for ``plan``."""
    n, hosts = plan.images, max(plan.gpus // 8, 1)
    training = run_cost(network, n, plan.epochs, plan.gpus, args)["wall"]
    embedded = embedding(plan, network, args)
    engine, seconds, memory = duplicates(n, args)
    wall = seconds / args.threads_per_host
    far = f"{hours(wall)}, in parts" if wall > 3600 * LIMIT_HOURS else hours(wall)
    gpu_hours = (training + embedded) * plan.gpus / 3600
    cells = (
        f"{n:,}", plan.source, unit(n * args.image_bytes), f"{hosts} × {min(plan.gpus, 8)}",
        f"{plan.epochs}", hours(training), hours(embedded), f"{gpu_hours:,.0f}",
        unit(n * SIZE * 4), f"{engine}, {far}", unit(memory) if memory else "64 MB",
        unit(n * (2 * SIZE + THUMBNAIL) * 4), unit(n * (2 * SIZE + 8)),
    )  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def table(network: Cost, args: argparse.Namespace) -> str:
    """Return the table of all plans."""
    names = ("images", "DATA", "stored", "hosts × GPUs", "epochs", "`pretrain`", "`embed`",
             "GPU hours", "features", "`duplicates`", "its memory", "its temporary files",
             "index of `search`")  # fmt: skip
    head = "| " + " | ".join(names) + " |\n|" + "---|" * len(names)
    return "\n".join([head, *(row(plan, network, args) for plan in PLANS)])


def constants(args: argparse.Namespace) -> str:
    """Return the table of the constants that ``scale.py`` does not have."""
    return constants_table(args, {"measured": MEASURED, "not measured": ASSUMED})


def all_settings() -> dict[str, Any]:
    """Return the flags with their default values."""
    own = {name: float(value) for name, (value, _, _) in (MEASURED | ASSUMED).items()}
    return {**settings(), **own}


def main() -> None:
    args = arguments(__doc__, **all_settings())
    record = {"machine": header()}
    network = cost(args.backbone)
    text = table(network, args)
    print("", constants(args), text, sep="\n\n")
    save(args.json, **record, table=text)


if __name__ == "__main__":
    main()
