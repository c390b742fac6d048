"""Weight gradients of convolutions in bf16: oneDNN compared with matrix products on shifted views.

    python benchmarks/weight_gradients.py --threads 1
    python benchmarks/weight_gradients.py --threads 2

For every position of the kernel, the gradient of a convolution's weights is one matrix product of
the output's gradient with the input, shifted by that position. The shapes are the 3×3 convolutions
of a ResNet-18 with the small stem at 32 px, both sides in turns in one process. The last lines add
them up as in a training step of BYOL: two views forward in both networks and backward in one. Only
these convolutions are counted, so the gain of a whole step is smaller.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from common import arguments, header, save
from torch import Tensor


@dataclass(frozen=True)
class Shape:
    """A 3×3 convolution of the network: channels, side of its input, stride, number of such."""

    channels: int
    filters: int
    side: int
    stride: int
    count: int


SHAPES = [
    Shape(64, 64, 32, 1, 4),
    Shape(64, 128, 32, 2, 1),
    Shape(128, 128, 16, 1, 3),
    Shape(128, 256, 16, 2, 1),
    Shape(256, 256, 8, 1, 3),
    Shape(256, 512, 8, 2, 1),
    Shape(512, 512, 4, 1, 3),
]


def shifted(x: Tensor, grad: Tensor, stride: int) -> Tensor:
    """Return the weight gradient (O, C, 3, 3) of a 3×3 convolution with padding 1.

    Args:
        x: (B, C, H, W) input, in channels-last memory format.
        grad: (B, O, H', W') gradient of the output, likewise.
        stride: of the convolution.
    """
    height, width = grad.shape[2:]
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    rows = grad.permute(0, 2, 3, 1).reshape(-1, grad.shape[1]).T
    products = []
    for i in range(3):
        for j in range(3):
            view = padded[:, i : i + stride * height : stride, j : j + stride * width : stride]
            products.append(rows @ view.reshape(-1, x.shape[1]))
    return torch.stack(products, dim=2).unflatten(2, (3, 3))


def backward(x: Tensor, w: Tensor, grad: Tensor, stride: int, wanted: list[bool]) -> Tensor:
    """Return oneDNN's gradient of the input or of the weights, whichever is ``wanted``."""
    results = torch.ops.aten.convolution_backward(
        grad, x, w, None, [stride] * 2, [1, 1], [1, 1], False, [0, 0], 1, wanted
    )
    return results[wanted.index(True)]


def seconds(work: Callable[[], object], budget: float) -> float:
    """Return the seconds of one call, the mean over about ``budget`` seconds."""
    start = time.perf_counter()
    work()
    calls = max(int(budget / (time.perf_counter() - start)), 1)
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - start) / calls


def measure(shape: Shape, batch: int, rounds: int, budget: float) -> dict[str, float]:
    """Return the median seconds of forward pass, input gradient and both weight gradients."""
    layout = torch.channels_last
    x, w = (
        torch.randn(size, dtype=torch.bfloat16).contiguous(memory_format=layout)
        for size in (
            (batch, shape.channels, shape.side, shape.side),
            (shape.filters, shape.channels, 3, 3),
        )
    )
    out = F.conv2d(x, w, stride=shape.stride, padding=1)
    grad = torch.randn_like(out)
    stride = shape.stride
    work: dict[str, Callable[[], Tensor]] = {
        "forward": lambda: F.conv2d(x, w, stride=stride, padding=1),
        "input": lambda: backward(x, w, grad, stride, [True, False, False]),
        "onednn": lambda: backward(x, w, grad, stride, [False, True, False]),
        "shifted": lambda: shifted(x, grad, stride),
    }
    expected = backward(x.float(), w.float(), grad.float(), stride, [False, True, False])
    for side in ("onednn", "shifted"):
        error = (work[side]().float() - expected).norm() / expected.norm()
        assert error < 2**-7, f"{side} differs from fp32 by {error:.1e}"  # bf16: 8 bits
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, function in work.items():
            times[name].append(seconds(function, budget))
    return {name: statistics.median(values) for name, values in times.items()}


def cpu_flags() -> str:
    """Return the CPU's flags that concern bf16 and matrix products."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    return " ".join(f for f in flags if f.startswith("amx") or "bf16" in f or "fp16" in f) or "none"


@torch.no_grad()
def main() -> None:
    args = arguments(__doc__, batch=64, rounds=5, seconds=0.1)
    line = header()
    print(f"CPU flags: {cpu_flags()}; batch {args.batch}, bf16\n")
    print("channels   side  stride   oneDNN GFLOP/s   shifted GFLOP/s   ratio")
    rows, now, best = [], 0.0, 0.0
    for shape in SHAPES:
        took = measure(shape, args.batch, args.rounds, args.seconds)
        pixels = args.batch * (shape.side // shape.stride) ** 2
        work = 2 * pixels * 9 * shape.channels * shape.filters / 1e9
        ratio = took["onednn"] / took["shifted"]
        print(
            f"{shape.channels:3d} → {shape.filters:3d}  {shape.side:4d}  {shape.stride:6d}   "
            f"{work / took['onednn']:14.0f}   {work / took['shifted']:15.0f}   {ratio:5.2f}",
            flush=True,
        )
        rest = 4 * took["forward"] + 2 * took["input"]
        now += shape.count * (rest + 2 * took["onednn"])
        best += shape.count * (rest + 2 * min(took["onednn"], took["shifted"]))
        rows.append({**vars(shape), **took})
    print(
        f"\n3×3 convolutions of a step: {now * 1e3:.0f} ms with oneDNN, {best * 1e3:.0f} ms with "
        f"the faster way for each shape: {now / best:.2f} times as fast"
    )
    save(args.json, machine=line, flags=cpu_flags(), rows=rows, onednn=now, best=best)


if __name__ == "__main__":
    main()
