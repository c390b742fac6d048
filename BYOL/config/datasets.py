"""Settings of the commands that write data sets: ``byol shard`` and ``byol tile``."""

import re
from dataclasses import dataclass
from typing import Literal

from BYOL.config.common_fields import output_path, random_seed
from BYOL.config.fields import Settings, setting
from BYOL.errors import SettingsError

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True)
class ShardConfig(Settings):
    """Settings of ``byol shard``."""

    data: str = setting(
        help="Folder of images. Subfolders train and test become separate sets of shards.",
        place="images",
        basic=True,
    )
    out: str = output_path("shards", "Folder of the shards, which must be new or empty.")
    size: str = setting(
        "256MB",
        "Largest size of a shard in KB, MB or GB. Only an image that is larger makes a larger "
        "shard.",
        basic=True,
    )
    format: Literal["tar", "parquet"] = setting(
        "tar",
        "Format of the shards. tar is WebDataset's format, parquet is Hugging Face's.",
        basic=True,
    )
    shuffle: bool = setting(
        True,
        "Store the images in random order instead of class by class. A shuffle buffer of limited "
        "size could not randomize a class-by-class order when the shards are read.",
        basic=True,
    )
    seed: int = random_seed("Random seed of the order.", basic=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bytes < 1:
            raise SettingsError(f"--size={self.size} is not a size: give one such as 256MB or 1GB")

    @property
    def bytes(self) -> int:
        """The size in bytes; 0 if ``size`` is not a size."""
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([KMG]B)", self.size.strip(), re.IGNORECASE)
        return int(float(match[1]) * _UNITS[match[2].upper()]) if match else 0


@dataclass(frozen=True)
class TileConfig(Settings):
    """Settings of ``byol tile``."""

    data: str = setting(
        help="Folder of images of any size and number of channels, or of whole slides.",
        place="images",
        basic=True,
    )
    out: str = output_path(
        "tiles",
        "Folder of the tiles, which must be new or empty. It has the same subfolders as DATA, "
        "and groups.csv, which names the source image of every tile.",
    )
    size: int = setting(
        256, "Side of a tile in pixels. Smaller images are not cut.", low=1, basic=True
    )
    stride: int | None = setting(
        None,
        "Pixels from one tile to the next. The default is --size, so that tiles do not overlap. "
        "The last tile of a row or column is aligned to the edge of the image.",
        low=1,
        basic=True,
    )
    blank: float = setting(
        0.0,
        "Leave out tiles whose channels all have a standard deviation of at most this fraction "
        "of the value range. 0 leaves out tiles of a single value. 0.02 leaves out the empty "
        "background of a slide.",
        low=0,
        high=1,
        basic=True,
    )
    level: int | None = setting(
        None,
        "Level of whole slides and TIFF pyramids to cut. 0 is the full resolution, which is the "
        "default.",
        low=0,
        basic=True,
    )
    mpp: float | None = setting(
        None,
        "Micrometers per pixel of the tiles of whole slides, instead of --level. The nearest finer "
        "level is read and reduced.",
        low=0.001,
        basic=True,
    )
    slice: Literal["middle", "first", "max"] = setting(
        "middle", "Slice of image stacks that is cut, as in byol pretrain."
    )
    frames: Literal["all", "first", "middle"] | None = setting(
        None,
        "Frames of DICOM objects, and slices of volumes and stacks, that are cut, as in byol "
        "pretrain. With all, every one is cut.",
    )
    workers: int | None = setting(
        None,
        "Number of images processed at the same time, each decoded in memory; whole slides and "
        "large TIFFs are read in parts. The default is the number of CPU cores.",
        low=1,
        basic=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.level is not None and self.mpp is not None:
            raise SettingsError(f"--level={self.level} and --mpp={self.mpp:g}: give only one")
