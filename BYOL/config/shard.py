"""Settings of ``byol shard``."""

import re
from dataclasses import dataclass

from BYOL.config.validation import SEED, check_settings
from BYOL.errors import UserError

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True)
class ShardConfig:
    """Settings of ``byol shard``.

    Args:
        data: a folder of pictures; train and test in it become shards of their own.
        out: the folder of the shards, new or empty.
        size: of a shard at most, in KB, MB or GB; only a picture that is larger makes a larger one.
        format: tar (as WebDataset's), or parquet (as Hugging Face's).
        shuffle: store the pictures in a random order rather than class by class, which no bounded
            buffer could mend when they are read.
        seed: of that order.
    """

    data: str
    out: str = "shards"
    size: str = "256MB"
    format: str = "tar"
    shuffle: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(self, {"seed": SEED}, {"format": ("tar", "parquet")})
        if self.bytes < 1:
            raise UserError(f"--size={self.size} is not a size: give one such as 256MB or 1GB")

    @property
    def bytes(self) -> int:
        """The size in bytes; 0 where it is none."""
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([KMG]B)", self.size.strip(), re.IGNORECASE)
        return int(float(found[1]) * _UNITS[found[2].upper()]) if found else 0
