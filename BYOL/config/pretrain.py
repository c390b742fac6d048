"""The settings of a run."""

import math
from dataclasses import dataclass

from BYOL.config.data_settings import DataSettings
from BYOL.config.evaluation_settings import EvaluationSettings
from BYOL.config.fields import check_settings
from BYOL.config.model_settings import ModelSettings
from BYOL.config.optimization_settings import OptimizationSettings
from BYOL.config.run_settings import RunSettings
from BYOL.config.validation import (
    check_annotations,
    check_loggers,
    check_numbers,
    check_recipe,
    check_teacher,
    logger_names,
)
from BYOL.config.view_settings import ViewSettings
from BYOL.errors import SettingsError
from BYOL.views.config import InputSpec

# Pixels are from 0 to 1, and networks compute in float32: other numbers are a mistake.
_MOST_MEAN, _LEAST_STD = 1e3, 1e-6


@dataclass(frozen=True)
class PretrainConfig(
    EvaluationSettings, RunSettings, ViewSettings, OptimizationSettings, ModelSettings, DataSettings
):
    """The settings of a run, in six groups. A preset replaces defaults: ``BYOL.config.presets``.

    The groups are base classes. A setting therefore has the same name as a flag, in YAML and in
    Python, and a function that needs one group only can declare that group as its parameter.
    """

    def __post_init__(self) -> None:
        check_settings(self)
        check_annotations(self)
        check_recipe(self.recipe)
        check_teacher(self)
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
        values = self.pixel_range or ()
        if not all(0 < abs(b - a) < math.inf for a, b in zip(values[::2], values[1::2])):  # noqa: B905
            raise SettingsError(
                f"--pixel_range={values} is no range: give the values of black and white"
            )
        check_numbers("mean", self.mean, (-_MOST_MEAN, _MOST_MEAN))
        check_numbers("std", self.std, (_LEAST_STD, _MOST_MEAN))
        if self.resume is True and self.out is None:
            raise SettingsError("--resume needs --out: the folder of the run to resume")

    @property
    def specified(self) -> frozenset[str]:
        """The names of the settings that the user has specified; empty if that is unknown."""
        return frozenset(self.recipe.get("specified", ()))

    @property
    def undecided(self) -> bool:
        """Whether the preset is auto and its settings have not been chosen yet."""
        return self.preset == "auto" and "specified" in self.recipe and "facts" not in self.recipe

    @property
    def loggers(self) -> list[str]:
        """The names in ``logger``."""
        return logger_names(self.logger)

    def total_steps(self, images: int) -> int:
        """The number of optimizer steps of the whole run on ``images`` images."""
        return self.limited_steps(images // self.batch_size)

    def limited_steps(self, per_epoch: int) -> int:
        """The same for ``per_epoch`` optimizer steps per epoch."""
        steps = per_epoch * self.epochs
        return steps if self.steps is None else min(steps, self.steps)

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

    @property
    def input_spec(self) -> InputSpec:
        """The size and the normalization of the backbone's input, once they are resolved."""
        assert self.image_size is not None
        assert self.mean is not None
        assert self.std is not None
        return InputSpec(self.image_size, self.mean, self.std)
