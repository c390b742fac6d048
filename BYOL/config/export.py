"""Settings of ``byol export``."""

from dataclasses import dataclass
from typing import Literal

from BYOL.config.fields import Settings, setting
from BYOL.config.validation import check_task
from BYOL.errors import UserError

CLASSIFIERS = ("none", "linear", "finetuned")


@dataclass(frozen=True)
class ExportConfig(Settings):
    """Settings of ``byol export``."""

    run: str = setting(
        help=(
            "A run's folder, or one of its checkpoints (RUN/checkpoints/best.ckpt); or a backbone "
            "without a run: what byol export wrote, hf-hub:OWNER/NAME, or local-dir:FOLDER."
        ),
        place="input",
        home=True,
        basic=True,
    )
    data: str | None = setting(
        None,
        "The labelled pictures that teach a classifier; without it, those of the run.",
        place="images",
        basic=True,
    )
    to: str = setting(
        "backbone.safetensors",
        "The file to write: .safetensors or .pth for weights, .onnx or .pt2 for a program "
        "that takes pixels from 0 to 1; or NAME/, with a slash at the end, for a folder that "
        "the Hugging Face hub and timm (local-dir:NAME) take.",
        place="output",
        home=True,
        basic=True,
    )
    classifier: Literal["none", "linear", "finetuned"] = setting(
        "none",
        "What stands on the backbone: none; linear: the layer by which byol predict guesses, "
        "while the backbone stays as it is; or finetuned: a layer that has been trained "
        "together with the whole backbone, as byol evaluate --protocol finetune does. "
        "Labelled pictures in test/ judge it and do not teach.",
        basic=True,
    )
    labels: str | None = setting(
        None,
        "A CSV file of labels for the classifier, as of byol evaluate. Without it, the class "
        "folders tell; without DATA too, the run's own file, where it has one.",
        place="input",
        home=True,
        basic=True,
    )
    groups: str | None = setting(
        None,
        "A CSV file of pictures that belong together, as of byol evaluate: how good the "
        "classifier is, is found out on whole groups.",
        place="input",
        home=True,
        basic=True,
    )
    task: Literal["auto", "classification", "multilabel", "regression"] = setting(
        "auto",
        "What the labels are: classification, multilabel, regression, or auto: what they look "
        "like.",
        basic=True,
    )
    epochs: int | None = setting(
        None,
        "Of the training for finetuned; without it 50, on a CPU fewer where there are many labels.",
        low=1,
        basic=True,
    )
    batch_size: int = setting(
        256,
        "Pictures at a time whose features are computed.",
        low=1,
        basic=True,
    )
    workers: int | None = setting(
        None,
        "Processes that decode files; without it, one for every core of a CPU, or half the "
        "cores beside a GPU.",
        low=0,
        basic=True,
    )
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = setting(
        "auto",
        "Cpu, gpu, mps or auto: where the labelled pictures are looked at.",
        basic=True,
    )
    seed: int = setting(
        0,
        "Of the splits that choose the classifier's settings, of the parts that judge it, and "
        "of the intervals.",
        low=0,
        high=2**63 - 1,
        basic=True,
    )
    data_root: str = setting(
        "~/.cache/byol",
        "Where named data sets lie or are downloaded to.",
        place="output",
        basic=True,
    )
    trust: bool = setting(
        False,
        "Open what the settings of a run from elsewhere, or a file of --config, name: images, "
        "labels, hosts. A run that you made, in its place, needs no such word.",
        basic=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_task(self.task, self.labels)
        if self.epochs and self.classifier != "finetuned":
            raise UserError(f"--epochs={self.epochs} is for --classifier=finetuned alone")
        if self.classifier != "none":
            return
        for name in ("data", "labels", "groups"):
            if (value := getattr(self, name)) is not None:
                said = "DATA" if name == "data" else f"--{name}"
                raise UserError(
                    f"{said}={value} is for a classifier: give --classifier=linear or "
                    "--classifier=finetuned too"
                )
