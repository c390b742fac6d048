"""Settings of ``byol shard``."""

import re
from dataclasses import dataclass
from typing import Literal

from BYOL.config.fields import Settings, setting
from BYOL.errors import UserError

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True)
class ShardConfig(Settings):
    """Settings of ``byol shard``."""

    data: str = setting(
        help="A folder of pictures; train and test in it become shards of their own.",
        place="images",
        basic=True,
    )
    out: str = setting(
        "shards",
        "The folder of the shards, new or empty.",
        place="output",
        home=True,
        basic=True,
    )
    size: str = setting(
        "256MB",
        "Of a shard at most, in KB, MB or GB; only a picture that is larger makes a larger one.",
        basic=True,
    )
    format: Literal["tar", "parquet"] = setting(
        "tar",
        "Tar (as WebDataset's), or parquet (as Hugging Face's).",
        basic=True,
    )
    shuffle: bool = setting(
        True,
        "Store the pictures in a random order rather than class by class, which no bounded "
        "buffer could mend when they are read.",
        basic=True,
    )
    seed: int = setting(
        0,
        "Of that order.",
        low=0,
        high=2**63 - 1,
        basic=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bytes < 1:
            raise UserError(f"--size={self.size} is not a size: give one such as 256MB or 1GB")

    @property
    def bytes(self) -> int:
        """The size in bytes; 0 where it is none."""
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([KMG]B)", self.size.strip(), re.IGNORECASE)
        return int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
