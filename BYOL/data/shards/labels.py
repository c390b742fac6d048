"""The labels of several shards as one set of classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from BYOL.data.missing_cells import missing_words

NO_LABEL = -1
_MOST_CLASSES = 1 << 20


@dataclass(frozen=True, eq=False)
class ShardLabels:
    """The labels of the images of a shard, or of several.

    Args:
        values: (n,) int64 class of every image, -1 for none.
        classes: the names of the first classes, or of all.
        words: whether the shards hold names instead of numbers, so that equal numbers of two shards
            may be different classes.
        unused: the reason why labels of the shard are not used, or "".
    """

    values: np.ndarray
    classes: tuple[str, ...] = ()
    words: bool = False
    unused: str = ""

    def complete(self) -> np.ndarray | None:
        """The values if every image has one below the limit of :data:`_MOST_CLASSES`, else None."""
        fit = len(self.values) and self.values.min() >= 0 and self.values.max() < _MOST_CLASSES
        return self.values if fit else None

    def problem(self) -> str:
        """The reason why labels of the images are not used; "" if there are none or all are."""
        missing = int((self.values < 0).sum())
        if len(self.values) and self.values.max() >= _MOST_CLASSES:
            return f"the label {self.values.max()} is too large: at most {_MOST_CLASSES:,} classes"
        if missing == len(self.values):
            return self.unused
        return f"{missing:,} of {len(self.values):,} images have none" if missing else ""

    def names(self) -> tuple[str, ...]:
        """One name per class: ``classes``, and the class numbers for all further classes."""
        if self.complete() is None:
            return self.classes
        further = range(len(self.classes), int(self.values.max()) + 1)
        return (*self.classes, *map(str, further))


def labels_of_words(numbers: np.ndarray, words: Sequence[str]) -> ShardLabels:
    """The labels whose names are ``words[number]``; words that mean missing become -1."""
    blank = missing_words(set(words) - {""}) | {""}
    classes = tuple(sorted(set(words) - blank))
    place = {name: i for i, name in enumerate(classes)}
    table = np.array([*(place.get(word, NO_LABEL) for word in words), NO_LABEL], dtype=np.int64)
    return ShardLabels(table[numbers], classes, words=True)  # -1 is the last


def merge_labels(parts: Sequence[ShardLabels]) -> ShardLabels:
    """The labels of all ``parts``: by name if any of them has words, else by number."""
    unused = next((part.unused for part in parts if part.unused), "")
    if not any(part.words for part in parts):
        classes = max((part.classes for part in parts), key=len)
        return ShardLabels(np.concatenate([p.values for p in parts]), classes, unused=unused)
    names = [part.names() for part in parts]
    classes = tuple(sorted({name for part in names for name in part}))
    values = [aligned(p, n, classes) for p, n in zip(parts, names, strict=True)]
    return ShardLabels(np.concatenate(values), classes, words=True, unused=unused)


def aligned(labels: ShardLabels, names: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """The values of ``labels``, which are numbers of ``names``, as numbers of ``classes``."""
    place = {name: i for i, name in enumerate(classes)}
    table = np.array([*(place[name] for name in names), NO_LABEL], dtype=np.int64)
    return table[np.where(labels.values < len(names), labels.values, NO_LABEL)]
