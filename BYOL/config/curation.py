"""Settings of the commands that look through a set: duplicates, outliers, search."""

from dataclasses import dataclass

from BYOL.config.commands import POOLS, FeaturesConfig
from BYOL.config.validation import COUNT, check_settings
from BYOL.errors import UserError


@dataclass(frozen=True)
class DuplicatesConfig(FeaturesConfig):
    """Settings of ``byol duplicates``.

    Args:
        threshold: cosine of the whitened features from which two pictures are compared pixel by
            pixel; higher finds fewer.
        out: the .csv file to write.
        grid: a .png of the groups; without it, none.
        kept: a .txt file of all pictures but the surplus ones, to be given as DATA to any command;
            without it, none.
    """

    threshold: float = 0.7
    out: str = "duplicates.csv"
    grid: str | None = None
    kept: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, {"threshold": (0.0, 1.0)}, {"pool": POOLS[:-1]})


@dataclass(frozen=True)
class OutliersConfig(FeaturesConfig):
    """Settings of ``byol outliers``.

    Args:
        count: how many pictures are listed.
        out: the .csv file to write.
        grid: a .png of them; without it, none.
    """

    count: int = 50
    out: str = "outliers.csv"
    grid: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, {"count": COUNT}, {"pool": POOLS[:-1]})


@dataclass(frozen=True)
class SearchConfig(FeaturesConfig):
    """Settings of ``byol search``.

    Args:
        like: what to look for: a picture, a folder of pictures, or a .txt file with the path of one
            on each line.
        together: one list for all of these, for several pictures of one thing; without it, a list
            for each.
        count: how many pictures are listed, for each or for all together.
        out: the .csv file to write.
        grid: a .png of them; without it, none.
    """

    like: str | None = None
    together: bool = False
    count: int = 20
    out: str = "search.csv"
    grid: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_settings(self, {"count": COUNT}, {"pool": POOLS[:-1]})
        if not self.like:
            raise UserError(
                "--like is missing: give a picture, a folder of pictures or a .txt list"
            )
