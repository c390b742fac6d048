"""Where a training step of ``byol pretrain`` spends its processor time.

    python benchmarks/step_parts.py --data cifar10.npz --threads 1
    python benchmarks/step_parts.py --data cifar10.npz --threads 1 --target online --hidden 512

``--data`` is the images of the preset 32px-minutes. Each part is the mean over ``--steps`` steps
after 60 others. "rest" is Lightning, callbacks and the loader. Processor time, so that other
programs disturb less.
"""

import contextlib
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from common import arguments, header

from BYOL.config.presets import preset_config
from BYOL.training.module import Pretraining
from BYOL.training.pretrain import pretrain

WARM_UP = 60
# Each method with those that it calls, which are counted alone, and the name of what remains of it.
INNER = {
    "step": ("optimizer_step",),
    "optimizer_step": ("training_step", "backward"),
    "training_step": ("make_views",),
}
REMAINDER = {"step": "rest", "optimizer_step": "optimizer", "training_step": "forward pass"}


class Done(Exception):  # noqa: N818  (no error)
    """Enough steps were measured."""


def measured(seconds: dict[str, float], name: str) -> Callable[..., Any]:
    """Return the method ``name`` of the module; it adds its processor time to ``seconds``."""
    method = getattr(Pretraining, name)

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        result = method(*args, **kwargs)
        seconds[name] += time.process_time() - start
        return result

    return timed


def main() -> None:
    args = arguments(
        __doc__, data="cifar10.npz", threads=1, steps=100, target="ema", hidden=1024,
        backbone="plain6",
    )  # fmt: skip
    header()
    torch.set_num_threads(args.threads)
    seconds: dict[str, float] = defaultdict(float)
    for name in ("make_views", "training_step", "backward", "optimizer_step"):
        setattr(Pretraining, name, measured(seconds, name))
    begin, count, start = Pretraining.on_train_batch_start, 0, 0.0

    def counted(module: Pretraining, batch: Any, batch_idx: int) -> None:
        nonlocal count, start
        count += 1
        if count == WARM_UP:
            seconds.clear()
            start = time.process_time()
        if count == WARM_UP + args.steps:
            seconds["step"] = time.process_time() - start
            raise Done
        begin(module, batch, batch_idx)

    Pretraining.on_train_batch_start = counted  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as place:
        config = preset_config(
            "32px-minutes", data=args.data, backbone=args.backbone, target=args.target,
            hidden_size=args.hidden, epochs=2, out=f"{place}/run", evaluate=False, report=False,
            knn_every=0,
        )  # fmt: skip
        with contextlib.suppress(Done):
            pretrain(config)
    each = {name: 1e3 * total / args.steps for name, total in seconds.items()}
    for name, total in each.items():
        own = total - sum(each[inner] for inner in INNER.get(name, ()))
        print(f"{REMAINDER.get(name, name):14s} {own:6.1f} ms {own / each['step']:5.0%}")
    speed = config.batch_size / each["step"] * 1e3
    print(f"{'step':14s} {each['step']:6.1f} ms, {speed:,.0f} images/s")


if __name__ == "__main__":
    main()
