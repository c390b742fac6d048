"""Settings of ``byol evaluate``."""

from dataclasses import dataclass
from typing import Literal

from BYOL.config.common_fields import input_path, random_seed
from BYOL.config.fields import Settings, setting
from BYOL.config.metrics import METRIC, MetricName
from BYOL.config.shared_help import (
    ACCELERATOR,
    DATA_ROOT,
    FILE_COLUMN,
    GROUP_COLUMN,
    GROUPS,
    LABEL_COLUMN,
    LABELS,
    LAYER,
    POOL,
    RUN,
    STORED_FEATURES,
    TASK,
    TRUST,
)
from BYOL.config.validation import check_annotations
from BYOL.errors import SettingsError


@dataclass(frozen=True)
class EvaluateConfig(Settings):
    """Settings of ``byol evaluate``."""

    run: str = setting(help=RUN, place="input", home=True, basic=True)
    data: str | None = setting(
        None, "Labelled images. The default is the data of the run.", place="images", basic=True
    )
    layer: str | None = setting(None, LAYER, basic=True)
    pool: Literal["auto", "mean", "max", "token"] = setting("auto", POOL)
    features: str | None = setting(
        None,
        f"{STORED_FEATURES} The protocol linear-sgd then trains on fixed features of every source "
        "instead of random crops.",
        place="input",
        home=True,
        basic=True,
    )
    protocol: str = setting(
        "fewshot,knn,linear",
        "Evaluation protocols, separated by commas. They are fewshot, knn, knn-cosine (k-NN by the "
        "plain cosine, as published figures), linear (logistic regression), "
        "linear-sgd (as in the paper), finetune, cluster and retrieval. all selects every protocol "
        "that fits the labels. The results are printed and written to "
        "evaluation.json in the run folder.",
        basic=True,
    )
    labels: str | None = input_path(LABELS)
    groups: str | None = input_path(GROUPS)
    label_column: str | None = setting(None, LABEL_COLUMN, basic=True)
    file_column: str | None = setting(None, FILE_COLUMN, basic=True)
    group_column: str | None = setting(None, GROUP_COLUMN)
    task: Literal["auto", "classification", "multilabel", "regression"] = setting(
        "auto", TASK, basic=True
    )
    metric: MetricName = setting("auto", METRIC, basic=True)
    epochs: int | None = setting(
        None,
        "Training epochs of linear-sgd and finetune. The default is 80 and 50. On a CPU, "
        "finetune uses fewer epochs if there are many labels.",
        low=1,
    )
    batch_size: int | None = setting(
        None,
        "Images per batch. The default is 256, or 1024 for linear-sgd, and less for small data "
        "sets.",
        low=1,
        basic=True,
    )
    label_shares: list[float] = setting(
        help="Fractions of the labels that finetune trains on, each above 0 and at most 1.",
        factory=lambda: [0.01, 0.1, 1.0],
    )
    clusters: int | None = setting(
        None,
        "Number of clusters of the protocol cluster. The default is the number of classes.",
        low=2,
    )
    neighbours: list[int] = setting(
        help="Numbers of neighbours that vote in k-NN, each reported in a column of its own. "
        "A number above 20 is reduced to the number of labels of the rarest class.",
        factory=lambda: [20, 200],
        low=1,
        basic=True,
    )
    temperature: float = setting(
        0.1,
        "Temperature of the k-NN vote. The lower it is, the more the nearest neighbours decide.",
        low=0.0001,
    )
    reference: str | None = input_path(
        "Backbone to compare with on the same test images. It is a run folder, a published "
        "backbone (hf-hub:OWNER/NAME or local-dir:FOLDER), or a .safetensors or PyTorch file with "
        "other weights of the same backbone. The default is timm's weights, if they are on this "
        "disk."
    )
    leakage: bool = setting(
        True,
        "Search for near-copies of the test images among the training images, and report how many "
        "there are.",
        basic=True,
    )
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = setting("auto", ACCELERATOR, basic=True)
    seed: int = random_seed("Random seed of the few-shot samples and the splits.", basic=True)
    data_root: str = setting("~/.cache/byol", DATA_ROOT, place="output")
    trust: bool = setting(False, TRUST)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_annotations(self)
        if not self.neighbours:
            raise SettingsError("--neighbours is empty: give at least one number")
        for share in self.label_shares:
            if not 0 < share <= 1:
                raise SettingsError(
                    f"--label_shares={share} is out of range: give numbers above 0, at most 1"
                )
