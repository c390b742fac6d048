"""The least that a training step must move through memory, beside what it must multiply.

    python benchmarks/roofline.py
    python benchmarks/roofline.py --backbone resnet18 --size 32 --stem small --bandwidth 3350e9

Counted on tensors without content, for a network of convolutions and batch-norms in 16 bits whose
element-wise operations are all fused with their neighbours, as good as a compiler can without new
convolution kernels. Forward: a convolution reads its input and writes its output, batch-norm reads
that twice (statistics, values) and writes once, a sum reads its other half. Backward: a convolution
reads its output's gradient twice and its input once and writes the input's gradient; batch-norm
reads gradient and input twice and writes once; a sum passes its gradient on, read and written once.
Heads, weights, optimizer and views are left out. Both views pass the online network forward and
backward and the target forward. ``--rate`` and ``--bandwidth`` are what ``benchmarks/gpu.py`` says
of the card.
"""

from typing import Any

import torch
from common import arguments, save
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from BYOL.model.backbones import build_backbone

BYTES = 2  # of a number


def counted(backbone: nn.Module, example: Tensor) -> dict[str, int]:
    """Numbers that a picture's forward pass reads and writes, by kind, and its operations."""
    found = {"conv_in": 0, "conv_out": 0, "norm": 0, "sum": 0}

    def note(module: nn.Module, given: Any, out: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            found["conv_in"] += given[0].numel()
            found["conv_out"] += out.numel()
        elif isinstance(module, nn.BatchNorm2d):
            found["norm"] += out.numel()
        elif type(module).__name__ in ("BasicBlock", "Bottleneck"):
            found["sum"] += out.numel()

    for module in backbone.modules():
        module.register_forward_hook(note)
    with FlopCounterMode(display=False) as counter:
        backbone(example)
    return {**found, "operations": counter.get_total_flops()}


def main() -> None:
    given = arguments(
        __doc__, backbone="resnet50", size=224, stem="imagenet", rate=707e12, bandwidth=4243e9
    )
    backbone = build_backbone(
        given.backbone, in_channels=3, image_size=given.size, stem=given.stem
    ).to("meta")
    n = counted(backbone, torch.empty(1, 3, given.size, given.size, device="meta"))
    forward = BYTES * (n["conv_in"] + n["conv_out"] + 3 * n["norm"] + n["sum"])
    backward = BYTES * (2 * n["conv_out"] + 2 * n["conv_in"] + 5 * n["norm"] + 2 * n["sum"])
    moved = 2 * (forward + backward) + 2 * forward
    operations = 2 * 3 * n["operations"] + 2 * n["operations"]
    by_memory, by_products = given.bandwidth / moved, given.rate / operations
    both = 1 / (1 / by_memory + 1 / by_products)
    print(f"{given.backbone}, {given.size} px: {operations / 1e9:.1f} GFLOP and "
          f"{moved / 1e6:,.0f} MB an image")  # fmt: skip
    print(f"at most {by_products:,.0f} images/s by products ({given.rate / 1e12:.0f} TFLOP/s), "
          f"{by_memory:,.0f} by memory ({given.bandwidth / 1e9:,.0f} GB/s, "
          f"{by_memory / by_products:.0%} of the matrix rate), "
          f"{both:,.0f} one after the other ({both / by_products:.0%})")  # fmt: skip
    save(given.json, operations=operations, bytes=moved, by_memory=by_memory,
         by_products=by_products, both=both)  # fmt: skip


if __name__ == "__main__":
    main()
