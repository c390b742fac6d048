"""The training step compared with the same step from lightly's building blocks.

    python benchmarks/step.py --threads 2
    python benchmarks/step.py --threads 2 --curves 200

lightly's blocks are combined as in its documentation. Both sides train the same backbone and heads
on the same views by SGD. BYOL's step is that of ``byol pretrain``, in the precision that it chooses
on this machine (bf16 if the processor has bf16 matrix products). The share of the matrix rate is
the number of floating-point operations per second of the step, divided by that of a matrix product
in the same precision, measured in the same run. ``--curves N`` compares the losses of N steps in
fp32 and in bf16 instead.
"""

import copy
import statistics
from collections.abc import Callable

import torch
from common import alternate, arguments, header, report, save, small_stem
from peers import LightlyStep
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from BYOL._hardware import Machine, matrix_rate, pick_precision
from BYOL.byol import BYOL
from BYOL.config.presets import preset_config
from BYOL.runs.build_model import build_model
from BYOL.training.benchmark import training_step
from BYOL.training.compile import DTYPES, compile_forward

Step = Callable[[Tensor, Tensor], Tensor]


def ours(
    backbone: str,
    precision: str,
    batch: int,
    compiled: bool = False,
    order: torch.memory_format = torch.channels_last,
) -> tuple[BYOL, Step]:
    config = preset_config(
        "small", backbone=backbone, image_size=32, channels=3, stem=small_stem(backbone),
        batch_size=batch,
    )  # fmt: skip
    model = build_model(config).to(memory_format=order).train()
    machine = Machine("cpu", precision)
    if compiled:
        example = torch.zeros(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
        autocast = torch.autocast("cpu", DTYPES[precision], enabled=precision != "fp32")
        compile_forward(model, example, lambda: autocast)
    step = training_step(config, model, machine)

    def in_order(x: Tensor, x1: Tensor) -> Tensor:  # views are channels-last
        return step(*(v.contiguous(memory_format=order) for v in (x, x1)))

    return model, in_order


def curves(backbone: str, batch: int, steps: int) -> dict[str, object]:
    """Return the losses of one run in bf16 and twice in fp32: two layouts round differently."""
    figures = {}
    for name, precision, order in (
        ("fp32", "fp32", torch.channels_last),
        ("fp32, other rounding", "fp32", torch.contiguous_format),
        ("bf16", "bf16", torch.channels_last),
    ):
        torch.manual_seed(0)
        _, step = ours(backbone, precision, batch, order=order)
        images = torch.rand(1024, 3, 32, 32)
        torch.manual_seed(1)
        losses = []
        for _ in range(steps):
            x = images[torch.randint(1024, (batch,))]
            losses.append(step(x + 0.2 * torch.randn_like(x), x + 0.2 * torch.randn_like(x)).item())
        figures[name] = losses
    print(f"\nloss over {steps} steps of {batch}, {backbone}: mean of each quarter")
    for name, losses in figures.items():
        quarters = [losses[i * steps // 4 : (i + 1) * steps // 4] for i in range(4)]
        print(f"  {name:22s}" + "".join(f"  {statistics.mean(q):.4f}" for q in quarters))
    return figures


def main() -> None:
    args = arguments(__doc__, backbone="resnet18", batch=64, rounds=5, curves=0, compiled=0)
    line = header("lightly")
    torch.manual_seed(0)
    if args.curves:
        save(args.json, machine=line, losses=curves(args.backbone, args.batch, args.curves))
        return
    precision = pick_precision("auto", "cpu")
    model, fast = ours(args.backbone, precision, args.batch)
    peer = LightlyStep(
        copy.deepcopy(model.onlineNet.backend).to(memory_format=torch.contiguous_format),
        model.onlineNet.projection[0].in_features,
    )
    x, x1 = torch.randn(2, args.batch, 3, 32, 32)
    with FlopCounterMode(display=False) as counter:
        fast(x, x1)
    products: list[float] = []

    def run(step: Step) -> Callable[[], int]:
        def once() -> int:
            step(x, x1)
            return args.batch

        return once

    def product() -> int:
        products.append(matrix_rate(torch.device("cpu"), DTYPES[precision]))
        return 1

    sides = {
        "BYOL": run(fast),
        "lightly's blocks, fp32": run(peer),
        "(matrix product)": product,
    }
    if precision != "fp32":
        sides["BYOL in fp32"] = run(ours(args.backbone, "fp32", args.batch)[1])
    if args.compiled:
        sides["BYOL compiled"] = run(ours(args.backbone, precision, args.batch, True)[1])
    rates = alternate(sides, args.rounds)
    del rates["(matrix product)"]
    figures = report(
        f"training step, {args.backbone}, 32 px, batch {args.batch}, BYOL in {precision}", rates
    )
    work, rate = counter.get_total_flops(), statistics.median(products)
    reached = work * statistics.median(rates["BYOL"]) / args.batch
    print(f"  {work / 1e9:.1f} GFLOP a step: {reached / 1e9:.0f} GFLOP/s, "
          f"{reached / rate:.0%} of the {precision} matrix rate of {rate / 1e9:.0f}")  # fmt: skip
    save(args.json, machine=line, precision=precision, **figures, flops=reached, matrix_rate=rate)


if __name__ == "__main__":
    main()
