"""Settings of ``byol tile``."""

from dataclasses import dataclass

from BYOL.config.validation import COUNT, SHARE, check_settings


@dataclass(frozen=True)
class TileConfig:
    """Settings of ``byol tile``.

    Args:
        data: a folder of pictures, of any size and number of bands.
        out: the folder of the tiles, new or empty. It has the folders that DATA has, and
            groups.csv, which says of every tile which picture it is of.
        size: side of a tile in pixels; smaller pictures stay whole.
        stride: pixels from one tile to the next; without it size: tiles lie side by side, but for
            the last of a row or column, which ends where the picture does.
        blank: leave out tiles in which no channel deviates (standard deviation) by more than this
            share of the values that there may be: 0 leaves out those of one value, 0.02 the empty
            background of a slide.
        workers: pictures at a time, each held decoded in memory; without it, one for every core.
    """

    data: str
    out: str = "tiles"
    size: int = 256
    stride: int | None = None
    blank: float = 0.0
    workers: int | None = None

    def __post_init__(self) -> None:
        check_settings(self, {"size": COUNT, "stride": COUNT, "blank": SHARE, "workers": COUNT}, {})
