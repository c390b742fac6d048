"""Settings of ``byol export``."""

from dataclasses import dataclass

from BYOL.config.tasks import TASKS
from BYOL.config.validation import COUNT, POSITIVE, SEED, check_settings, check_task
from BYOL.errors import UserError

CLASSIFIERS = ("none", "linear", "finetuned")


@dataclass(frozen=True)
class ExportConfig:
    """Settings of ``byol export``.

    Args:
        run: a run's folder, or one of its checkpoints (RUN/checkpoints/best.ckpt); or a backbone
            without a run: what byol export wrote, hf-hub:OWNER/NAME, or local-dir:FOLDER.
        data: the labelled pictures that teach a classifier; without it, those of the run.
        to: the file to write: .safetensors or .pth for weights, .onnx or .pt2 for a program that
            takes pixels from 0 to 1; or NAME/, with a slash at the end, for a folder that the
            Hugging Face hub and timm (local-dir:NAME) take.
        classifier: what stands on the backbone: none; linear: the layer by which byol predict
            guesses, while the backbone stays as it is; or finetuned: a layer that has been trained
            together with the whole backbone, as byol evaluate --protocol finetune does. Labelled
            pictures in test/ judge it and do not teach.
        labels: a CSV file of labels for the classifier, as of byol evaluate. Without it, the class
            folders tell; without DATA too, the run's own file, where it has one.
        groups: a CSV file of pictures that belong together, as of byol evaluate: how good the
            classifier is, is found out on whole groups.
        task: what the labels are: classification, multilabel, regression, or auto: what they look
            like.
        epochs: of the training for finetuned; without it 50, on a CPU fewer where there are many
            labels.
        batch_size: pictures at a time whose features are computed.
        workers: processes that decode files; without it, one for every core of a CPU, or half the
            cores beside a GPU.
        accelerator: cpu, gpu, mps or auto: where the labelled pictures are looked at.
        seed: of the splits that choose the classifier's settings, of the parts that judge it, and
            of the intervals.
        data_root: where named data sets lie or are downloaded to.
        trust: open what the settings of a run from elsewhere, or a file of --config, name: images,
            labels, hosts. A run that you made, in its place, needs no such word.
    """

    run: str
    data: str | None = None
    to: str = "backbone.safetensors"
    classifier: str = "none"
    labels: str | None = None
    groups: str | None = None
    task: str = "auto"
    epochs: int | None = None
    batch_size: int = 256
    workers: int | None = None
    accelerator: str = "auto"
    seed: int = 0
    data_root: str = "~/.cache/byol"
    trust: bool = False

    def __post_init__(self) -> None:
        check_settings(
            self,
            {"epochs": COUNT, "batch_size": COUNT, "workers": POSITIVE, "seed": SEED},
            {
                "classifier": CLASSIFIERS,
                "task": TASKS,
                "accelerator": ("auto", "cpu", "gpu", "mps"),
            },
        )
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
