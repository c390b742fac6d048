"""Settings of ``byol runs``."""

from dataclasses import dataclass
from typing import Literal

from BYOL.config.fields import Settings, setting


@dataclass(frozen=True)
class RunsConfig(Settings):
    """Settings of ``byol runs``."""

    folder: str = setting(
        "runs",
        "Folder whose runs are listed, in subfolders of any depth.",
        place="input",
        home=True,
        basic=True,
    )
    sort: Literal["linear", "knn", "time", "name"] = setting(
        "time",
        "Order of the runs. linear and knn put the best accuracy first, then other metrics, time "
        "the latest run, and name sorts by the alphabet.",
        basic=True,
    )
