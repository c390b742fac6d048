"""Labels in NumPy arrays: one class per image, columns of tags, or values."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from BYOL.data.encode_labels import (
    LARGEST,
    MAGNITUDES,
    SMALLEST,
    Labels,
    encode_switches,
    is_switch,
)
from BYOL.data.missing_cells import UNKNOWN, doubtful_names, missing_remarks, missing_words
from BYOL.errors import DataError


@dataclass(frozen=True, eq=False)
class ArrayLabels:
    """The labels of several splits, which have the same names.

    Args:
        names: the names of the classes, tags or values.
        parts: for each split the encoded labels of the images with a known label, and a mask (n,)
            of these images; None for a split without labels.
        remarks: one line for each property of the labels that users may not expect.
    """

    names: tuple[str, ...]
    parts: tuple[tuple[np.ndarray, np.ndarray] | None, ...]
    remarks: tuple[str, ...]


def encode_arrays(argument: str, arrays: Sequence[np.ndarray | None]) -> ArrayLabels | None:
    """Encode the labels of several splits.

    (n,) or (n, 1) integers and words are classes, -1 of which is unknown. Fractions are values.
    (n, t) arrays of 0 and 1 are classes where each row has exactly one 1, else tags; other numbers
    are values. NaN is unknown.

    Args:
        argument: the start of every message.
        arrays: the labels of each split; None for a split without labels.

    Returns:
        None if no split has labels.

    Raises:
        UserError: an array has more axes, or is neither numbers nor words.
    """
    present = [_columns(argument, array) for array in arrays if array is not None]
    if not present:
        return None
    if len({array.shape[1] for array in present}) > 1:
        raise DataError(f"{argument} has training and test labels of different columns")
    encoded = _encode(argument, np.concatenate(present))
    places = np.cumsum(encoded.known)  # number of known labels up to each row
    parts: list[tuple[np.ndarray, np.ndarray] | None] = []
    start = 0
    for array in arrays:
        if array is None:
            parts.append(None)
            continue
        rows = slice(start, start + len(array))
        first = int(places[start - 1]) if start else 0
        known = encoded.known[rows]
        parts.append((encoded.values[first : first + int(known.sum())], known))
        start += len(array)
    return ArrayLabels(encoded.names, tuple(parts), encoded.remarks)


def _columns(argument: str, array: np.ndarray) -> np.ndarray:
    """Labels as (n, t) numbers or words."""
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "backslashreplace")
    columns = array[:, None] if array.ndim == 1 else array
    usable = np.issubdtype(array.dtype, np.number) and np.isrealobj(array)
    if columns.ndim != 2 or not columns.shape[1] or not (usable or array.dtype.kind in "bU"):
        raise DataError(
            f"{argument} has labels of {array.dtype} of shape {array.shape}: pass (n,) classes or "
            "(n, t) tags or values"
        )
    return columns


def _encode(argument: str, labels: np.ndarray) -> Labels:
    """Encode (n, t) numbers or words."""
    if labels.dtype.kind == "U":
        if labels.shape[1] > 1:
            raise DataError(f"{argument} has several columns of words as labels: pass one")
        return _words(argument, labels[:, 0])
    values = labels.astype(np.float64)
    names = tuple(map(str, range(labels.shape[1])))
    if labels.shape[1] > 1 and is_switch(values):
        return encode_switches(argument, "auto", names, values)
    known: np.ndarray = np.asarray(np.isfinite(values).all(axis=1))
    unknown = f"{argument}: {int((~known).sum()):,} labels are not finite and are not used"
    remarks = () if known.all() else (unknown,)
    if labels.shape[1] > 1 or (values[known] % 1).any() or not known.any():
        _check_magnitudes(argument, values[known])
        return Labels(values[known], names, known, remarks)
    whole = labels[known, 0] if labels.dtype.kind in "bui" else values[known, 0].astype(np.int64)
    classes = _classes(argument, whole)
    known[known] = classes.known
    return Labels(classes.values, classes.names, known, (*remarks, *classes.remarks))


def _words(argument: str, labels: np.ndarray) -> Labels:
    """Classes from (n,) words, of which some mean missing (:mod:`BYOL.data.missing_cells`)."""
    found, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    count_of = dict(zip(found.tolist(), counts.tolist(), strict=True))
    blank = missing_words(set(count_of) - {""}) | {""}
    kept = np.array([word not in blank for word in count_of], dtype=bool)
    known = kept[numbers]
    missing = Counter({word: count for word, count in count_of.items() if word in blank})
    names = Counter({word: count_of[word] for word in doubtful_names(count_of.keys() - blank)})
    remarks = missing_remarks(argument, missing, names, len(labels))
    values = (np.cumsum(kept) - 1)[numbers[known]]
    return Labels(values.astype(np.int64), tuple(found[kept].tolist()), known, remarks)


def _check_magnitudes(argument: str, values: np.ndarray) -> None:
    sizes = np.abs(values[values != 0])
    if len(bad := sizes[(sizes < SMALLEST) | (sizes > LARGEST)]):
        raise DataError(f"{argument} has the label {bad[0]:g}: {MAGNITUDES}")


def _classes(argument: str, labels: np.ndarray) -> Labels:
    """Classes from (n,) integers; -1 is unknown where two other classes remain."""
    found = np.unique(labels)
    known = np.ones(len(labels), dtype=bool)
    remarks: tuple[str, ...] = ()
    if labels.dtype.kind == "i" and found[0] == UNKNOWN and len(found) > 2:
        known = labels != UNKNOWN
        count = f"{int((~known).sum()):,} of {len(known):,}"
        remarks = (f"{argument}: -1 is read as an unknown class ({count} labels)",)
    names, numbers = np.unique(labels[known], return_inverse=True)
    return Labels(numbers.astype(np.int64), tuple(map(str, names)), known, remarks)
