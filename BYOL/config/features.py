"""Settings of the commands that compute features, and of ``byol embed``."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from BYOL.config.common_fields import output_path
from BYOL.config.fields import Settings, setting
from BYOL.config.shared_help import (
    ACCELERATOR,
    DATA_ROOT,
    LAYER,
    POOL,
    RUN,
    STORED_FEATURES,
    TRUST,
    WORKERS,
)
from BYOL.errors import SettingsError

POOLS = ("auto", "mean", "max", "token", "none")


@dataclass(frozen=True)
class FeaturesConfig(Settings):
    """Settings of every command that computes features."""

    title: ClassVar[str] = "images and features"

    run: str = setting(help=RUN, place="input", home=True, basic=True)
    data: str | None = setting(
        None,
        "Images, or a single image. The default is the data of the run.",
        place="images",
        basic=True,
    )
    layer: str | None = setting(None, LAYER, basic=True)
    pool: Literal["auto", "mean", "max", "token", "none"] = setting(
        "auto",
        "Pooling of a feature map. mean and max pool over positions, token takes the class token "
        "of a transformer, and none keeps a vector for every position (height × width × "
        "features). auto is the mean for a layer, and the pooling of the backbone for its "
        "output.",
        basic=True,
    )
    precision: Literal["fp32", "bf16", "fp16"] = setting(
        "fp32",
        "Numeric precision of the forward pass. With fp32 the features equal those of the "
        "exported weights in other programs. bf16 and fp16 are faster, with deviations of about "
        "one percent.",
    )
    split: Literal["all", "train", "test"] = setting("all", "Split of the data to use.", basic=True)
    batch_size: int = setting(256, "Images per batch.", low=1)
    workers: int | None = setting(None, WORKERS, low=0, basic=True)
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = setting("auto", ACCELERATOR, basic=True)
    data_root: str = setting("~/.cache/byol", DATA_ROOT, place="output")
    trust: bool = setting(False, TRUST)


@dataclass(frozen=True)
class PooledFeaturesConfig(FeaturesConfig):
    """Settings of the commands that need one vector per image."""

    pool: Literal["auto", "mean", "max", "token"] = setting("auto", POOL, basic=True)
    features: str | None = setting(None, STORED_FEATURES, place="input", home=True, basic=True)


@dataclass(frozen=True)
class EmbedConfig(FeaturesConfig):
    """Settings of ``byol embed``."""

    out: str = output_path(
        "embeddings.parquet",
        "File to write (.parquet, .npy or .npz), or a folder for several processes: "
        "embeddings/ or s3://bucket/embeddings. A .parquet file has the columns file, split, "
        "label and embedding, in row groups. A .npy file has only the vectors, for memory "
        "mapping, and their names are in NAME.names.parquet next to it. A .npz file has all of "
        "them as arrays. In a folder every process writes files like the .parquet file, and the "
        "same command computes what is missing.",
    )
    dtype: Literal["float32", "float16"] = setting(
        "float32", "Data type of the stored vectors.", basic=True
    )
    mirror: bool = setting(
        False,
        "Average the features of the image and its mirror image. byol duplicates --features needs "
        "them to find mirrored copies.",
    )
    devices: int = setting(
        1,
        "Number of processes on this machine, each with its own device. Under torchrun the default "
        "is that of torchrun.",
        low=1,
        basic=True,
    )
    nodes: int = setting(1, "Number of machines.", low=1)

    @property
    def specified(self) -> frozenset[str]:
        """The names of ``devices`` and ``nodes`` if they are not 1."""
        return frozenset(name for name in ("devices", "nodes") if getattr(self, name) > 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mirror and self.pool == "none":
            raise SettingsError("--mirror averages one vector per image: omit it with --pool=none")
