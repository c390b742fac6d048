"""Settings of a network that predicts the features of a teacher, on held-out training images.

    python benchmarks/teacher_settings.py --data cifar10.npz --folder runs/settings --json FILE

DATA is a .npz file with ``train_images`` of one size and ``train_labels``. A fifth of the training
images, chosen at random, is held out for the evaluation; test images are not used. Every setting
of :data:`SETTINGS` trains plain6 for ``--epochs`` epochs with the preset 32px-minutes and
``--teacher lite0``. The features of the teacher are computed once, in ``--folder``. Settings that
the file of ``--json`` already contains are not run again; ``--only`` names some of them.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from common import arguments, header, load_saved, save
from equal_time import evaluate

from BYOL.config.presets import preset_config
from BYOL.config.recipe_tables import TEACHER
from BYOL.data.sources import open_images
from BYOL.runs.open import open_run
from BYOL.training.pretrain import pretrain

LARS = {"optimizer": "lars", "weight_decay": 1.5e-6}
SGD_1 = {"lr": 1.0, "weight_decay": 1e-4}
MILDER = {
    "brightness": 0.1, "contrast": 0.2, "saturation": 0.1, "hue": 0.02, "grey": 0.0,
    "solarize": (0.0, 0.0),
}  # fmt: skip
SETTINGS: dict[str, dict[str, Any]] = {
    "SGD .1, decay 1e-3": {},
    "linear head": {"depth_proj": 1},
    "milder colours": MILDER,
    "crops of .3 to 1": {"crop_scale": (0.3, 1.0)},
    "views of 28 px, 3 epochs": {"view_size": 28, "epochs": 3},  # as many seconds
    "LARS 3.2": {**LARS, "lr": 3.2},
    "LARS 10": {**LARS, "lr": 10.0},
    "SGD .3, decay 1e-4": {"lr": 0.3, "weight_decay": 1e-4},
    "SGD 1, decay 1e-4": SGD_1,
    "SGD 3, decay 1e-5": {"lr": 3.0, "weight_decay": 1e-5},
    "SGD 1, linear head": {**SGD_1, "depth_proj": 1},
    "SGD 1, three layers": {**SGD_1, "depth_proj": 3},
}


def hold_out(data: str, file: Path) -> None:
    """Write four fifths of the training images of ``data`` and, as test images, the others."""
    with np.load(data) as arrays:
        images, labels = arrays["train_images"], arrays["train_labels"]
    order = np.random.default_rng(0).permutation(len(images))
    kept, held = np.sort(order[: len(order) * 4 // 5]), np.sort(order[len(order) * 4 // 5 :])
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        file, train_images=images[kept], train_labels=labels[kept], test_images=images[held],
        test_labels=labels[held],
    )  # fmt: skip


def one(args: Any, file: Path, settings: dict[str, Any]) -> dict[str, float]:
    """Train with ``settings`` and return the accuracies and the seconds of training."""
    place = Path(args.folder) / "run"
    shutil.rmtree(place, ignore_errors=True)
    chosen = {**TEACHER, "teacher": "lite0", "epochs": args.epochs, **settings}
    config = preset_config(
        "32px-minutes", data=str(file), seed=args.seed, out=str(place), evaluate=False,
        report=False, **chosen,
    )  # fmt: skip
    results = pretrain(config)
    run, splits = open_run(str(place)), open_images(str(file))
    assert splits.test is not None
    found = evaluate(run.backbone, run.config.input_spec, splits.train, splits.test)
    return {"train_seconds": results["train_seconds"], **found}


def main() -> None:
    args = arguments(__doc__, data="cifar10.npz", folder="runs/settings", epochs=4, seed=0, only="")
    record = load_saved(args.json, machine=header(), rows={})
    file = Path(args.folder) / "held-out.npz"
    if not file.exists():
        hold_out(args.data, file)
    for name in args.only.split(";") if args.only else SETTINGS:
        if name not in record["rows"]:
            record["rows"][name] = one(args, file, SETTINGS[name])
            save(args.json, **record)
        print(name, {key: round(value, 4) for key, value in record["rows"][name].items()})


if __name__ == "__main__":
    main()
