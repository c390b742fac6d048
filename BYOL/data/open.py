"""From what the user said to sets of pictures: digits, folders, lists, arrays, named sets."""

import difflib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from BYOL._bit_depth import Range, settled_range
from BYOL._console import first_of
from BYOL._pixels import MODES
from BYOL.data.dataset import UNLABELLED, ArrayImages, EncodedImages, FileImages, Images
from BYOL.data.decode import deep_values, image_size
from BYOL.data.file_list import first_listed, inside, places_inside, read_list
from BYOL.data.formats.supported import SUFFIXES
from BYOL.data.numpy_arrays import array_side, open_arrays
from BYOL.data.path_table import PathTable
from BYOL.data.probe_channels import seen_bands, seen_channels, spread
from BYOL.data.scan_folder import (
    class_folders,
    first_files,
    in_root,
    is_picture,
    remarks_on,
    stray,
    walk,
)
from BYOL.data.shards.dataset import first_pictures, open_streamed
from BYOL.data.shards.urls import is_sharded
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
        pixel_range: the values of black and white, where there are more than 8 bits.
    """

    train: Images
    test: Images | None = None
    labelled: Images | None = None
    pixel_range: Range | None = None


def open_images(
    data: str | None,
    *,
    channels: int | None = None,
    pixel_range: Range | None = None,
    data_root: str = "~/.cache/byol",
) -> Splits:
    """Open a data set.

    Args:
        data: None or "digits", "cifar10", "cifar100", "stl10", a folder, a .txt file with the path
            of a picture on each line, a picture, an .npz or .npy file, or shards (see
            :func:`BYOL.data.shards.urls.find_shards`).
        channels: 1, 3 or 4 for a folder or shards; what an array, or a TIFF of bands, has
            otherwise. None: found out.
        pixel_range: values of black and white in pictures of more than 8 bits; None: settled by a
            look at some of them (:func:`BYOL._bit_depth.settled_range`).
        data_root: where torchvision's sets lie or are downloaded to, and indices of shards.

    Raises:
        UserError: nothing there, or nothing that is a picture.
    """
    if data is None or data == "digits":
        return _digits()
    if is_sharded(data):
        found = _shards(data, channels, Path(data_root).expanduser() / "shards")
        return _with_range(found, pixel_range)
    path = Path(data).expanduser()
    listed = path.suffix == ".txt" and path.is_file()
    if listed or path.is_dir():
        found = _list(path, channels) if listed else _folder(path, channels)
        return _with_range(found, pixel_range)
    if is_picture(os.fsencode(path.name)) and path.is_file():
        alone = PathTable([os.fsencode(path.name)])
        return _with_range(Splits(_files(path.parent, alone, channels, path.name)), pixel_range)
    if path.suffix in (".npz", ".npy"):
        train, test, pixel_range = open_arrays(path, pixel_range)
        return Splits(train, test, pixel_range=pixel_range)
    if data in NAMED:
        return _torchvision(data, Path(data_root).expanduser())
    near = difflib.get_close_matches(data, NAMED, n=1, cutoff=0.7)
    hint = f"; did you mean {near[0]}?" if near else ""
    kind = "is neither a folder nor a picture" if path.exists() else "is not there"
    raise UserError(
        f"DATA={data} {kind}: give a folder, a picture, a .txt list, an .npz or .npy file, .tar or "
        f".parquet shards, or one of {', '.join(NAMED)}{hint}"
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
    if path.suffix in (".npy", ".npz") and path.is_file():
        return array_side(path)
    if path.suffix == ".txt" and path.is_file():
        return _one_side(map(image_size, first_listed(path, LOOKED_AT)))
    looked_at = first_files(path, LOOKED_AT) if path.is_dir() else [path]
    return _one_side(map(image_size, looked_at))


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


def _shards(data: str, channels: int | None, cache: Path) -> Splits:
    train, test = open_streamed(data, cache)
    channels = channels or seen_channels([train.encoded(i) for i in train.probes(PROBED)])
    train = replace(train, channels=channels)
    return Splits(train, replace(test, channels=channels) if test else None)


def _with_range(found: Splits, pixel_range: Range | None) -> Splits:
    """The same files with one range for all that are deeper than 8 bits, if any is."""
    train, test = found.train, found.test
    assert isinstance(train, EncodedImages)
    probed = [train.encoded(i) for i in train.probes(PROBED)]
    bands = seen_bands(probed)
    if train.channels not in ({bands} if bands else MODES):
        accepted = str(bands) if bands else "1, 3 or 4"
        raise UserError(f"--channels={train.channels} is not for these pictures: give {accepted}")
    settled = settled_range(v for one in probed if (v := deep_values(one)) is not None)
    if settled is None:
        return found
    pixel_range = pixel_range or settled
    if isinstance(test, EncodedImages):
        test = replace(test, pixel_range=pixel_range)
    return Splits(replace(train, pixel_range=pixel_range), test, pixel_range=pixel_range)


def _folder(root: Path, channels: int | None) -> Splits:
    passed: Counter[str] = Counter()

    def part(name: str) -> PathTable | None:
        return _walked(root / name, passed) if (root / name).is_dir() else None

    beside = sorted(root.iterdir()) if (root / "train").is_dir() else []
    folders = [f.name for f in beside if f.is_dir() and (f.name == "train" or first_files(f, 1))]
    splits = _parts(root, root.name, channels, part, folders)
    if splits is None:
        splits = Splits(_files(root, _walked(root, passed), channels, root.resolve().name))
    remarks = (*splits.train.remarks, *remarks_on(passed))
    return replace(splits, train=replace(splits.train, remarks=remarks))


def _list(path: Path, channels: int | None) -> Splits:
    """As of a folder that has nothing in it but the pictures of the list."""
    root, files = read_list(path)
    if not any((root / files[i]).exists() for i in spread(len(files), PROBED)):
        raise UserError(
            f"DATA={path}: there is no {root / files[0]}; paths in it are relative to its folder"
        )
    inner = in_root(files) if places_inside(files, "train") else ()
    folders = [os.fsdecode(name) for name, is_folder, _ in inner if is_folder]
    splits = _parts(root, path.stem, channels, lambda name: inside(files, name) or None, folders)
    return splits or Splits(_files(root, files, channels, path.stem))


def _parts(
    root: Path,
    name: str,
    channels: int | None,
    part: Callable[[str], PathTable | None],
    folders: Sequence[str],
) -> Splits | None:
    """What is in train/ and the first of the test folders; None where train/ is no split.

    That is so without train/, and where others with pictures stand beside it but no test folder:
    then it is a class, of railways say.

    Args:
        root: the folder of both.
        name: of the set.
        channels: as told, or None.
        part: the pictures of one of its folders, or None where there is no such folder.
        folders: those of ``root`` with pictures in them.
    """
    held_out = next((folder for folder in TEST_FOLDERS if folder in folders), None)
    others = [folder for folder in folders if folder not in ("train", held_out)]
    if "train" not in folders or (others and held_out is None):
        return None
    learnt = part("train")
    assert learnt is not None
    train = _files(root / "train", learnt, channels, name)
    if others:
        unused = first_of([f"{folder}/" for folder in others])
        train = replace(train, remarks=(*train.remarks, f"left out, beside train/: {unused}"))
    held = part(held_out) if held_out else None
    if held is None or held_out is None:
        return Splits(train)
    return Splits(train, _files(root / held_out, held, train.channels, name, train.classes))


def _walked(root: Path, passed: "Counter[str]") -> PathTable:
    files = walk(root, passed)
    if not len(files):
        raise UserError(
            f"DATA={root} has no pictures in it: looked for {', '.join(sorted(SUFFIXES))}"
        )
    return files


def _files(
    root: Path, files: PathTable, channels: int | None, name: str, classes: tuple[str, ...] = ()
) -> FileImages:
    labels, names = class_folders(files, classes)
    probed = [root / files[i] for i in spread(len(files), PROBED)]
    beside = stray(files) if labels is None else None
    remarks = (f"{UNLABELLED}{beside} lies beside the class folders",) if beside else ()
    channels = channels or seen_channels(probed)
    return FileImages(name, channels, labels, names, root, files, remarks=remarks)
