"""Settings of ``byol export``."""

from dataclasses import dataclass
from typing import Literal

from BYOL.config.common_fields import input_path, output_path, random_seed
from BYOL.config.fields import Settings, setting
from BYOL.config.metrics import METRIC, MetricName
from BYOL.config.shared_help import (
    ACCELERATOR,
    DATA_ROOT,
    FILE_COLUMN,
    GROUP_COLUMN,
    LABEL_COLUMN,
    RUN,
    TASK,
    TRUST,
    WORKERS,
)
from BYOL.config.validation import check_annotations
from BYOL.errors import SettingsError


@dataclass(frozen=True)
class ExportConfig(Settings):
    """Settings of ``byol export``."""

    run: str = setting(help=RUN, place="input", home=True, basic=True)
    data: str | None = setting(
        None,
        "Labelled images for training a classifier. The default is the data of the run.",
        place="images",
        basic=True,
    )
    to: str = output_path(
        "backbone.safetensors",
        "File or folder to write: .safetensors, .pth, .onnx, .pt2, or NAME/ for a hub folder. "
        ".safetensors and .pth files hold weights. .onnx and .pt2 files hold a program that "
        "takes pixel values from 0 to 1. NAME/, with a slash at the end, is a folder that the "
        "Hugging Face hub and timm (local-dir:NAME) accept.",
    )
    classifier: Literal["none", "linear", "finetuned"] = setting(
        "none",
        "Classifier to train on top of the backbone. With none, only the backbone is exported. "
        "linear trains a linear layer on frozen features, the layer that byol predict uses. "
        "finetuned trains the layer together with the whole backbone, as byol evaluate "
        "--protocol finetune does. Labelled images in test/ are used for evaluation only.",
        basic=True,
    )
    labels: str | None = input_path(
        "CSV file of labels for the classifier, in the format of byol evaluate. Without it, "
        "class folders provide the labels. Without DATA too, the labels file of the run is used, "
        "if it has one."
    )
    groups: str | None = input_path(
        "CSV file that assigns images to groups, in the format of byol evaluate. The classifier "
        "is evaluated on whole groups."
    )
    label_column: str | None = setting(None, LABEL_COLUMN, basic=True)
    file_column: str | None = setting(None, FILE_COLUMN, basic=True)
    group_column: str | None = setting(None, GROUP_COLUMN)
    task: Literal["auto", "classification", "multilabel", "regression"] = setting(
        "auto", TASK, basic=True
    )
    metric: MetricName = setting("auto", METRIC)
    epochs: int | None = setting(
        None,
        "Training epochs of --classifier finetuned. The default is 50. On a CPU, fewer epochs "
        "are used if there are many labels.",
        low=1,
        basic=True,
    )
    batch_size: int = setting(256, "Images per batch when features are computed.", low=1)
    workers: int | None = setting(None, WORKERS, low=0)
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = setting("auto", ACCELERATOR, basic=True)
    seed: int = random_seed("Random seed of splits and cross-validation folds.")
    data_root: str = setting("~/.cache/byol", DATA_ROOT, place="output")
    trust: bool = setting(False, TRUST)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_annotations(self)
        if self.epochs and self.classifier != "finetuned":
            raise SettingsError(f"--epochs={self.epochs} is for --classifier=finetuned alone")
        if self.classifier != "none":
            return
        for name in ("data", "labels", "groups"):
            if (value := getattr(self, name)) is not None:
                argument = "DATA" if name == "data" else f"--{name}"
                raise SettingsError(
                    f"{argument}={value} is for a classifier: give --classifier=linear or "
                    "--classifier=finetuned too"
                )
