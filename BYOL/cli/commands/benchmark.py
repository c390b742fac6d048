"""``byol benchmark``."""

import dataclasses
from typing import Any

import torch

from BYOL._hardware import Machine, pick_machine
from BYOL.cli.commands.common import Answer
from BYOL.config.inspection import BenchmarkConfig
from BYOL.runs.build_model import build_model
from BYOL.training.benchmark import benchmark
from BYOL.training.compile import resolve_compile
from BYOL.training.dry_run import check_network, reliable_machine
from BYOL.training.prepare import prepare

ADVICE = {
    "loading": "give more loader processes (--workers), or a faster disk",
    "views": "they are made where training happens: fewer or cheaper ones (--blur), or a GPU",
    "step": "as it should be; a smaller --backbone, a smaller --image-size or faster hardware help",
}


def benchmark_run(config: BenchmarkConfig) -> Answer:
    """``byol benchmark``: images per second of every part of training, here, and the slowest.

    Nothing is written.

    Raises:
        UserError: as ``byol pretrain`` would.
    """
    machine = pick_machine(config.accelerator, 1, config.precision)
    prepared = prepare(dataclasses.replace(config, devices=1, nodes=1))
    settled = prepared.config
    model = build_model(settled)
    narrow = check_network(model, settled)
    machine = reliable_machine(narrow, settled, machine)
    settled = resolve_compile(settled, len(prepared.train), machine)
    found = benchmark(settled, prepared, model, machine, config.seconds)
    answer = {
        "data": config.data or "digits",
        "backbone": settled.backbone,
        "image_size": settled.view_shape[-1],
        "batch_size": settled.micro_batch,
        "compiled": settled.compile == "on",
        **dataclasses.asdict(machine),
        "threads": torch.get_num_threads(),
        **found,
    }
    return answer, _text(answer, machine)


def _text(found: dict[str, Any], machine: Machine) -> str:
    rates = found["images_per_second"]
    where = f"{found['threads']} threads" if machine.accelerator == "cpu" else "one device"
    share = rates["end_to_end"] / rates["step"]
    reached, possible = found["operations_per_second"], found["matrix_rate"]
    lines = [
        f"{found['data']}: {found['backbone']} at {found['image_size']} px, batches of "
        f"{found['batch_size']}; {machine.accelerator} in {machine.precision}, {where}"
        f"{', compiled' if found['compiled'] else ''}",
        f"{'':12} images/s",
        *(f"{name.replace('_', ' '):12} {rate:>10,.1f}" for name, rate in rates.items()),
        f"the step does {reached / 1e9:,.0f} GFLOP/s, {reached / possible:.0%} of a matrix "
        f"product's {possible / 1e9:,.0f}",
        f"end to end is {share:.0%} of the step's rate",
        f"memory: {found['memory_per_image'] / 1e6:.2f} MB for each picture of a batch; "
        f"{found['peak_memory'] / 1e6:,.0f} MB at most",
        f"{found['holds_back']} holds the others back: {ADVICE[found['holds_back']]}",
    ]
    return "\n".join(lines)
