"""Settings of the commands that look through a set: duplicates, outliers, search."""

from dataclasses import dataclass

from BYOL.config.commands import PooledFeaturesConfig
from BYOL.config.fields import setting
from BYOL.errors import UserError


@dataclass(frozen=True)
class DuplicatesConfig(PooledFeaturesConfig):
    """Settings of ``byol duplicates``."""

    threshold: float = setting(
        0.7,
        "Cosine of the whitened features from which two pictures are compared pixel by pixel; "
        "higher finds fewer.",
        low=0,
        high=1,
        basic=True,
    )
    out: str = setting(
        "duplicates.csv",
        "The .csv file to write.",
        place="output",
        home=True,
        basic=True,
    )
    grid: str | None = setting(
        None,
        "A .png of the groups; without it, none.",
        place="output",
        home=True,
        basic=True,
    )
    kept: str | None = setting(
        None,
        "A .txt file of all pictures but the surplus ones, to be given as DATA to any "
        "command; without it, none.",
        place="output",
        home=True,
        basic=True,
    )


@dataclass(frozen=True)
class OutliersConfig(PooledFeaturesConfig):
    """Settings of ``byol outliers``."""

    count: int = setting(
        50,
        "How many pictures are listed.",
        low=1,
        basic=True,
    )
    out: str = setting(
        "outliers.csv",
        "The .csv file to write.",
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


@dataclass(frozen=True)
class SearchConfig(PooledFeaturesConfig):
    """Settings of ``byol search``."""

    like: str | None = setting(
        None,
        "What to look for: a picture, a folder of pictures, or a .txt file with the path of "
        "one on each line.",
        place="images",
        basic=True,
    )
    together: bool = setting(
        False,
        "One list for all of these, for several pictures of one thing; without it, a list for "
        "each.",
        basic=True,
    )
    count: int = setting(
        20,
        "How many pictures are listed, for each or for all together.",
        low=1,
        basic=True,
    )
    out: str = setting(
        "search.csv",
        "The .csv file to write.",
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.like:
            raise UserError(
                "--like is missing: give a picture, a folder of pictures or a .txt list"
            )
