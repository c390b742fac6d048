"""All GPU measurements in under nine minutes: views, steps, whole runs, and those of lightly.

    python benchmarks/gpu.py --cifar cifar/ --json gpu.json
    python benchmarks/gpu.py --tiny 1 --device cpu --cifar cifar/     # a rehearsal without a GPU

The parts run in this order, and a part that fails does not stop the others: rate of matrix products
and of copies; views at 224 px; whether views or a step wait for the device; the step of a ResNet-18
at 32 px and of a ResNet-50 at 224 px, in bf16; CIFAR-10 with a ResNet-18, end to end; the same with
lightly. ``--parts views,lightly`` runs only those parts, and ``--parts step --steps "resnet50
compiled"`` only one of the steps. Figures of other parts in the JSON file are kept.
"""

import itertools
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import arguments, header, load_saved, save

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
Args = Any


def ceilings(args: Args, device: torch.device) -> dict[str, float]:
    dtype = torch.float32 if args.tiny else torch.bfloat16
    measures = {"matrix_rate": matrix_rate(device, dtype)}
    a = torch.empty((1 << 22) if args.tiny else (1 << 30), dtype=torch.uint8, device=device)
    b = torch.empty_like(a)
    measures["bandwidth"] = 2 * len(a) / seconds_each(lambda: b.copy_(a), device, 0.5)
    print(f"matrix product {measures['matrix_rate'] / 1e12:.2f} TFLOP/s, copy "
          f"{measures['bandwidth'] / 1e9:.0f} GB/s", flush=True)  # fmt: skip
    return measures


def views(args: Args, device: torch.device) -> dict[str, float]:
    size, batch = (32, 8) if args.tiny else (224, 256)
    crops = torch.randint(0, 256, (2, batch, 3, size, size), dtype=torch.uint8, device=device)
    ids, measures = torch.arange(batch, device=device), {}
    for name, compiled in (("plain", False), ("compiled", True)):
        made = Views(*paper_views(size), MEAN, STD, compiled)
        start = time.perf_counter()
        made(list(crops), ids, 0)
        wait_for(device)
        first = time.perf_counter() - start
        rate = batch / seconds_each(lambda: made(list(crops), ids, 0), device, 1.0)  # noqa: B023
        print(f"views, {size} px, {name}: {rate:,.0f} images/s (first batch {first:.1f} s)",
              flush=True)  # fmt: skip
        measures[name] = rate
    if device.type == "cuda":
        with torch.profiler.profile() as profile:
            made(list(crops), ids, 0)
            wait_for(device)
        kernels = [e for e in profile.events() if e.device_type == torch.profiler.DeviceType.CUDA]
        print(f"views, compiled: {len(kernels)} kernels for both views", flush=True)
        measures["kernels"] = len(kernels)
    return measures


def step(args: Args, device: torch.device) -> dict[str, Any]:
    """Measure a ResNet-18 at 32 px and a ResNet-50 at 224 px: plain, compiled, as CUDA graphs."""
    measures: dict[str, Any] = {}
    shapes = [("resnet18", 32, 256), ("resnet50", 224, 256)]
    for backbone, size, batch in [("resnet18", 32, 4)] if args.tiny else shapes:
        x, x1 = (
            torch.randn(batch, 3, size, size, device=device).contiguous(
                memory_format=torch.channels_last
            )
            for _ in range(2)
        )
        for name in ("plain",) if args.tiny else ("plain", "compiled", "graphs"):
            if args.steps not in f"{backbone} {name}":
                continue
            figures = one_step(backbone, name, x, x1, "fp32" if args.tiny else "bf16")
            print(f"step, {backbone}, {size} px, batch {batch}, {name}: "
                  f"{figures['rate']:,.0f} images/s, {figures['share']:.0%} of the matrix rate, "
                  f"{figures['memory'] / 1e6:.1f} MB per image, the host needs "
                  f"{figures['host']:.1f} ms", flush=True)  # fmt: skip
            measures[f"{backbone} {name}"] = figures
    return measures


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
    host = (time.perf_counter() - start) / 16  # the device may not have finished
    share = work * rate / batch / matrix_rate(device, dtype)
    memory = peak_memory(device) / batch
    return {"rate": rate, "share": share, "memory": memory, "host": 1e3 * host}


def operations(work: Callable[[], object]) -> int:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def waits(args: Args, device: torch.device) -> dict[str, int]:
    """Return 1 for each of views and step that makes the host wait for the device, else 0."""
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
    measures = {}
    for name, work in (
        ("views", lambda: made(images, ids, fold(0, 1))),
        ("step", lambda: once(*made(images, ids, fold(0, 1)))),
    ):
        torch.cuda.set_sync_debug_mode("error")
        try:
            work()
            measures[name] = 0
        except RuntimeError as error:
            measures[name] = 1
            print(f"waits: {name}: {str(error).splitlines()[0]}")
        finally:
            torch.cuda.set_sync_debug_mode("default")
    print(f"waits: {measures}", flush=True)
    return measures


def cifar(args: Args, device: torch.device) -> dict[str, float]:
    backbone, epochs = ("plain6", 1) if args.tiny else ("resnet18", 3)
    with tempfile.TemporaryDirectory() as folder:
        config = preset_config(
            "small", data=args.cifar, backbone=backbone, epochs=epochs, batch_size=256,
            evaluate=False, knn_every=0, compile="off" if args.tiny else "on",
            out=f"{folder}/run", accelerator="cpu" if device.type == "cpu" else "gpu",
        )  # fmt: skip
        results = pretrain(config)
    print(f"byol pretrain, {backbone}, 32 px: {results['images_per_second']:,.0f} images/s over "
          f"{results['steps']} steps", flush=True)  # fmt: skip
    return {"rate": results["images_per_second"]}


def lightly(args: Args, device: torch.device) -> dict[str, float]:
    """Measure the step of lightly in fp32, as in its documentation, and bf16, with its loader."""
    from peers import LightlyStep, lightly_batches

    from BYOL.model.backbones import build_backbone

    batches = lightly_batches(
        Path(args.cifar) / "train", 256, 2 if args.tiny else 12, device.type == "cuda"
    )
    name, stem = ("plain6", "imagenet") if args.tiny else ("resnet18", "small")
    measures = {}

    def whole(once: Callable[[Any, Any], Any], steps: int) -> None:
        for x, x1 in itertools.islice(batches, steps):
            once(x.to(device, non_blocking=True), x1.to(device, non_blocking=True))

    steps = 3 if args.tiny else 60
    x = torch.randn(256, 3, 32, 32, device=device)
    for kind, bf16 in (("fp32", False),) if args.tiny else (("fp32", False), ("bf16", True)):
        backbone = build_backbone(name, in_channels=3, image_size=32, stem=stem).to(device)
        once = LightlyStep(backbone, 128 if args.tiny else 512, bf16)
        measures[f"step {kind}"] = 256 / seconds_each(lambda: once(x, x), device, 2.0)  # noqa: B023
        whole(once, 1)
        measures[f"whole {kind}"] = 256 * steps / timed(lambda: whole(once, steps), device)  # noqa: B023
    print(
        "lightly: " + ", ".join(f"{k} {v:,.0f} images/s" for k, v in measures.items()), flush=True
    )
    return measures


PARTS = (ceilings, views, waits, step, cifar, lightly)


def main() -> None:
    every = ",".join(part.__name__ for part in PARTS)
    args = arguments(
        __doc__, cifar="cifar", device="cuda", tiny=0, threads=2, parts=every, steps=""
    )
    line, device = header("timm", "pytorch-lightning"), torch.device(args.device)
    if device.type == "cuda":
        line += f"; {torch.cuda.get_device_name(device)}"
        print(torch.cuda.get_device_name(device))
    # as byol pretrain sets it on a GPU; for lightly too, whichever parts run before it
    torch.backends.cudnn.benchmark = True
    measures = load_saved(args.json)
    measures["machine"] = line
    for part in (part for part in PARTS if part.__name__ in args.parts.split(",")):
        start = time.perf_counter()
        try:
            known = measures.get(part.__name__)  # figures of other steps
            measures[part.__name__] = {**(known if isinstance(known, dict) else {}),
                                    **part(args, device)}  # fmt: skip
        except Exception:  # the other parts still run
            measures[part.__name__] = traceback.format_exc()
            print(f"{part.__name__} failed:\n{measures[part.__name__]}", flush=True)
        print(f"({part.__name__}: {time.perf_counter() - start:.0f} s)", flush=True)
        save(args.json, **measures)


if __name__ == "__main__":
    main()
