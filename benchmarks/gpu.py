"""Everything that a GPU can show, in under nine minutes: views, steps, whole runs, and lightly's.

    python benchmarks/gpu.py --cifar cifar/ --json gpu.json
    python benchmarks/gpu.py --tiny 1 --device cpu --cifar cifar/     # a rehearsal without one

In this order, each part by itself, so that a part that fails costs only itself: versions, the rate
of matrix products and of copies; views at 224 px; whether a step ever waits for the device; the
ResNet-18 step at 32 px and the ResNet-50 step at 224, in bf16; CIFAR-10 with a ResNet-18, end to
end; lightly's side of the same.
``--parts views,lightly`` runs only those, ``--parts step --steps "resnet50 compiled"`` one of the
steps; the figures of the others in the JSON file are kept.
"""

import itertools
import json
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import arguments, header, save

from BYOL._hardware import Machine, matrix_rate, peak_memory, restart_peak_memory, timed, wait_for
from BYOL._random import fold
from BYOL.config.presets import preset_config
from BYOL.runs.build_model import build_model
from BYOL.training.benchmark import seconds_each, training_step
from BYOL.training.compile import compile_forward
from BYOL.training.pretrain import pretrain
from BYOL.views.config import paper_views
from BYOL.views.pipeline import Views

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
Given = Any


def ceilings(given: Given, device: torch.device) -> dict[str, float]:
    dtype = torch.float32 if given.tiny else torch.bfloat16
    found = {"matrix_rate": matrix_rate(device, dtype)}
    a = torch.empty((1 << 22) if given.tiny else (1 << 30), dtype=torch.uint8, device=device)
    b = torch.empty_like(a)
    found["bandwidth"] = 2 * len(a) / seconds_each(lambda: b.copy_(a), device, 0.5)
    print(f"matrix product {found['matrix_rate'] / 1e12:.2f} TFLOP/s, copy "
          f"{found['bandwidth'] / 1e9:.0f} GB/s", flush=True)  # fmt: skip
    return found


def views(given: Given, device: torch.device) -> dict[str, float]:
    size, batch = (32, 8) if given.tiny else (224, 256)
    crops = torch.randint(0, 256, (2, batch, 3, size, size), dtype=torch.uint8, device=device)
    ids, found = torch.arange(batch, device=device), {}
    for name, compiled in (("plain", False), ("compiled", True)):
        made = Views(*paper_views(size), MEAN, STD, compiled)
        start = time.perf_counter()
        made.from_crops(*crops, ids, 0)
        wait_for(device)
        first = time.perf_counter() - start
        rate = batch / seconds_each(lambda: made.from_crops(*crops, ids, 0), device, 1.0)  # noqa: B023
        print(f"views, {size} px, {name}: {rate:,.0f} images/s (first batch {first:.1f} s)",
              flush=True)  # fmt: skip
        found[name] = rate
    if device.type == "cuda":
        with torch.profiler.profile() as profile:
            made.from_crops(*crops, ids, 0)
            wait_for(device)
        kernels = [e for e in profile.events() if e.device_type == torch.profiler.DeviceType.CUDA]
        print(f"views, compiled: {len(kernels)} kernels for both views", flush=True)
        found["kernels"] = len(kernels)
    return found


def step(given: Given, device: torch.device) -> dict[str, Any]:
    """A ResNet-18 at 32 px and a ResNet-50 at 224: plain, compiled, and as CUDA graphs."""
    found: dict[str, Any] = {}
    shapes = [("resnet18", 32, 256), ("resnet50", 224, 256)]
    for backbone, size, batch in [("resnet18", 32, 4)] if given.tiny else shapes:
        x, x1 = (
            torch.randn(batch, 3, size, size, device=device).contiguous(
                memory_format=torch.channels_last
            )
            for _ in range(2)
        )
        for name in ("plain",) if given.tiny else ("plain", "compiled", "graphs"):
            if given.steps not in f"{backbone} {name}":
                continue
            figures = one_step(backbone, name, x, x1, "fp32" if given.tiny else "bf16")
            print(f"step, {backbone}, {size} px, batch {batch}, {name}: "
                  f"{figures['rate']:,.0f} images/s, {figures['share']:.0%} of the matrix rate, "
                  f"{figures['memory'] / 1e6:.1f} MB an image, the host takes "
                  f"{figures['host']:.1f} ms", flush=True)  # fmt: skip
            found[f"{backbone} {name}"] = figures
    return found


def one_step(
    backbone: str, name: str, x: torch.Tensor, x1: torch.Tensor, precision: str
) -> dict[str, float]:
    device, batch, size = x.device, len(x), x.shape[-1]
    machine = Machine("gpu" if device.type == "cuda" else "cpu", precision)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    stem = "small" if size < 64 else "imagenet"
    config = preset_config(
        "paper-300", backbone=backbone, image_size=size, channels=3, stem=stem, batch_size=batch
    )
    model = build_model(config).to(device, memory_format=torch.channels_last).train()
    once = training_step(config, model, machine)
    work = operations(lambda: once(x, x1))
    if name != "plain":
        autocast = partial(torch.autocast, device.type, torch.bfloat16)
        compile_forward(model, x, autocast, graphs=name == "graphs")
    restart_peak_memory(device)
    rate = batch / seconds_each(lambda: once(x, x1), device, 2.0)
    start = time.perf_counter()
    for _ in range(16):
        once(x, x1)
    host = (time.perf_counter() - start) / 16  # the device may not have ended
    share = work * rate / batch / matrix_rate(device, dtype)
    memory = peak_memory(device) / batch
    return {"rate": rate, "share": share, "memory": memory, "host": 1e3 * host}


def operations(work: Callable[[], object]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def waits(given: Given, device: torch.device) -> dict[str, int]:
    """Whether views or step make the host wait for the device: PyTorch raises where one does."""
    if device.type != "cuda":
        print("waits: only on a GPU")
        return {}
    config = preset_config("small", image_size=32, channels=3, stem="small", batch_size=64)
    model = build_model(config).to(device).train()
    once = training_step(config, model, Machine("gpu", "bf16"))
    made = Views(*paper_views(32), MEAN, STD)
    images = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, device=device)
    ids = torch.arange(64, device=device)
    once(*made(images, ids, fold(0, 0)))
    found = {}
    for name, work in (
        ("views", lambda: made(images, ids, fold(0, 1))),
        ("step", lambda: once(*made(images, ids, fold(0, 1)))),
    ):
        torch.cuda.set_sync_debug_mode("error")
        try:
            work()
            found[name] = 0
        except RuntimeError as error:
            found[name] = 1
            print(f"waits: {name}: {str(error).splitlines()[0]}")
        finally:
            torch.cuda.set_sync_debug_mode("default")
    print(f"waits: {found}", flush=True)
    return found


def cifar(given: Given, device: torch.device) -> dict[str, float]:
    backbone, epochs = ("plain6", 1) if given.tiny else ("resnet18", 3)
    with tempfile.TemporaryDirectory() as folder:
        config = preset_config(
            "small", data=given.cifar, backbone=backbone, epochs=epochs, batch_size=256,
            evaluate=False, knn_every=0, compile="off" if given.tiny else "on",
            out=f"{folder}/run", accelerator="cpu" if device.type == "cpu" else "gpu",
        )  # fmt: skip
        results = pretrain(config)
    print(f"byol pretrain, {backbone}, 32 px: {results['images_per_second']:,.0f} images/s over "
          f"{results['steps']} steps", flush=True)  # fmt: skip
    return {"rate": results["images_per_second"]}


def lightly(given: Given, device: torch.device) -> dict[str, float]:
    """lightly's parts, fp32 as in its documentation and in bf16, with its own loader."""
    from peers import LightlyStep, lightly_batches

    from BYOL.model.backbones import build_backbone

    batches = lightly_batches(
        Path(given.cifar) / "train", 256, 2 if given.tiny else 12, device.type == "cuda"
    )
    name, stem = ("plain6", "imagenet") if given.tiny else ("resnet18", "small")
    found = {}

    def whole(once: Callable[[Any, Any], Any], steps: int) -> None:
        for x, x1 in itertools.islice(batches, steps):
            once(x.to(device, non_blocking=True), x1.to(device, non_blocking=True))

    steps = 3 if given.tiny else 60
    x = torch.randn(256, 3, 32, 32, device=device)
    for kind, bf16 in (("fp32", False),) if given.tiny else (("fp32", False), ("bf16", True)):
        backbone = build_backbone(name, in_channels=3, image_size=32, stem=stem).to(device)
        once = LightlyStep(backbone, 128 if given.tiny else 512, bf16)
        found[f"step {kind}"] = 256 / seconds_each(lambda: once(x, x), device, 2.0)  # noqa: B023
        whole(once, 1)
        found[f"whole {kind}"] = 256 * steps / timed(lambda: whole(once, steps), device)  # noqa: B023
    print("lightly: " + ", ".join(f"{k} {v:,.0f} images/s" for k, v in found.items()), flush=True)
    return found


PARTS = (ceilings, views, waits, step, cifar, lightly)


def main() -> None:
    every = ",".join(part.__name__ for part in PARTS)
    given = arguments(
        __doc__, cifar="cifar", device="cuda", tiny=0, threads=2, parts=every, steps=""
    )
    line, device = header("timm", "pytorch-lightning"), torch.device(given.device)
    if device.type == "cuda":
        line += f"; {torch.cuda.get_device_name(device)}"
        print(torch.cuda.get_device_name(device))
    # as byol pretrain has it on a GPU; for lightly's side too, whichever parts are run before it
    torch.backends.cudnn.benchmark = True
    found: dict[str, Any] = {}
    if given.json and Path(given.json).exists():
        found = json.loads(Path(given.json).read_text())
    found["machine"] = line
    for part in (part for part in PARTS if part.__name__ in given.parts.split(",")):
        start = time.perf_counter()
        try:
            known = found.get(part.__name__)  # of other steps
            found[part.__name__] = {**(known if isinstance(known, dict) else {}),
                                    **part(given, device)}  # fmt: skip
        except Exception:  # the other parts are still worth the machine's time
            found[part.__name__] = traceback.format_exc()
            print(f"{part.__name__} failed:\n{found[part.__name__]}", flush=True)
        print(f"({part.__name__}: {time.perf_counter() - start:.0f} s)", flush=True)
        save(given.json, **found)


if __name__ == "__main__":
    main()
