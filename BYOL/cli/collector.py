"""Imports of a command without the garbage collector."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collector() -> Iterator[None]:
    """Nothing within is searched for garbage, and what it creates is not searched later either.

    Modules are never garbage, but importing torch and scikit-learn creates so many objects that
    searching them takes 0.4 s of processor time. Once torch is imported there is little to gain,
    and a program that calls commands one after the other may have garbage of its own: nothing
    changes then.
    """
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
