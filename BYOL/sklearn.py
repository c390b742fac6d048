"""BYOL as a scikit-learn transformer from images to feature vectors."""

import contextlib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from BYOL._console import show_messages
from BYOL._hardware import pick_accelerator, pick_workers, torch_device
from BYOL.config.presets import preset_config, preset_for, preset_values
from BYOL.data.dataset import ArrayImages, FileImages, Images
from BYOL.data.formats.stored import ReadOptions
from BYOL.data.formats.supported import SUFFIXES, ending_of
from BYOL.data.path_table import PathTable
from BYOL.data.sklearn_input import (
    are_paths,
    array_images,
    checked_range,
    checked_settings,
    image_side,
    observed_range,
    plain_images,
    write_training_data,
)
from BYOL.errors import SettingsError, UserError
from BYOL.evaluation.features import extract_features
from BYOL.model.feature_size import feature_size
from BYOL.runs.load import load_backbone
from BYOL.views.config import InputSpec
from BYOL.views.pixel_range import to_uint8

_RUN_SETTINGS = ("epochs", "batch_size")  # arguments that are also settings of a run
# Data types with a fixed value of white.
_KNOWN_RANGES = {"uint8": (0.0, 255.0), "bool": (0.0, 1.0), "uint16": (0.0, 65535.0)}


class BYOLEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Train a backbone on images without labels, then transform images to its features.

    ``make_pipeline(BYOLEmbedder(epochs=20), LogisticRegression())`` is an image classifier.

    Images are an array (n, H, W), (n, H, W, C) or (n, C, H, W), a table (n, pixels) of flattened
    images, or file names: a list, an array, or a column of a table.

    Args:
        run: a result of ``byol pretrain`` or ``byol export``, as for :func:`BYOL.load_backbone`;
            ``fit`` then opens it and does not train.
        backbone: a timm name, or plain5 or plain6.
        preset: digits, small, paper-100, paper-300, paper-1000, or auto, which fits the images.
        epochs: passes over the images; None: the preset's.
        batch_size: images per optimizer step; None: the preset's, limited to the number of images.
        image_shape: of the images in a table: (H, W), (H, W, C) or (C, H, W); one entry may be
            −1. None: square with one channel.
        pixel_range: the values of black and white. None: 0 and 255 for uint8, 0 and 65535 for
            uint16, 0 and 1 for bool and for floats within this range, else the smallest and the
            largest value in ``fit``.
        settings: other settings of a run by name, see :class:`BYOL.config.PretrainConfig`; not
            ``data``, ``out`` and ``preset``.
        out: a new folder for the run; None keeps only the backbone.
        accelerator: cpu, gpu, mps or auto.
        random_state: an int makes all randomness reproducible.
        verbose: print training progress to standard error.

    Attributes:
        backbone_: the trained network, as returned by :func:`BYOL.load_backbone`.
        results_: the results of the run (speed, collapse metrics, alarm); empty with ``run``.
        pixel_range_: black and white, as configured or estimated.
    """

    backbone_: Any
    results_: dict[str, Any]
    pixel_range_: tuple[float, float]

    def __init__(
        self,
        run: str | Path | None = None,
        *,
        backbone: str = "plain6",
        preset: str = "auto",
        epochs: int | None = None,
        batch_size: int | None = None,
        image_shape: tuple[int, ...] | None = None,
        pixel_range: tuple[float, float] | None = None,
        settings: dict[str, Any] | None = None,
        out: str | Path | None = None,
        accelerator: str = "auto",
        random_state: Any = None,
        verbose: bool = False,
    ):
        self.run = run
        self.backbone = backbone
        self.preset = preset
        self.epochs = epochs
        self.batch_size = batch_size
        self.image_shape = image_shape
        self.pixel_range = pixel_range
        self.settings = settings
        self.out = out
        self.accelerator = accelerator
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> "BYOLEmbedder":
        """Train on images, or open ``run``.

        Args:
            X: images.
            y: ignored.

        Raises:
            UserError: (a ValueError) there are no images, their shape is unknown, or a setting
                does not fit them.
        """
        for name in ("run", "out"):
            if getattr(self, name) == "":
                raise SettingsError(f"{name} is empty: give a folder, or leave it out")
        images = self._images(X, fitting=True)
        if self.run is not None:
            self.backbone_, self.results_ = load_backbone(self.run), {}
        else:
            self.backbone_, self.results_ = self._trained(images)
        channels, size = len(self.backbone_.transform.mean), self.backbone_.transform.size
        self._n_features_out = feature_size(self.backbone_, channels, size)
        self._check_channels(images)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Transform images to (n, d) float32 features, in order.

        Raises:
            UserError: (a ValueError) the number of channels differs, or a file cannot be read.
        """
        check_is_fitted(self, "backbone_")
        images = self._images(X, fitting=False)
        self._check_channels(images)
        input_spec = self.backbone_.transform
        accelerator = pick_accelerator(self.accelerator)
        try:
            ids, features = extract_features(
                self.backbone_,
                images,
                InputSpec(input_spec.size, input_spec.mean, input_spec.std),
                device=torch_device(accelerator),
                workers=pick_workers(None, accelerator) if len(images) > 256 else 0,
            )
        finally:
            self.backbone_.to("cpu")  # so its pickle opens on any machine
        if len(ids) < len(images):
            unreadable = np.setdiff1d(np.arange(len(images)), ids)
            first = int(unreadable[0])
            raise UserError(f"X[{first}]={images.sample_name(first)} cannot be read")
        return features

    def _images(self, X: Any, *, fitting: bool) -> Images:
        X = plain_images(X)
        if are_paths(X):
            return self._files(X, fitting)
        least = 2 if fitting and self.run is None else 1
        dimensions = X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim
        if dimensions > 2:
            pixels = check_array(X, ensure_2d=False, allow_nd=True, ensure_min_samples=least)
        else:
            pixels = validate_data(self, X, reset=fitting, ensure_min_samples=least)
            pixels = pixels.reshape(len(pixels), *self._shape_of(pixels.shape[1]))
        small = to_uint8(pixels, self._range(pixels, fitting))
        return array_images(small, self._channels(fitting))

    def _channels(self, fitting: bool) -> int | None:
        """The number of channels of images in arrays, if it is known."""
        if fitting:
            return checked_settings(self.settings).get("channels")
        return len(self.backbone_.transform.mean)

    def _shape_of(self, count: int) -> tuple[int, ...]:
        """The shape of one image with ``count`` values in a table."""
        side = round(count**0.5)
        if self.image_shape is None:
            if side * side != count:
                raise UserError(
                    f"X has {count} features, which do not form a square image: pass image_shape"
                )
            return side, side
        try:
            return np.empty(count, dtype=bool).reshape(self.image_shape).shape
        except (ValueError, TypeError) as error:
            raise UserError(
                f"image_shape={self.image_shape} does not fit the {count} features of X"
            ) from error

    def _range(self, pixels: np.ndarray, fitting: bool) -> tuple[float, float]:
        kind = pixels.dtype.name if pixels.dtype.name in _KNOWN_RANGES else "number"
        if fitting:
            self._kind = kind
            known = self.pixel_range if self.pixel_range is not None else _KNOWN_RANGES.get(kind)
            self.pixel_range_ = checked_range(observed_range(pixels) if known is None else known)
        elif self.pixel_range is None and kind != getattr(self, "_kind", kind):
            raise UserError(
                f"X is {pixels.dtype}, but fit received another kind of images: pass the same, or "
                "pixel_range"
            )
        return getattr(self, "pixel_range_", None) or _KNOWN_RANGES.get(kind) or (0.0, 1.0)

    def _files(self, X: Any, fitting: bool) -> FileImages:
        for i, name in enumerate(X):
            if not isinstance(name, str | os.PathLike):
                raise UserError(f"X[{i}]={name!r} is not a file name")
        paths = [Path(os.fspath(path)).expanduser().absolute() for path in X]
        for i, path in enumerate(paths):
            if ending_of(path.name) not in SUFFIXES or not path.is_file():
                raise UserError(f"X[{i}]={path} is not an existing image")
        # During fit, images in files are read in colour.
        channels = 3 if fitting else len(self.backbone_.transform.mean)
        table = PathTable([str(path) for path in paths])
        transform = None if fitting else self.backbone_.transform
        options = ReadOptions(transform.no_data if transform else None)
        deep = transform.pixel_range if transform else None
        return FileImages("X", channels, None, (), Path(), table, pixel_range=deep, options=options)

    def _check_channels(self, images: Images) -> None:
        wanted = len(self.backbone_.transform.mean)
        if isinstance(images, ArrayImages) and images.channels != wanted:
            raise UserError(
                f"X has images of {images.channels} channels; the backbone takes {wanted}"
            )

    def _trained(self, images: Images) -> tuple[Any, dict[str, Any]]:
        from BYOL.training.pretrain import pretrain  # Lightning takes seconds to import

        if self.verbose:
            show_messages()
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.nullcontext() if self.verbose else _quiet(),
        ):
            data = write_training_data(images, Path(folder))
            out = Path(self.out) if self.out is not None else Path(folder) / "run"
            config = self._config(data, out, images, image_side(images, data))
            results = pretrain(config)
            return load_backbone(out), results

    def _config(self, data: Path, out: Path, images: Images, side: int | None) -> Any:
        settings = checked_settings(self.settings)
        preset = preset_for(str(data), side) if self.preset == "auto" else self.preset
        values = preset_values(preset)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        changes = {
            "backbone": self.backbone,
            "batch_size": min(values["batch_size"], len(images)),
            "epochs": values["epochs"],
            "knn_every": 0,
            "evaluate": False,
            "report": self.out is not None,  # a folder that is removed needs none
            "seed": int(seed),
            "accelerator": self.accelerator,
            # the axis of an array that holds the channels
            "channels": images.channels if isinstance(images, ArrayImages) else None,
            **{name: v for name in _RUN_SETTINGS if (v := getattr(self, name)) is not None},
            **settings,
            "data": str(data),
            "out": str(out),
        }
        changes.setdefault("checkpoint_every", changes["epochs"])
        return preset_config(preset, **changes)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []  # float32 for any input
        return tags


class _PythonWarnings(logging.Handler):
    """Turns logged warnings into Python warnings, as users of scikit-learn expect them."""

    def emit(self, record: logging.LogRecord) -> None:
        warnings.warn(record.getMessage(), stacklevel=2)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Discard standard error; warnings of the package become Python warnings."""
    logger, handler = logging.getLogger("BYOL"), _PythonWarnings(logging.WARNING)
    logger.addHandler(handler)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.removeHandler(handler)
