"""The presets of MULAN: multi-crop BYOL with one predictor for each kind of view.

De Plaen et al. 2026, arXiv 2602.05845, with the values of CONFIG.md, main.py and augmentations.py
of the authors' code (pfdp0/mulan). They report 75.6 after 200 epochs on ImageNet and 76.7 after
800.
"""

from typing import Any

_MULAN: dict[str, Any] = {
    "backbone": "resnet50",
    "image_size": 224,
    "batch_size": 1024,
    "optimizer": "lars",
    "lr": 0.4,
    "weight_decay": 1.5e-6,
    "warmup_epochs": 10.0,
    "tau": 0.996,
    # Every device normalises its own images: 256 on each of 4 GPUs, with 800 epochs 128 on each of
    # 8. The accuracies are of such runs.
    "sync_batchnorm": False,
    "crop_scale": (0.25, 1.0),
    # Their .4 multiplies, as in torchvision. It corresponds to .2 here, which is added.
    "brightness": 0.2,
    "view_predictors": "own",
    "small_size": 96,
    "small_scale": (0.08, 0.25),
    "cutout_views": 1,
    # The default of their transform. That of their command line, which their commands do not
    # change, is .2 to .4.
    "cutout_area": (0.2, 0.6),
    "further_blur": 0.5,
    "further_solarize": 0.0,
}

MULAN_PRESETS: dict[str, dict[str, Any]] = {
    "mulan-200": {**_MULAN, "epochs": 200, "small_views": 2},
    "mulan-800": {**_MULAN, "epochs": 800, "small_views": 4},
}
