"""Sets of images in one array of an HDF5 file or a Zarr folder: ``DATA=FILE.h5::NAME``."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from BYOL._untrusted import reason_not_to_open
from BYOL.config.data_names import ARRAY_SEPARATOR, names_array
from BYOL.data.dataset import UNLABELLED
from BYOL.errors import DataError, first_line

HDF5 = (".h5", ".hdf5", ".hdf")
_EXTRAS = {"h5py": "hdf5", "zarr": "zarr"}
_LABELS = ("labels", "y_train", "train_labels", "y", "label", "targets")
# Arrays of test images, of which the first that is there counts, and the labels of each.
TEST_ARRAYS = (
    ("test_images", "test_labels"),
    ("x_test", "y_test"),
    ("val_images", "val_labels"),
    ("x_val", "y_val"),
    ("valid_images", "valid_labels"),
    ("x_valid", "y_valid"),
    ("validation_images", "validation_labels"),
    ("x_validation", "y_validation"),
)


@dataclass(frozen=True, eq=False)
class LazyArray:
    """An array that stays in its file; a part is read when it is indexed.

    Args:
        source: of h5py or zarr.
        axes: the order of its axes, of which None is a new one; the first stays the first.
    """

    source: Any
    axes: tuple[int | None, ...]

    @property
    def dtype(self) -> np.dtype:
        """Of the values."""
        return np.dtype(self.source.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """In the order of ``axes``."""
        return tuple(1 if axis is None else self.source.shape[axis] for axis in self.axes)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.axes)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        """A part along the first axis as a numpy array; ``[:, None]`` adds an axis instead."""
        if isinstance(key, tuple) and key == (slice(None), None):
            return LazyArray(self.source, (self.axes[0], None, *self.axes[1:]))
        if isinstance(key, int | np.integer):
            return self[key : key + 1][0]
        values = np.asarray(self.source[key])
        kept = [axis for axis in self.axes if axis is not None]
        values = values.transpose(kept)
        return np.expand_dims(values, tuple(i for i, a in enumerate(self.axes) if a is None))

    def transpose(self, *axes: int) -> "LazyArray":
        """The array with another order of axes; nothing is read."""
        return LazyArray(self.source, tuple(self.axes[axis] for axis in axes))


def stored_array_path(data: str) -> tuple[Path, str] | None:
    """The file and the name of the array of ``FILE.h5::NAME``; None if ``data`` is another kind.

    The name is empty if ``data`` names an HDF5 file alone.
    """
    file, _, name = data.partition(ARRAY_SEPARATOR)
    path = Path(file).expanduser()
    alone = path.suffix.lower() in HDF5 and file == data and "://" not in data
    return (path, name.strip("/")) if alone or names_array(data) else None


def load_stored_arrays(data: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The images, which stay in the file, and the labels next to them.

    Args:
        data: ``FILE.h5::NAME``, or an HDF5 file with a single array of images.

    Returns:
        ``images``, and ``labels`` if the same group has an array of labels of the same length; and
        lines about labels that are not used.

    Raises:
        UserError: the file, the array or the library is missing.
    """
    place = stored_array_path(data)
    assert place is not None
    path, name = place
    if not path.exists():
        raise DataError(f"DATA={data} is not there: there is no {path}")
    if reason := reason_not_to_open(path):
        raise DataError(f"DATA={data}: {path} {reason}: give a file")
    try:
        return _zarr(path, name) if path.suffix.lower() == ".zarr" else _hdf5(path, name)
    except ImportError as error:
        extra = _EXTRAS.get(str(error.name).partition(".")[0], "hdf5")
        raise DataError(f"DATA={data} is read after pip install 'BYOL[{extra}]'") from error
    except DataError:
        raise
    except Exception as error:  # the libraries raise nearly any exception on damaged files
        raise DataError(f"DATA={data} cannot be read: {first_line(error)}") from error


def _hdf5(path: Path, name: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    from BYOL.data.formats.hdf5 import dataset, dataset_names, names_in, open_hdf5

    file = open_hdf5(path)
    if not name:
        names = dataset_names(file)
        if len(names) != 1:
            held = ", ".join(names) or "none of three or more axes"
            raise DataError(f"DATA={path}: name one array, as in {path}::NAME; it has {held}")
        name = names[0]
    beside = names_in(file, name.rpartition("/")[0])
    return _with_labels(name, dataset(file, name), beside, partial(dataset, file, words=True))


def _zarr(folder: Path, name: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    from BYOL.data.formats.zarr_arrays import array_names_in, open_zarr_array

    images = open_zarr_array(folder, name)  # first, because it checks the name
    beside = array_names_in(folder, name.rpartition("/")[0]) if name else []
    return _with_labels(name, images, beside, partial(open_zarr_array, folder, words=True))


def _with_labels(
    name: str, images: Any, beside: Iterable[str], opener: Callable[[str], Any]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The images, the labels next to them, and lines about labels that are not used.

    Args:
        name: of the array of images.
        images: this array.
        beside: the names of all arrays of its group.
        opener: opens an array by its name in the file.
    """
    arrays: dict[str, Any] = {"images": LazyArray(images, tuple(range(images.ndim)))}
    group, slash, own = name.rpartition("/")
    others = {other.lower(): other for other in beside if other != own}
    labels_of = dict(TEST_ARRAYS).get(own.lower())
    left_out = []
    for key in (labels_of,) if labels_of else _LABELS:
        if key not in others:
            continue
        try:
            labels = opener(f"{group}{slash}{others[key]}")
        except ValueError as error:
            left_out.append(f"{others[key]} ({first_line(error)})")
            continue
        if "labels" not in arrays and labels.shape[:1] == images.shape[:1] and labels.ndim < 3:
            arrays["labels"] = _plain(labels[()])
        else:
            left_out.append(f"{others[key]} {tuple(labels.shape)}")
    images_held = f"{own or 'the images'} {tuple(images.shape)}"
    start = "left out, " if "labels" in arrays else f"{UNLABELLED}left out, "
    line = f"{start}next to {images_held}: {', '.join(left_out)}"
    return arrays, (line,) if left_out else ()


def _plain(labels: Any) -> np.ndarray:
    """Labels as numbers or words, which HDF5 gives as Python objects if their lengths vary."""
    values = np.asarray(labels)
    if values.dtype != object:
        return values
    words = [word.decode("utf-8", "backslashreplace") for word in values.ravel().tolist()]
    return np.array(words).reshape(values.shape)
