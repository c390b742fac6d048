"""Settings of ``byol report``."""

from dataclasses import dataclass
from typing import Literal

from BYOL.config.common_fields import output_path, random_seed
from BYOL.config.fields import Settings, setting
from BYOL.config.shared_help import ACCELERATOR, DATA_ROOT, TRUST


@dataclass(frozen=True)
class ReportConfig(Settings):
    """Settings of ``byol report``."""

    run: list[str] = setting(
        help="Run folder, or several run folders to compare.", place="input", home=True, basic=True
    )
    data: str | None = setting(
        None,
        "Images of the run, if they are no longer where the run read them.",
        place="images",
        basic=True,
    )
    out: str | None = output_path(
        None,
        "HTML file to write. The default is report.html in the run folder, or compare.html for "
        "several runs.",
    )
    pictures: int | None = setting(
        None,
        "Largest number of images of each split to analyse. The default is 5,000 small or 1,000 "
        "large images.",
        low=8,
        basic=True,
    )
    batch_size: int = setting(256, "Images per batch.", low=1)
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = setting("auto", ACCELERATOR, basic=True)
    seed: int = random_seed("Random seed of the query images and of the sample of images.")
    data_root: str = setting("~/.cache/byol", DATA_ROOT, place="output")
    trust: bool = setting(False, TRUST)
