"""Settings of the commands that work on the images of a run: ``duplicates``, ``outliers``,
``search``, ``select`` and ``predict``.
"""

from dataclasses import dataclass
from typing import Literal

from BYOL.config.common_fields import input_path, output_path, random_seed
from BYOL.config.features import PooledFeaturesConfig
from BYOL.config.fields import setting
from BYOL.config.metrics import METRIC, MetricName
from BYOL.config.shared_help import (
    FILE_COLUMN,
    GROUP_COLUMN,
    LABEL_COLUMN,
    NEIGHBOUR_SEARCH,
    TASK,
)
from BYOL.config.validation import check_annotations
from BYOL.errors import SettingsError


@dataclass(frozen=True)
class DuplicatesConfig(PooledFeaturesConfig):
    """Settings of ``byol duplicates``."""

    threshold: float | None = setting(
        None,
        "Cosine similarity of whitened features from which two images are compared pixel by "
        "pixel. A higher value finds fewer duplicates. The default is 0.5, and with FAISS 0.7, "
        "because it takes several times as long to find pairs of less similar images.",
        low=0,
        high=1,
        basic=True,
    )
    between: tuple[str, str] | None = setting(
        None,
        "Two splits, train and test: list only images of one that have a near-copy in the other. "
        "The test images are kept, so --kept lists the training images without copies of test "
        "images. Without it, all pairs are compared.",
        basic=True,
    )
    out: str = output_path("duplicates.csv", "CSV file to write.")
    grid: str | None = output_path(
        None, "PNG file of the groups of duplicates. The default is none."
    )
    neighbour_search: Literal["auto", "exact", "faiss"] = setting("auto", NEIGHBOUR_SEARCH)
    kept: str | None = output_path(
        None,
        "TXT file to list all images except the surplus ones. Other commands accept it as DATA. "
        "The default is none.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.between and set(self.between) != {"train", "test"}:
            raise SettingsError(
                f"--between={','.join(self.between)} is not accepted: give train,test"
            )
        if self.between and self.split != "all":
            raise SettingsError(f"--split={self.split} leaves out images of --between: omit it")


@dataclass(frozen=True)
class OutliersConfig(PooledFeaturesConfig):
    """Settings of ``byol outliers``."""

    count: int = setting(50, "Number of images to list.", low=1, basic=True)
    out: str = output_path("outliers.csv", "CSV file to write.")
    grid: str | None = output_path(None, "PNG file of the outliers. The default is none.")


@dataclass(frozen=True)
class SearchConfig(PooledFeaturesConfig):
    """Settings of ``byol search``."""

    like: str | None = setting(
        None,
        "Query images: an image, a folder of images, or a .txt file with one path per line.",
        place="images",
        basic=True,
    )
    together: bool = setting(
        False,
        "Combine the query images into one query and write one result list. This suits several "
        "images of the same object. Without it, every query image has a list of its own.",
        basic=True,
    )
    count: int = setting(20, "Number of results per list.", low=1, basic=True)
    index: str | None = output_path(
        None,
        "FAISS index of DATA, a .faiss file. It is written if it does not exist. If it exists, "
        "only the features of the query images are computed. Only an index that the same user "
        "wrote is opened. A file NAME.rows.safetensors next to it belongs to it.",
    )
    neighbour_search: Literal["auto", "exact", "faiss"] = setting("auto", NEIGHBOUR_SEARCH)
    out: str = output_path("search.csv", "CSV file to write.")
    grid: str | None = output_path(None, "PNG file of the results. The default is none.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.like:
            raise SettingsError(
                "--like is missing: give an image, a folder of images or a .txt list"
            )
        if self.index and self.neighbour_search == "exact":
            raise SettingsError(f"--neighbour-search=exact does not use --index={self.index}")


@dataclass(frozen=True)
class SelectConfig(PooledFeaturesConfig):
    """Settings of ``byol select``."""

    count: int = setting(100, "Number of images to choose.", low=1, basic=True)
    labels: str | None = input_path(
        "CSV file of existing labels, in the format of byol evaluate. Images similar to labelled "
        "ones are chosen last. Without it and without DATA, the labels file of the run is used, "
        "if it has one."
    )
    label_column: str | None = setting(None, LABEL_COLUMN, basic=True)
    file_column: str | None = setting(None, FILE_COLUMN, basic=True)
    split: Literal["all", "train", "test"] = setting(
        "train", "Split of the data to choose from.", basic=True
    )
    out: str = output_path(
        "labels.csv",
        "CSV file to write, with the rows of --labels and one row per chosen image. The rows of "
        "chosen images have no label yet and are sorted by how informative the image is. With the "
        "labels filled in, it is a file for --labels of any command.",
    )
    grid: str | None = output_path(None, "PNG file of the chosen images. The default is none.")
    seed: int = random_seed("Random seed of the clustering.", basic=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_annotations(self)


@dataclass(frozen=True)
class PredictConfig(PooledFeaturesConfig):
    """Settings of ``byol predict``."""

    labels: str | None = input_path(
        "CSV file of existing labels, in the format of byol evaluate. Without it, class folders "
        "provide the labels. Without DATA too, the labels file of the run is used, if it has "
        "one."
    )
    labelled: str | None = setting(
        None,
        "Labelled images, if they are not part of DATA. The classifier is trained on these and "
        "predicts the labels of DATA.",
        place="images",
        basic=True,
    )
    groups: str | None = input_path(
        "CSV file that assigns images to groups, in the format of byol evaluate. The prediction "
        "for a labelled image never uses another image of its group."
    )
    label_column: str | None = setting(None, LABEL_COLUMN, basic=True)
    file_column: str | None = setting(None, FILE_COLUMN, basic=True)
    group_column: str | None = setting(None, GROUP_COLUMN)
    task: Literal["auto", "classification", "multilabel", "regression"] = setting(
        "auto", TASK, basic=True
    )
    metric: MetricName = setting("auto", METRIC, basic=True)
    out: str = output_path("predictions.csv", "CSV file to write, with one row per image.")
    seed: int = random_seed("Random seed of the cross-validation folds.", basic=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_annotations(self)
