"""The numbers of the preset auto, which ``recipe`` selects from and limits."""

import math
from typing import Any

SMALL_SIDE = 96  # pixels: images up to this size are trained on at their own size
LEAST_SIDE = 8  # pixels: no backbone takes smaller images
CPU_MINUTES = 20.0  # the length of a run on a CPU that has neither --minutes nor --epochs
FEW = 10_000  # images: below, small batches and LARS (docs/results/few-images.md)
LARGE_SET = 20_000  # images: from here on a GPU trains a ResNet-50 on photographs
VIEW_SHARE = 3 / 4  # views on a CPU: less computation, and nearer to evaluation's scale

# Settings of every recipe: small networks on small views, measured on CIFAR-10 (docs/results/).
SHARED_SETTINGS: dict[str, Any] = {
    "hidden_size": 1024,
    "output_size": 256,
    "predictor_lr_scale": 10.0,
    "crop_scale": (0.2, 1.0),
    "blur": (0.0, 0.0),
    "brightness": 0.2,
}
# Learning rate (for a batch of 256) and weight decay for each optimizer.
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "lr": 0.1, "weight_decay": 1e-3},
    "lars": {"optimizer": "lars", "lr": 3.2, "weight_decay": 1.5e-6},
    "adamw": {"optimizer": "adamw", "lr": 1.5e-4, "weight_decay": 0.1},
}
# The same when training starts from trained weights, which a high learning rate would erase.
FROM_WEIGHTS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "lr": 0.03, "weight_decay": 1e-4},
    "lars": {"optimizer": "lars", "lr": 0.1, "weight_decay": 1e-6},
    "adamw": {"optimizer": "adamw", "lr": 5e-5, "weight_decay": 0.1},
}
# Few images and a plain network on a CPU: measured on 1,651 photographs in 80 seconds of one core
# (20-NN .633, linear .766; with crops of .2 to 1 .538 and .701) and on 2,000 images of CIFAR-10.
FEW_ON_CPU: dict[str, Any] = {"crop_scale": (0.5, 1.0)}
# The targets are the features of a teacher: milder crops, because a small part of an image does not
# have the features of the whole.
TEACHER: dict[str, Any] = {"crop_scale": (0.6, 1.0), "predictor_lr_scale": None}
# Fixed targets allow ten times the learning rate of BYOL, whose target follows the network. Chosen
# with plain6 on sign digits and on held-out training images of CIFAR-10 (docs/results/teacher.md).
TEACHER_OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "lr": 1.0, "weight_decay": 1e-4},
    "lars": {"optimizer": "lars", "lr": 30.0, "weight_decay": 1.5e-6},
}
# The authors' recipe for 100 epochs of a ResNet-50 (presets.py, "paper-100").
PAPER_RECIPE: dict[str, Any] = {
    "lr": 0.45,
    "weight_decay": 1e-6,
    "hidden_size": 4096,
    "predictor_lr_scale": None,
    "crop_scale": (0.08, 1.0),
    "blur": (1.0, 0.1),
    "brightness": 0.4,
    "tau": 0.99,
}
# Values of many bands are measurements: only small changes of brightness and contrast.
MANY_CHANNELS: dict[str, Any] = {"contrast": 0.2, "grey": 0.0, "solarize": (0.0, 0.0)}

# (has a GPU, large backbone) → maximum image size, batch size, minimum and maximum epochs, and the
# optimizer steps of a run without a time limit.
SIZES: dict[tuple[bool, bool], tuple[int, int, int, int, int]] = {
    (False, False): (64, 128, 1, 1000, 40_000),
    (False, True): (96, 128, 1, 1000, 40_000),
    (True, False): (128, 256, 100, 1000, 40_000),
    (True, True): (224, 1024, 100, 300, 40_000),
}
# Minutes → image size of photographs for a plain network on a CPU. On two sets 32 px is better or
# equal after four minutes of one core (docs/results/photographs.md, "32 or 48 px"). More time helps
# 48 px more: on 3,453 photographs its 20-NN was .036 worse after two minutes, .003 after four.
PLAIN_IMAGE_SIZES = ((5.0, 32), (math.inf, 48))
WEIGHTS_IMAGE_SIZE = {
    False: 128,
    True: 224,
}  # image size at most from trained weights, by "is a GPU"
WEIGHTS_EPOCHS = 200  # maximum: training from trained weights needs fewer
TRANSFORMERS = ("vit_", "deit", "beit", "eva02", "swin")
ADAMW_BACKBONES = (*TRANSFORMERS, "convnext")
PLAIN_NETWORKS = ("plain5", "plain6")
