"""From what the user said to sets of pictures: digits, folders, lists, arrays, named sets."""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from BYOL.data.decode import MODES, SUFFIXES, Encoded, image_size, is_grey
from BYOL.data.images import ArrayImages, FileImages, Images
from BYOL.data.listed import first_listed, inside, read_list
from BYOL.data.paths import PathTable
from BYOL.data.shards.patterns import is_sharded
from BYOL.data.shards.streamed import first_pictures, open_streamed
from BYOL.data.walking import class_folders, first_files, walk
from BYOL.errors import UserError

NAMED = ("digits", "cifar10", "cifar100", "stl10")
PROBED = 64  # files whose headers tell the channels of a folder
LOOKED_AT = 16  # files whose headers tell the size of all
TEST_FOLDERS = ("test", "val", "valid", "validation")


@dataclass(frozen=True)
class Splits:
    """Pictures to learn from, and labelled ones held out where there are any.

    Args:
        train: learnt from, without their labels.
        test: never learnt from, or None.
        labelled: labelled training pictures, where they are others than ``train`` (STL-10).
    """

    train: Images
    test: Images | None = None
    labelled: Images | None = None


def open_images(
    data: str | None, *, channels: int | None = None, data_root: str = "~/.cache/byol"
) -> Splits:
    """Open a data set.

    Args:
        data: None or "digits", "cifar10", "cifar100", "stl10", a folder, a .txt file with the path
            of a picture on each line, an .npz or .npy file, or shards (see
            :func:`BYOL.data.shards.patterns.find_shards`).
        channels: 1, 3 or 4 for a folder or shards; what an array has otherwise. None: found out.
        data_root: where torchvision's sets lie or are downloaded to, and indices of shards.

    Raises:
        UserError: nothing there, or nothing that is a picture.
    """
    if data is None or data == "digits":
        return _digits()
    if is_sharded(data):
        return _shards(data, channels, Path(data_root).expanduser() / "shards")
    path = Path(data).expanduser()
    listed = path.suffix == ".txt" and path.is_file()
    if listed or path.is_dir():
        _check_channels(channels)
        return _list(path, channels) if listed else _folder(path, channels)
    if path.suffix in (".npz", ".npy"):
        return _arrays(path)
    if data in NAMED:
        return _torchvision(data, Path(data_root).expanduser())
    near = difflib.get_close_matches(data, NAMED, n=1, cutoff=0.7)
    hint = f"; did you mean {near[0]}?" if near else ""
    kind = "is a file, not a folder of pictures" if path.exists() else "is not there"
    raise UserError(
        f"DATA={data} {kind}: give a folder, a .txt list, an .npz or .npy file, .tar or .parquet "
        f"shards, or one of {', '.join(NAMED)}{hint}"
    )


def common_side(data: str | None) -> int | None:
    """The longer side in pixels of the pictures, if a look at a few says it is the same for all.

    Cheap: a few headers, never pixels. None where it differs or nothing is there.
    """
    if data is None or data == "digits":
        return 16
    if data in NAMED and not Path(data).exists():
        return 96 if data == "stl10" else 32
    if is_sharded(data):
        return _one_side(map(image_size, first_pictures(data, LOOKED_AT)))
    path = Path(data).expanduser()
    if path.suffix == ".npy" and path.is_file():
        try:
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
            return max(shape[1:3] if len(shape) == 3 or _channels_stand_last(shape) else shape[2:4])
        except (OSError, ValueError, IndexError):
            return None
    if path.suffix == ".npz" and path.is_file():
        return max(_arrays(path).train.read(0).shape[-2:])
    if path.suffix == ".txt" and path.is_file():
        return _one_side(map(image_size, first_listed(path, LOOKED_AT)))
    if not path.is_dir():
        return None
    return _one_side(map(image_size, first_files(path, LOOKED_AT)))


def _one_side(found: Iterable[tuple[int, int] | None]) -> int | None:
    sizes = set(found) - {None}
    return max(sizes.pop() or (0,)) if len(sizes) == 1 else None


def _digits() -> Splits:
    """scikit-learn's 1,797 handwritten digits, 8×8, enlarged to 16×16; a fifth held out."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    small = torch.from_numpy(digits.images).float()[:, None] * (255 / 16)
    large = torch.nn.functional.interpolate(small, (16, 16), mode="bicubic")
    data = large.clamp(0, 255).round().byte()
    labels = digits.target.astype(np.int64)
    train, test = train_test_split(
        np.arange(len(data)), test_size=0.2, stratify=labels, random_state=0
    )
    names = tuple(str(i) for i in range(10))
    whole = ArrayImages("digits", 1, labels, names, data)
    return Splits(whole.subset(np.sort(train)), whole.subset(np.sort(test)))


def _torchvision(name: str, root: Path) -> Splits:
    import torchvision.datasets as sets

    classes: Any = {"cifar10": sets.CIFAR10, "cifar100": sets.CIFAR100, "stl10": sets.STL10}[name]

    def opened(**split: Any) -> ArrayImages:
        try:
            found = classes(str(root), download=True, **split)
        except Exception as error:
            raise UserError(
                f"DATA={name} is not in --data_root={root} and cannot be downloaded "
                f"({type(error).__name__}); copy it there, or check the network"
            ) from error
        pixels = np.asarray(found.data)
        pixels = pixels if pixels.shape[1] == 3 else pixels.transpose(0, 3, 1, 2)
        labels = np.asarray(getattr(found, "targets", getattr(found, "labels", None)))
        known = labels.astype(np.int64) if (labels >= 0).all() else None
        data = torch.from_numpy(np.ascontiguousarray(pixels))
        return ArrayImages(name, 3, known, tuple(found.classes), data)

    if name == "stl10":
        return Splits(opened(split="unlabeled"), opened(split="test"), opened(split="train"))
    return Splits(opened(train=True), opened(train=False))


def _arrays(path: Path) -> Splits:
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = {"images": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise UserError(f"DATA={path} cannot be read as arrays: {error}") from error
    train = _first_of(arrays, "images", "x_train", "train_images", "x", "data")
    if train is None:
        keys = ", ".join(arrays) or "nothing"
        raise UserError(f"DATA={path} has no images: it holds {keys}; name them images or x_train")
    labels = _first_of(arrays, "labels", "y_train", "train_labels", "y")
    test = _first_of(arrays, "test_images", "x_test")
    test_labels = _first_of(arrays, "test_labels", "y_test")
    opened = _array_images(path, train, labels)
    return Splits(opened, None if test is None else _array_images(path, test, test_labels))


def _first_of(arrays: dict[str, np.ndarray], *names: str) -> np.ndarray | None:
    return next((arrays[name] for name in names if name in arrays), None)


def _array_images(path: Path, pixels: np.ndarray, labels: np.ndarray | None) -> ArrayImages:
    shape = pixels.shape
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    if pixels.ndim != 4 or 0 in shape:
        raise UserError(
            f"DATA={path} has images of shape {shape}: give (n, height, width), "
            "(n, height, width, channels) or (n, channels, height, width)"
        )
    if _channels_stand_last(pixels.shape):
        pixels = pixels.transpose(0, 3, 1, 2)
    data = torch.from_numpy(np.ascontiguousarray(_eight_bits(path, pixels)))
    if labels is None:
        return ArrayImages(path.stem, data.shape[1], None, (), data)
    labels = np.asarray(labels).reshape(-1)
    if len(labels) != len(data):
        raise UserError(f"DATA={path} has {len(data)} images but {len(labels)} labels")
    classes, numbers = np.unique(labels, return_inverse=True)
    names = tuple(str(c) for c in classes)
    return ArrayImages(path.stem, data.shape[1], numbers.astype(np.int64), names, data)


def _channels_stand_last(shape: tuple[int, ...]) -> bool:
    """Whether four axes are (n, h, w, c) and not (n, c, h, w): channels are fewer than pixels."""
    return shape[1] > shape[3]


def _eight_bits(path: Path, pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * 255
    if pixels.dtype == np.uint16:
        return (pixels / 257).round().astype(np.uint8)
    if np.issubdtype(pixels.dtype, np.floating) and pixels.min() >= 0 and pixels.max() <= 1:
        return (pixels * 255).round().astype(np.uint8)
    raise UserError(
        f"DATA={path} has images of {pixels.dtype} from {pixels.min()} to {pixels.max()}: "
        "give uint8, uint16, bool, or floats in [0, 1]"
    )


def _shards(data: str, channels: int | None, cache: Path) -> Splits:
    _check_channels(channels)
    train, test = open_streamed(data, cache)
    channels = channels or seen_channels(train.encoded(i) for i in train.probes(PROBED))
    train = replace(train, channels=channels)
    return Splits(train, replace(test, channels=channels) if test else None)


def _check_channels(channels: int | None) -> None:
    if channels is not None and channels not in MODES:
        raise UserError(f"--channels={channels} is not for encoded pictures: give 1, 3 or 4")


def _folder(root: Path, channels: int | None) -> Splits:
    def part(name: str) -> PathTable | None:
        return _walked(root / name) if (root / name).is_dir() else None

    splits = _parts(root, root.name, channels, part)
    return splits or Splits(_files(root, _walked(root), channels, root.resolve().name))


def _list(path: Path, channels: int | None) -> Splits:
    """As of a folder that has nothing in it but the pictures of the list."""
    root, files = read_list(path)
    if not any((root / files[i]).exists() for i in spread(len(files), PROBED)):
        raise UserError(
            f"DATA={path}: there is no {root / files[0]}; paths in it are relative to its folder"
        )
    splits = _parts(root, path.stem, channels, lambda name: inside(files, name) or None)
    return splits or Splits(_files(root, files, channels, path.stem))


def _parts(
    root: Path, name: str, channels: int | None, part: Callable[[str], PathTable | None]
) -> Splits | None:
    """What is in train/ and the first of the test folders; None without train/.

    Args:
        root: the folder of both.
        name: of the set.
        channels: as told, or None.
        part: the pictures of one of its folders, or None where there is no such folder.
    """
    learnt = part("train")
    if learnt is None:
        return None
    train = _files(root / "train", learnt, channels, name)
    for folder in TEST_FOLDERS:
        if (held := part(folder)) is not None:
            test = _files(root / folder, held, train.channels, name, train.classes)
            return Splits(train, test)
    return Splits(train)


def _walked(root: Path) -> PathTable:
    files = walk(root)
    if not len(files):
        raise UserError(
            f"DATA={root} has no pictures in it: looked for {', '.join(sorted(SUFFIXES))}"
        )
    return files


def _files(
    root: Path, files: PathTable, channels: int | None, name: str, classes: tuple[str, ...] = ()
) -> FileImages:
    labels, names = class_folders(files, classes)
    probed = (root / files[i] for i in spread(len(files), PROBED))
    return FileImages(name, channels or seen_channels(probed), labels, names, root, files)


def seen_channels(probed: Iterable[Encoded]) -> int:
    """1 where every picture looked at is grey, else 3."""
    grey = [is_grey(picture) for picture in probed]
    return 1 if any(grey) and all(found in (True, None) for found in grey) else 3


def spread(n: int, most: int) -> list[int]:
    """At most so many places of 0 … n-1, evenly."""
    return sorted({i * n // most for i in range(min(n, most))} if n > most else set(range(n)))
