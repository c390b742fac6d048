"""Settings of ``byol export``."""

from dataclasses import dataclass

from BYOL.config.checks import COUNT, POSITIVE, SEED, TASKS, check_settings, check_task
from BYOL.errors import UserError

CLASSIFIERS = ("none", "linear")


@dataclass(frozen=True)
class ExportConfig:
    """Settings of ``byol export``.

    Args:
        run: a run's folder, or one of its checkpoints (RUN/checkpoints/best.ckpt).
        data: the labelled pictures that teach a classifier; without it, those of the run.
        to: the file to write: .safetensors or .pth for weights, .onnx or .pt2 for a program that
            takes pixels from 0 to 1; or NAME/, with a slash at the end, for a folder that the
            Hugging Face hub and timm (local-dir:NAME) take.
        classifier: what stands on the backbone: none, or linear: the layer by which byol predict
            guesses, fitted to all labels there are; the backbone stays as it is.
        labels: a CSV file of labels for the classifier, as of byol evaluate. Without it, the class
            folders tell; without DATA too, the run's own file, where it has one.
        groups: a CSV file of pictures that belong together, as of byol evaluate: how good the
            classifier is, is found out on whole groups.
        task: what the labels are: classification, multilabel, regression, or auto: what they look
            like.
        batch_size: pictures at a time.
        workers: processes that decode files; without it, one for every core of a CPU, or half the
            cores beside a GPU.
        accelerator: cpu, gpu, mps or auto: where the labelled pictures are looked at.
        seed: of the split that chooses the classifier's regularisation, of the parts that judge it
            and of the intervals.
        data_root: where named data sets lie or are downloaded to.
    """

    run: str
    data: str | None = None
    to: str = "backbone.safetensors"
    classifier: str = "none"
    labels: str | None = None
    groups: str | None = None
    task: str = "auto"
    batch_size: int = 256
    workers: int | None = None
    accelerator: str = "auto"
    seed: int = 0
    data_root: str = "~/.cache/byol"

    def __post_init__(self) -> None:
        check_settings(
            self,
            {"batch_size": COUNT, "workers": POSITIVE, "seed": SEED},
            {
                "classifier": CLASSIFIERS,
                "task": TASKS,
                "accelerator": ("auto", "cpu", "gpu", "mps"),
            },
        )
        check_task(self.task, self.labels)
        if self.classifier != "none":
            return
        for name in ("data", "labels", "groups"):
            if (value := getattr(self, name)) is not None:
                said = "DATA" if name == "data" else f"--{name}"
                raise UserError(f"{said}={value} is for a classifier: give --classifier=linear too")
