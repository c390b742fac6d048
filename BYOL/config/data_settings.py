"""Which images a run is trained on, and what is known about them."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from BYOL.config.fields import setting
from BYOL.views.config import Pair


@dataclass(frozen=True)
class DataSettings:
    """Which images a run is trained on, and what is known about them."""

    title: ClassVar[str] = "images"

    data: str | None = setting(
        None,
        "A folder of pictures, a .txt file with the path of one on each line, an .npz or .npy "
        "of images, .tar or .parquet shards (a folder of them, a pattern such as "
        '"s3://bucket/{000..127}.tar"), or one of digits, cifar10, cifar100, stl10. Without '
        "it: scikit-learn's handwritten digits.",
        private=True,
        place="images",
        basic=True,
    )
    labels: str | None = setting(
        None,
        "A CSV file of labels, with a header: first the picture's file, then its class, or "
        "several columns of 0 and 1, or numbers. Nothing is learnt from them: they judge, as "
        "class folders do, which they replace. Pictures without a row are learnt from too.",
        on_resume="incomplete",
        place="input",
        home=True,
        basic=True,
    )
    task: Literal["auto", "classification", "multilabel", "regression"] = setting(
        "auto",
        "What the labels are: classification, multilabel, regression, or auto: what they look "
        "like.",
        on_resume="incomplete",
        basic=True,
    )
    groups: str | None = setting(
        None,
        "A CSV file of pictures that belong together, with a header: first the picture's "
        "file, then the name of its patient, camera or part. Nothing is learnt from it: where "
        "labels judge, no group is on both sides then, and intervals are over groups.",
        on_resume="incomplete",
        place="input",
        home=True,
        basic=True,
    )
    channels: int | None = setting(
        None,
        "1, 3, 4 … channels of the pictures; without it, what the pictures have.",
        low=1,
        on_resume="fixed",
        basic=True,
    )
    pixel_range: Pair | None = setting(
        None,
        "Values of black and white in pictures of more than 8 bits (0,4095); without it "
        "settled by a look at some of them. Values beyond are cut off.",
        on_resume="fixed",
        basic=True,
    )
    data_root: str = setting(
        "~/.cache/byol",
        "Where named data sets lie or are downloaded to.",
        private=True,
        place="output",
    )
    memory: float = setting(
        4.0,
        "Gigabytes that pictures may take to be held decoded in memory.",
        low=0,
        private=True,
        basic=True,
    )
    workers: int | None = setting(
        None,
        "Processes that load pictures; without it, what fits the machine.",
        low=0,
        private=True,
        basic=True,
    )
    shuffle_buffer: int = setting(
        8192,
        "Pictures of shards that are shuffled among each other at a time, over all processes "
        "and workers. Where shards are not local archives, twice as many are held in memory, "
        "encoded.",
        low=1,
        on_resume="fixed",
    )
    strict_images: bool = setting(
        False,
        "Stop before training if any picture cannot be read.",
    )
