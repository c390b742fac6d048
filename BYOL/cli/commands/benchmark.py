"""The command ``byol benchmark``."""

import dataclasses
from typing import Any

import torch

from BYOL._hardware import Machine, pick_machine
from BYOL.cli.commands.common import Answer
from BYOL.config.data_names import data_name
from BYOL.config.inspection import BenchmarkConfig
from BYOL.config.optimization_settings import OptimizationSettings
from BYOL.config.view_configs import input_sizes
from BYOL.config.view_settings import ViewSettings
from BYOL.runs.build_model import build_model
from BYOL.training.benchmark import benchmark
from BYOL.training.compile import resolve_compile
from BYOL.training.dry_run import check_network, reliable_machine
from BYOL.training.prepare import prepare

ADVICE = {
    "loading": "use more loader processes (--workers) or a faster disk",
    "views": "they are computed on the training device: use cheaper views (--blur) or a GPU",
    "step": "as intended; a smaller --backbone or --image-size, or faster hardware, helps",
}


def benchmark_run(config: BenchmarkConfig) -> Answer:
    """Measure the images per second of every stage of training, and find the bottleneck.

    Nothing is written.

    Raises:
        UserError: as for ``byol pretrain``.
    """
    machine = pick_machine(config.accelerator, 1, config.precision)
    prepared = prepare(dataclasses.replace(config, devices=1, nodes=1))
    resolved = prepared.config
    model = build_model(resolved)
    narrow = check_network(
        model, resolved.backbone, prepared.train.channels, input_sizes(resolved.only(ViewSettings))
    )
    machine = reliable_machine(narrow, resolved.precision, machine)
    length = resolved.only(OptimizationSettings)
    compiled = resolve_compile(resolved.compile, length, len(prepared.train), machine)
    resolved = dataclasses.replace(resolved, compile=compiled)
    measured = benchmark(resolved, prepared, model, machine, config.seconds)
    answer = {
        "data": data_name(config.data),
        "backbone": resolved.backbone,
        "image_size": resolved.view_shape[-1],
        "batch_size": resolved.micro_batch,
        "compiled": resolved.compile == "on",
        **dataclasses.asdict(machine),
        "threads": torch.get_num_threads(),
        **measured,
    }
    return answer, _text(answer, machine)


def _text(results: dict[str, Any], machine: Machine) -> str:
    speeds = results["images_per_second"]
    where = f"{results['threads']} threads" if machine.accelerator == "cpu" else "one device"
    share = speeds["end_to_end"] / speeds["step"]
    reached, possible = results["operations_per_second"], results["matrix_rate"]
    lines = [
        f"{results['data']}: {results['backbone']} at {results['image_size']} px, batches of "
        f"{results['batch_size']}; {machine.accelerator} in {machine.precision}, {where}"
        f"{', compiled' if results['compiled'] else ''}",
        f"{'':12} images/s",
        *(f"{name.replace('_', ' '):12} {speed:>10,.1f}" for name, speed in speeds.items()),
        f"the step reaches {reached / 1e9:,.0f} GFLOP/s, {reached / possible:.0%} of a matrix "
        f"product's {possible / 1e9:,.0f}",
        f"end to end is {share:.0%} of the speed of the step",
        f"memory: {results['memory_per_image'] / 1e6:.2f} MB for each image of a batch; "
        f"{results['peak_memory'] / 1e6:,.0f} MB at most",
        f"{results['holds_back']} is the bottleneck: {ADVICE[results['holds_back']]}",
    ]
    return "\n".join(lines)
