"""BYOL as a scikit-learn transformer: pictures in, feature vectors out."""

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

from BYOL._bit_depth import eight_bits
from BYOL._console import show_messages
from BYOL._hardware import pick_accelerator, pick_workers, torch_device
from BYOL.config.presets import preset_config, preset_for, preset_values
from BYOL.data.dataset import ArrayImages, FileImages, Images
from BYOL.data.formats.supported import SUFFIXES
from BYOL.data.path_table import PathTable
from BYOL.data.python_input import are_paths, array_images, lay_out, range_seen, side_of
from BYOL.errors import UserError
from BYOL.evaluation.features import extract_features
from BYOL.model.backbones import feature_size
from BYOL.runs.load import load_backbone
from BYOL.views.config import InputSpec

_OWN = ("epochs", "batch_size")  # arguments that are settings of a run, too
# Integers whose kind says what white is.
_KNOWN_RANGES = {"uint8": (0.0, 255.0), "bool": (0.0, 1.0), "uint16": (0.0, 65535.0)}


class BYOLEmbedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Learn a backbone from pictures without labels, then turn pictures into its features.

    ``make_pipeline(BYOLEmbedder(epochs=20), LogisticRegression())`` is a classifier of pictures.

    Pictures are an array (n, H, W), (n, H, W, C) or (n, C, H, W), a table (n, pixels) of flattened
    pictures, or a list of file names.

    Args:
        run: what ``byol pretrain`` or ``byol export`` made, as for :func:`BYOL.load_backbone`:
            ``fit`` opens it then and trains nothing.
        backbone: a timm name, or plain5 or plain6.
        preset: digits, small, paper-100, paper-300, paper-1000, or auto: what fits the pictures.
        epochs: passes over the pictures; None is the preset's.
        batch_size: pictures per optimizer step; None is the preset's, or all where there are fewer.
        image_shape: of the pictures in a table: (H, W), (H, W, C) or (C, H, W), one of them
            possibly −1. None takes them to be square, with one channel.
        pixel_range: the values of black and white. None: 0 and 255 of uint8, 0 and 65535 of uint16,
            0 and 1 of bool and of floats that lie there, else the least and the largest value that
            ``fit`` has seen.
        settings: any other settings of a run, by name: see :class:`BYOL.config.PretrainConfig`.
        out: a folder to keep the run in, made new; None keeps only the backbone.
        accelerator: cpu, gpu, mps or auto.
        random_state: an int makes everything random repeatable.
        verbose: say on standard error how far the training is.

    Attributes:
        backbone_: the trained network, as :func:`BYOL.load_backbone` gives it.
        results_: what the run found out (speed, gauges, alarm); empty with ``run``.
        pixel_range_: black and white, as given or found.
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
        """Train on pictures; with ``run``, open it.

        Args:
            X: pictures.
            y: not looked at.

        Raises:
            UserError: (a ValueError) no pictures, pictures of unknown shape, or a setting that does
                not fit them.
        """
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
        """Pictures → (n, d) float32 features, in order.

        Raises:
            UserError: (a ValueError) pictures of other channels, or a file that cannot be read.
        """
        check_is_fitted(self, "backbone_")
        images = self._images(X, fitting=False)
        self._check_channels(images)
        show = self.backbone_.transform
        accelerator = pick_accelerator(self.accelerator)
        try:
            ids, features = extract_features(
                self.backbone_,
                images,
                InputSpec(show.size, show.mean, show.std),
                device=torch_device(accelerator),
                workers=pick_workers(None, accelerator) if len(images) > 256 else 0,
            )
        finally:
            self.backbone_.to("cpu")  # a pickle of it opens on any machine
        if len(ids) < len(images):
            lost = np.setdiff1d(np.arange(len(images)), ids)
            raise UserError(f"X[{lost[0]}]={images.sample_name(int(lost[0]))} cannot be read")
        return features

    def _images(self, X: Any, *, fitting: bool) -> Images:
        if are_paths(X):
            return self._files(X, fitting)
        least = 2 if fitting and self.run is None else 1
        dimensions = X.ndim if hasattr(X, "ndim") else np.asarray(X).ndim
        if dimensions > 2:
            pixels = check_array(X, ensure_2d=False, allow_nd=True, ensure_min_samples=least)
        else:
            pixels = validate_data(self, X, reset=fitting, ensure_min_samples=least)
            pixels = pixels.reshape(len(pixels), *self._shape_of(pixels.shape[1]))
        return array_images(eight_bits(pixels, self._range(pixels, fitting)))

    def _shape_of(self, count: int) -> tuple[int, ...]:
        """The shape of one picture of ``count`` numbers in a table."""
        side = round(count**0.5)
        if self.image_shape is None:
            if side * side != count:
                raise UserError(
                    f"X has {count} features, which are no square picture: give image_shape"
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
            self.pixel_range_ = self.pixel_range or _KNOWN_RANGES.get(kind) or range_seen(pixels)
            low, high = self.pixel_range_
            if not low < high:
                raise UserError(f"pixel_range={self.pixel_range_} must be (black, white)")
        elif self.pixel_range is None and kind != getattr(self, "_kind", kind):
            raise UserError(
                f"X is {pixels.dtype}, and fit saw pictures of another kind: give the same, or "
                "pixel_range"
            )
        return getattr(self, "pixel_range_", None) or _KNOWN_RANGES.get(kind) or (0.0, 1.0)

    def _files(self, X: Any, fitting: bool) -> FileImages:
        paths = [Path(os.fspath(path)).expanduser().absolute() for path in X]
        for i, path in enumerate(paths):
            if path.suffix.lower() not in SUFFIXES or not path.is_file():
                raise UserError(f"X[{i}]={path} is not a picture that is there")
        # Until a backbone says otherwise, pictures in files are in colour.
        channels = 3 if fitting else len(self.backbone_.transform.mean)
        table = PathTable([str(path) for path in paths])
        deep = None if fitting else self.backbone_.transform.pixel_range
        return FileImages("X", channels, None, (), Path(), table, pixel_range=deep)

    def _check_channels(self, images: Images) -> None:
        wanted = len(self.backbone_.transform.mean)
        if isinstance(images, ArrayImages) and images.channels != wanted:
            raise UserError(
                f"X has pictures of {images.channels} channels; the backbone takes {wanted}"
            )

    def _trained(self, images: Images) -> tuple[Any, dict[str, Any]]:
        from BYOL.training.pretrain import pretrain  # Lightning takes seconds to import

        if self.verbose:
            show_messages()
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.nullcontext() if self.verbose else _quiet(),
        ):
            data = lay_out(images, Path(folder))
            out = Path(self.out) if self.out is not None else Path(folder) / "run"
            config = self._config(data, out, len(images), side_of(images, data))
            results = pretrain(config)
            return load_backbone(out), results

    def _config(self, data: Path, out: Path, count: int, side: int | None) -> Any:
        preset = preset_for(str(data), side) if self.preset == "auto" else self.preset
        values = preset_values(preset)
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        changes = {
            "backbone": self.backbone,
            "batch_size": min(values["batch_size"], count),
            "epochs": values["epochs"],
            "knn_every": 0,
            "evaluate": False,
            "seed": int(seed),
            "accelerator": self.accelerator,
            **{name: own for name in _OWN if (own := getattr(self, name)) is not None},
            **(self.settings or {}),
            "data": str(data),
            "out": str(out),
        }
        changes.setdefault("checkpoint_every", changes["epochs"])
        return preset_config(preset, **changes)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []  # float32, whatever comes in
        return tags


class _PythonWarnings(logging.Handler):
    """Turns logged warnings into Python warnings, as users of scikit-learn expect them."""

    def emit(self, record: logging.LogRecord) -> None:
        warnings.warn(record.getMessage(), stacklevel=2)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing on standard error; the package's warnings become Python warnings."""
    logger, handler = logging.getLogger("BYOL"), _PythonWarnings(logging.WARNING)
    logger.addHandler(handler)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.removeHandler(handler)
