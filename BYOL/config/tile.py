"""Settings of ``byol tile``."""

from dataclasses import dataclass

from BYOL.config.fields import Settings, setting


@dataclass(frozen=True)
class TileConfig(Settings):
    """Settings of ``byol tile``."""

    data: str = setting(
        help="A folder of pictures, of any size and number of bands.",
        place="images",
        basic=True,
    )
    out: str = setting(
        "tiles",
        "The folder of the tiles, new or empty. It has the folders that DATA has, and "
        "groups.csv, which says of every tile which picture it is of.",
        place="output",
        home=True,
        basic=True,
    )
    size: int = setting(
        256,
        "Side of a tile in pixels; smaller pictures stay whole.",
        low=1,
        basic=True,
    )
    stride: int | None = setting(
        None,
        "Pixels from one tile to the next; without it size: tiles lie side by side, but for "
        "the last of a row or column, which ends where the picture does.",
        low=1,
        basic=True,
    )
    blank: float = setting(
        0.0,
        "Leave out tiles in which no channel deviates (standard deviation) by more than this "
        "share of the values that there may be: 0 leaves out those of one value, 0.02 the "
        "empty background of a slide.",
        low=0,
        high=1,
        basic=True,
    )
    workers: int | None = setting(
        None,
        "Pictures at a time, each held decoded in memory; without it, one for every core.",
        low=1,
        basic=True,
    )
