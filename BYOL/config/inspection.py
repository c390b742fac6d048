"""Settings of ``byol views`` and ``byol benchmark``: those of a run and one more."""

from dataclasses import dataclass

from BYOL.config.common_fields import input_path
from BYOL.config.fields import setting
from BYOL.config.pretrain import PretrainConfig


@dataclass(frozen=True)
class ViewsConfig(PretrainConfig):
    """Settings of ``byol views``: those of a run. Only those of the views matter."""

    pictures: int = setting(8, "Number of images to show, one per row.", low=1, basic=True)
    values: str | None = input_path(
        "Image file. Instead of writing views, print what each step of decoding does to it: type, "
        "shape, values, share of pixels without data. The channels and the range are those of "
        "DATA, or those of the file alone without DATA."
    )


@dataclass(frozen=True)
class BenchmarkConfig(PretrainConfig):
    """Settings of ``byol benchmark``: those of the run whose speed is measured."""

    seconds: float = setting(
        5.0, "Approximate time in seconds for measuring each stage.", low=0.1, high=3600, basic=True
    )
