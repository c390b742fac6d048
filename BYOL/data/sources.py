"""Open a data set: digits, folders, lists, arrays, shards and torchvision's sets."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from BYOL._console import first_of
from BYOL._random import evenly_spaced
from BYOL.data.data_source import DataSource, parse_source, unknown_error
from BYOL.data.dataset import UNLABELLED, EncodedImages, FileImages, Images
from BYOL.data.decode import image_size
from BYOL.data.file_list import first_list_entries, paths_in_folder, read_list, rows_in_folder
from BYOL.data.folder_samples import has_images, sample_files
from BYOL.data.formats.stored import Frames, ReadOptions, Slice
from BYOL.data.frame_images import with_all_frames
from BYOL.data.named_sets import open_digits, open_torchvision
from BYOL.data.numpy_arrays import array_side, open_arrays
from BYOL.data.path_table import PathTable
from BYOL.data.probe import PROBED, probe, with_range, without_parts
from BYOL.data.scan_folder import (
    class_folders,
    no_images_error,
    root_entries,
    scan_folder,
    skip_remarks,
    stray_file,
)
from BYOL.data.shards.dataset import first_shard_images, open_streamed
from BYOL.data.split_names import TRAIN_SPELLINGS, classes_remark, split_folders
from BYOL.errors import DataError
from BYOL.views.pixel_range import PixelRange

SIZE_PROBES = 16  # files whose headers determine the common size


@dataclass(frozen=True)
class Splits:
    """Training images, and labelled test images if there are any.

    Args:
        train: trained on without their labels.
        test: never trained on, or None.
        labelled: labelled training images, if they differ from ``train`` (STL-10).
        pixel_range: the values of black and white for high bit depth.
    """

    train: Images
    test: Images | None = None
    labelled: Images | None = None
    pixel_range: PixelRange | None = None

    @property
    def sets(self) -> dict[str, Images]:
        """``train`` and, if there are test images, ``test``, by name."""
        return {"train": self.train} | ({"test": self.test} if self.test is not None else {})

    @property
    def nameable(self) -> Images:
        """The training images that a file of labels or groups names.

        These are ``labelled`` if they are other images than ``train``, as in STL-10.
        """
        if self.labelled is None or self.labelled.prefix == self.train.prefix:
            return self.train
        return self.labelled


def open_images(
    data: str | DataSource | None,
    *,
    channels: int | None = None,
    pixel_range: PixelRange | None = None,
    data_root: str = "~/.cache/byol",
    no_data: float | None = None,
    slice: Slice = "middle",
    frames: Frames | None = None,
) -> Splits:
    """Open a data set.

    Args:
        data: None or "digits", "cifar10", "cifar100", "stl10", a folder, a .txt file with the path
            of an image on each line, an image, an .npz or .npy file, an array of another file
            (:mod:`BYOL.data.stored_arrays`), or shards (see
            :func:`BYOL.data.shards.urls.find_shards`).
        channels: 1, 3 or 4 for a folder or shards; the band count for TIFFs of many bands; for
            arrays the size of the axis of the channels. None: detected.
        pixel_range: the values of black and white for images that are not 8-bit, one pair or one
            for each channel; None: estimated from some images
            (:class:`BYOL.views.pixel_range.RangeEstimator`).
        data_root: the folder of torchvision's sets and of shard indices.
        no_data: a value that marks pixels without data; None: none but those that files declare.
        slice: see :class:`BYOL.data.formats.stored.ReadOptions`.
        frames: see :class:`BYOL.data.formats.stored.ReadOptions`; "all": every frame and slice is
            an image of its own.

    Raises:
        UserError: ``data`` does not exist or has no images.
    """
    source = parse_source(data)
    root, options = Path(data_root).expanduser(), ReadOptions(no_data, slice, frames)
    if source.kind == "digits":
        return Splits(*open_digits())
    if source.kind == "torchvision":
        return _torchvision(source.text, root)
    if source.kind == "arrays":
        arrays = open_arrays(source.path, pixel_range, channels, no_data)
        return Splits(arrays.train, arrays.test, arrays.labelled, arrays.pixel_range)
    return _with_range(_encoded(source, channels, root / "shards"), pixel_range, options)


def _encoded(source: DataSource, channels: int | None, cache: Path) -> Splits:
    """Open encoded images.

    Raises:
        UserError: ``source`` is of unknown kind, or has no images.
    """
    if source.kind == "shards":
        return _shards(source.text, channels, cache)
    if source.kind == "list":
        return _list(source.path, channels)
    if source.kind == "folder":
        return _folder(source.path, channels)
    if source.kind == "image":
        single = PathTable([os.fsencode(source.path.name)])
        return Splits(_files(source.path.parent, single, channels, source.path.name))
    raise unknown_error(source)


def common_side(data: str | DataSource | None, channels: int | None = None) -> int | None:
    """The longer side of the images in pixels if a few headers show one size, else None.

    No pixels are decoded.

    Args:
        data: see :func:`open_images`.
        channels: the configured number of channels, which shows the axes of an array.
    """
    source = parse_source(data)
    if source.kind == "digits":
        return 16
    if source.kind == "torchvision":
        return 96 if source.text == "stl10" else 32
    if source.kind == "arrays":
        return array_side(source.path, channels)
    if source.kind == "shards":
        return _single_side(map(image_size, first_shard_images(source.text, SIZE_PROBES)))
    if source.kind == "list":
        return _single_side(map(image_size, first_list_entries(source.path, SIZE_PROBES)))
    is_folder = source.kind == "folder"
    probed = sample_files(source.path, SIZE_PROBES) if is_folder else [source.path]
    return _single_side(map(image_size, probed))


def _single_side(sizes: Iterable[tuple[int, int] | None]) -> int | None:
    unique = set(sizes) - {None}
    return max(unique.pop() or (0,)) if len(unique) == 1 else None


def _torchvision(name: str, root: Path) -> Splits:
    labelled = None
    if name != "stl10":
        train, test = (open_torchvision(name, root, train=train) for train in (True, False))
    else:
        parts = ("unlabeled", "test", "train")
        train, test, labelled = (open_torchvision(name, root, split=part) for part in parts)
        labelled = replace(labelled, prefix="labelled/")
    return Splits(replace(train, prefix="train/"), replace(test, prefix="test/"), labelled)


def _shards(data: str, channels: int | None, cache: Path) -> Splits:
    train, test = open_streamed(data, cache)
    some = [train.encoded(i) for i in train.probes(PROBED)]
    channels = channels or probe(some).channels
    train = replace(train, channels=channels)
    return Splits(train, replace(test, channels=channels) if test else None)


def _with_range(splits: Splits, pixel_range: PixelRange | None, options: ReadOptions) -> Splits:
    """Set one range for all images that are not 8-bit, if there are any."""
    train, test = splits.train, splits.test
    assert isinstance(train, EncodedImages)
    if options.frames == "all":
        train = with_all_frames(train) if isinstance(train, FileImages) else train
        test = with_all_frames(test) if isinstance(test, FileImages) else test
    train = with_range(train, pixel_range, options)
    if isinstance(test, EncodedImages):
        test = replace(test, pixel_range=train.pixel_range, options=options)
    return Splits(train, test, pixel_range=train.pixel_range)


def _folder(root: Path, channels: int | None) -> Splits:
    passed: Counter[str] = Counter()

    def part(name: str) -> PathTable | None:
        return _scan(root / name, passed) if (root / name).is_dir() else None

    is_split = any((root / name).is_dir() for name in TRAIN_SPELLINGS)
    entries = sorted(root.iterdir()) if is_split else []
    folders = [
        f.name for f in entries if f.is_dir() and (f.name.lower() == "train" or has_images(f))
    ]
    splits = _open_splits(root, root.name, channels, part, folders)
    if splits is None:
        splits = _without_splits(root, _scan(root, passed), channels, root.resolve().name)
    remarks = (*splits.train.remarks, *skip_remarks(passed))
    return replace(splits, train=replace(splits.train, remarks=remarks))


def _list(path: Path, channels: int | None) -> Splits:
    """Open a list like a folder that contains only the listed images."""
    root, files = read_list(path)
    if not any((root / files[i]).exists() for i in evenly_spaced(len(files), PROBED)):
        raise DataError(
            f"DATA={path}: there is no {root / files[0]}; paths in it are relative to its folder"
        )
    is_split = any(rows_in_folder(files, name) for name in TRAIN_SPELLINGS)
    inner = root_entries(files) if is_split else ()
    folders = [os.fsdecode(name) for name, is_folder, _ in inner if is_folder]

    def part(name: str) -> PathTable | None:
        return paths_in_folder(files, name) or None

    splits = _open_splits(root, path.stem, channels, part, folders)
    return splits or _without_splits(root, files, channels, path.stem)


def _without_splits(root: Path, files: PathTable, channels: int | None, name: str) -> Splits:
    images = _files(root, files, channels, name)
    remarks = (*images.remarks, *classes_remark(images.classes))
    return Splits(replace(images, remarks=remarks))


def _open_splits(
    root: Path,
    name: str,
    channels: int | None,
    part: Callable[[str], PathTable | None],
    folders: Sequence[str],
) -> Splits | None:
    """The splits in train/ and the first test folder; None without them (:func:`split_folders`).

    Args:
        root: the folder of both.
        name: of the set.
        channels: as configured, or None.
        part: returns the images of a subfolder, or None if it does not exist.
        folders: the subfolders of ``root`` that contain images.
    """
    found = split_folders(folders)
    if found is None:
        return None
    train_files = part(found.train)
    assert train_files is not None
    train = _files(root / found.train, train_files, channels, name)
    train = replace(train, prefix=f"{found.train}/")
    if found.unused:
        names = first_of([f"{folder}/" for folder in found.unused])
        line = f"left out, next to {found.train}/: {names}"
        train = replace(train, remarks=(*train.remarks, line))
    test_files = part(found.test) if found.test else None
    if test_files is None or found.test is None:
        return Splits(train)
    test = _files(root / found.test, test_files, train.channels, name, train.classes)
    return Splits(train, replace(test, prefix=f"{found.test}/"))


def _scan(root: Path, passed: "Counter[str]") -> PathTable:
    files = scan_folder(root, passed)
    if not len(files):
        raise no_images_error(root, passed)
    return files


def _files(
    root: Path, files: PathTable, channels: int | None, name: str, classes: tuple[str, ...] = ()
) -> FileImages:
    files, remarks = without_parts(root, files)
    labels, names = class_folders(files, classes)
    probed = [root / files[i] for i in evenly_spaced(len(files), PROBED)]
    stray = stray_file(files) if labels is None else None
    if stray:
        remarks.append(f"{UNLABELLED}{stray} is next to the class folders")
    channels = channels or probe(probed).channels
    return FileImages(name, channels, labels, names, root, files, remarks=tuple(remarks))
