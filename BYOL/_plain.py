"""Values of other libraries, such as numbers and arrays of numpy, as plain values of Python."""

import math
import numbers
import os
from typing import Any


def plain(value: Any) -> Any:
    """Return ``value`` with numbers, texts, paths and arrays replaced by plain values of Python.

    Whole numbers become ``int``, other real numbers ``float``, paths and kinds of text ``str``, and
    arrays, tensors and columns of tables lists. Items of lists, tuples and dictionaries are
    replaced too. A value of another kind is returned as it is.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, dict):
        return {plain(name): plain(item) for name, item in value.items()}
    return _listed(value)


def is_number(value: Any) -> bool:
    """Return whether ``value`` is a finite real number and no truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def _listed(value: Any) -> Any:
    tolist = getattr(value, "tolist", None)
    if isinstance(value, type) or not callable(tolist):
        return value
    try:
        listed = tolist()
    except Exception:  # such as a tensor without values
        return value
    return value if type(listed) is type(value) else plain(listed)
