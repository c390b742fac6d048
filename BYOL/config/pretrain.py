"""The settings of a run."""

import math
from dataclasses import dataclass
from typing import TypeVar

from BYOL.config.data_settings import DataSettings
from BYOL.config.evaluation_settings import EvaluationSettings
from BYOL.config.fields import check_settings, fields_of
from BYOL.config.model_settings import ModelSettings
from BYOL.config.optimization_settings import OptimizationSettings
from BYOL.config.run_settings import RunSettings
from BYOL.config.validation import (
    check_annotations,
    check_loggers,
    check_numbers,
    check_recipe,
    check_teacher,
)
from BYOL.config.view_settings import ViewSettings
from BYOL.errors import SettingsError

# Pixels are from 0 to 1, and networks compute in float32: other numbers are a mistake.
_MOST_MEAN, _LEAST_STD = 1e3, 1e-6

Group = TypeVar("Group")


@dataclass(frozen=True)
class PretrainConfig(
    EvaluationSettings, RunSettings, ViewSettings, OptimizationSettings, ModelSettings, DataSettings
):
    """The settings of a run, in six groups. A preset replaces defaults: ``BYOL.config.presets``.

    The groups are base classes. A setting therefore has the same name as a flag, in YAML and in
    Python, and a function that needs one group only declares that group as its parameter and gets
    it from :meth:`only`, so that few functions hold all settings.
    """

    def __post_init__(self) -> None:
        check_settings(self)
        check_annotations(self.only(DataSettings))
        check_recipe(self.recipe)
        check_teacher(self.only(ModelSettings))
        check_loggers(self.logger)
        if self.batch_size % (self.accumulate * self.devices * self.nodes):
            raise SettingsError(
                f"--batch_size={self.batch_size} does not divide evenly over {self.devices} "
                f"devices × {self.nodes} nodes × {self.accumulate} accumulated parts"
            )
        if self.norm != "bn" and self.pretrained and not self.weights:
            raise SettingsError(
                f"--norm={self.norm} and --pretrained exclude each other: the pretrained weights "
                "need their batch-norms"
            )
        if self.view_predictors == "own" and not (self.small_views or self.cutout_views):
            raise SettingsError(
                "--view_predictors=own needs other kinds of views than the large ones: give "
                "--small_views or --cutout_views"
            )
        if self.view_predictors == "own" and self.predictor == "none":
            raise SettingsError(
                "--view_predictors=own and --predictor=none exclude each other: the identity has "
                "no weights"
            )
        values = self.pixel_range or ()
        if not all(0 < abs(b - a) < math.inf for a, b in zip(values[::2], values[1::2])):  # noqa: B905
            raise SettingsError(
                f"--pixel_range={values} is no range: give the values of black and white"
            )
        check_numbers("mean", self.mean, (-_MOST_MEAN, _MOST_MEAN))
        check_numbers("std", self.std, (_LEAST_STD, _MOST_MEAN))
        if self.resume is True and self.out is None:
            raise SettingsError("--resume needs --out: the folder of the run to resume")

    def only(self, kind: type[Group]) -> Group:
        """The settings that are the fields of the dataclass ``kind``, such as one of the groups."""
        return kind(**{name: getattr(self, name) for name in fields_of(kind)})

    @property
    def micro_batch(self) -> int:
        """The number of images in one forward pass of one process."""
        return self.batch_size // (self.accumulate * self.devices * self.nodes)

    @property
    def view_shape(self) -> tuple[int, int, int, int]:
        """The shape (B, C, S, S) of the views of one process, once image size and channels are
        resolved."""
        assert self.channels is not None
        assert self.image_size is not None
        side = self.view_size or self.image_size
        return self.micro_batch, self.channels, side, side
