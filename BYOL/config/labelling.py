"""Settings of the commands that help to label: ``byol select`` and ``byol predict``."""

from dataclasses import dataclass

from BYOL.config.commands import POOLS, FeaturesConfig
from BYOL.config.tasks import TASKS
from BYOL.config.validation import COUNT, SEED, check_settings, check_task


@dataclass(frozen=True)
class SelectConfig(FeaturesConfig):
    """Settings of ``byol select``.

    Args:
        count: how many pictures to choose.
        labels: a CSV file of the labels that there are, as of byol evaluate: what is like these
            pictures is chosen last. Without it, and without DATA, the run's own file, where it has
            one.
        split: of which pictures: train, test or all.
        out: the .csv file to write: the rows of --labels, then a row without a label for every
            picture chosen, the most telling first. Filled in, it is a file for --labels, here and
            elsewhere.
        grid: a .png of them; without it, none.
        seed: of the clusters.
    """

    count: int = 100
    labels: str | None = None
    split: str = "train"
    out: str = "labels.csv"
    grid: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, {"count": COUNT, "seed": SEED}, {"pool": POOLS[:-1]})


@dataclass(frozen=True)
class PredictConfig(FeaturesConfig):
    """Settings of ``byol predict``.

    Args:
        labels: a CSV file of the labels that there are, as of byol evaluate. Without it, the class
            folders tell; without DATA too, the run's own file, where it has one.
        labelled: the pictures that have the labels, where they are others than DATA: what new
            pictures are is learnt from old ones.
        groups: a CSV file of pictures that belong together, as of byol evaluate: what is said of a
            labelled picture is learnt from no other of its group.
        task: what the labels are: classification, multilabel, regression, or auto: what they look
            like.
        out: the .csv file to write: a row for every picture.
        seed: of the parts that the labelled pictures are dealt into, and of the intervals.
    """

    labels: str | None = None
    labelled: str | None = None
    groups: str | None = None
    task: str = "auto"
    out: str = "predictions.csv"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, {"seed": SEED}, {"task": TASKS, "pool": POOLS[:-1]})
        check_task(self.task, self.labels)
