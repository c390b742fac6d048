"""Settings of the commands that help to label: ``byol select`` and ``byol predict``."""

from dataclasses import dataclass
from typing import Literal

from BYOL.config.commands import PooledFeaturesConfig
from BYOL.config.fields import setting
from BYOL.config.validation import check_task


@dataclass(frozen=True)
class SelectConfig(PooledFeaturesConfig):
    """Settings of ``byol select``."""

    count: int = setting(
        100,
        "How many pictures to choose.",
        low=1,
        basic=True,
    )
    labels: str | None = setting(
        None,
        "A CSV file of the labels that there are, as of byol evaluate: what is like these "
        "pictures is chosen last. Without it, and without DATA, the run's own file, where it "
        "has one.",
        place="input",
        home=True,
        basic=True,
    )
    split: Literal["all", "train", "test"] = setting(
        "train",
        "Of which pictures: train, test or all.",
        basic=True,
    )
    out: str = setting(
        "labels.csv",
        "The .csv file to write: the rows of --labels, then a row without a label for every "
        "picture chosen, the most telling first. Filled in, it is a file for --labels, here "
        "and elsewhere.",
        place="output",
        home=True,
        basic=True,
    )
    grid: str | None = setting(
        None,
        "A .png of them; without it, none.",
        place="output",
        home=True,
        basic=True,
    )
    seed: int = setting(
        0,
        "Of the clusters.",
        low=0,
        high=2**63 - 1,
        basic=True,
    )


@dataclass(frozen=True)
class PredictConfig(PooledFeaturesConfig):
    """Settings of ``byol predict``."""

    labels: str | None = setting(
        None,
        "A CSV file of the labels that there are, as of byol evaluate. Without it, the class "
        "folders tell; without DATA too, the run's own file, where it has one.",
        place="input",
        home=True,
        basic=True,
    )
    labelled: str | None = setting(
        None,
        "The pictures that have the labels, where they are others than DATA: what new "
        "pictures are is learnt from old ones.",
        place="images",
        basic=True,
    )
    groups: str | None = setting(
        None,
        "A CSV file of pictures that belong together, as of byol evaluate: what is said of a "
        "labelled picture is learnt from no other of its group.",
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
    out: str = setting(
        "predictions.csv",
        "The .csv file to write: a row for every picture.",
        place="output",
        home=True,
        basic=True,
    )
    seed: int = setting(
        0,
        "Of the parts that the labelled pictures are dealt into, and of the intervals.",
        low=0,
        high=2**63 - 1,
        basic=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_task(self.task, self.labels)
