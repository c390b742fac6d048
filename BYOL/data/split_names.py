"""The names of splits, as folders and at the start of the names of shards."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

# In any case; of several, the first counts.
_TRAIN = ("train", "training")
_TEST = ("test", "testing", "val", "valid", "validation")
_LONG = ("training", "testing")  # also words of ordinary classes
# The folders that are looked up before all folders are listed.
TRAIN_SPELLINGS = tuple(
    spelled for name in _TRAIN for spelled in (name, name.capitalize(), name.upper())
)
_LIKE_TRAIN, _LIKE_TEST = (
    re.compile(rf"({'|'.join(names)})([ _.-].*)?", re.IGNORECASE | re.DOTALL)
    for names in (_TRAIN, _TEST)
)


@dataclass(frozen=True)
class SplitFolders:
    """The folders of the splits of a set.

    Args:
        train: of the training images.
        test: of the test images, or None.
        unused: further folders with images.
    """

    train: str
    test: str | None
    unused: tuple[str, ...]


def split_folders(folders: Sequence[str]) -> SplitFolders | None:
    """The splits among ``folders``, the subfolders with images; None if they are classes.

    Without train/ there is no split. If other folders exist next to train/ but no test folder,
    train/ is a class, for example of railway images. So is training/ or testing/ next to folders
    that are no split.
    """
    train, test = _first(folders, _TRAIN), _first(folders, _TEST)
    if train is None:
        return None
    unused = tuple(folder for folder in folders if folder not in (train, test))
    classes = [folder for folder in unused if folder.lower() not in _TRAIN + _TEST]
    long = train.lower() in _LONG or (test or "").lower() in _LONG
    if (unused and test is None) or (classes and long):
        return None
    return SplitFolders(train, test, unused)


def is_test_name(name: str) -> bool:
    """Whether a split called ``name`` holds test images."""
    return name.lower() in _TEST


def classes_remark(classes: Sequence[str]) -> tuple[str, ...]:
    """A line if names of ``classes`` look like those of splits, else nothing."""
    train = next(filter(_LIKE_TRAIN.fullmatch, classes), None)
    test = next(filter(_LIKE_TEST.fullmatch, classes), None)
    if train is None or test is None:
        return ()
    return (
        f"{train}/ and {test}/ are read as classes; call them train/ and test/, without other "
        "folders next to them, if they are splits",
    )


def _first(folders: Sequence[str], names: Sequence[str]) -> str | None:
    """The folder with the first of ``names``, preferably in lower case; None without any."""
    found = [folder for folder in folders if folder.lower() in names]
    rank = {folder: (names.index(folder.lower()), folder != folder.lower()) for folder in found}
    return min(found, key=rank.__getitem__, default=None)
