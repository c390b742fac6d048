"""Lower bound of the memory traffic of a training step, compared with its arithmetic.

    python benchmarks/roofline.py
    python benchmarks/roofline.py --backbone resnet18 --size 32 --stem small --bandwidth 3350e9

The count uses meta tensors and assumes a network of convolutions and batch-norms in 16 bits, whose
element-wise operations are all fused with their neighbours: the best that a compiler can do without
new convolution kernels. Forward, a convolution reads its input and writes its output; batch-norm
reads that twice (statistics, values) and writes once; a sum reads its other operand. Backward, a
convolution reads the gradient of its output twice and its input once, and writes the gradient of
its input; batch-norm reads gradient and input twice and writes once; a sum reads and writes its
gradient once. Heads, weights, optimizer and views are not counted. Both views pass through the
online network forward and backward, and through the target network forward. ``--rate`` and
``--bandwidth`` are the values that ``benchmarks/gpu.py`` measures on the GPU.
"""

from typing import Any

import torch
from common import arguments, save
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from BYOL.model.backbones import build_backbone

BYTES = 2  # of one value


def counted(backbone: nn.Module, example: Tensor) -> dict[str, int]:
    """Count the values that the forward pass of one image reads and writes, and its operations."""
    counts = {"conv_in": 0, "conv_out": 0, "norm": 0, "sum": 0}

    def note(module: nn.Module, inputs: Any, out: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            counts["conv_in"] += inputs[0].numel()
            counts["conv_out"] += out.numel()
        elif isinstance(module, nn.BatchNorm2d):
            counts["norm"] += out.numel()
        elif type(module).__name__ in ("BasicBlock", "Bottleneck"):
            counts["sum"] += out.numel()

    for module in backbone.modules():
        module.register_forward_hook(note)
    with FlopCounterMode(display=False) as counter:
        backbone(example)
    return {**counts, "operations": counter.get_total_flops()}


def main() -> None:
    args = arguments(
        __doc__, backbone="resnet50", size=224, stem="imagenet", rate=707e12, bandwidth=4243e9
    )
    backbone = build_backbone(
        args.backbone, in_channels=3, image_size=args.size, stem=args.stem
    ).to("meta")
    n = counted(backbone, torch.empty(1, 3, args.size, args.size, device="meta"))
    forward = BYTES * (n["conv_in"] + n["conv_out"] + 3 * n["norm"] + n["sum"])
    backward = BYTES * (2 * n["conv_out"] + 2 * n["conv_in"] + 5 * n["norm"] + 2 * n["sum"])
    moved = 2 * (forward + backward) + 2 * forward
    operations = 2 * 3 * n["operations"] + 2 * n["operations"]
    by_memory, by_products = args.bandwidth / moved, args.rate / operations
    both = 1 / (1 / by_memory + 1 / by_products)
    print(f"{args.backbone}, {args.size} px: {operations / 1e9:.1f} GFLOP and "
          f"{moved / 1e6:,.0f} MB an image")  # fmt: skip
    print(f"at most {by_products:,.0f} images/s by products ({args.rate / 1e12:.0f} TFLOP/s), "
          f"{by_memory:,.0f} by memory ({args.bandwidth / 1e9:,.0f} GB/s, "
          f"{by_memory / by_products:.0%} of the matrix rate), "
          f"{both:,.0f} one after the other ({both / by_products:.0%})")  # fmt: skip
    save(args.json, operations=operations, bytes=moved, by_memory=by_memory,
         by_products=by_products, both=both)  # fmt: skip


if __name__ == "__main__":
    main()
