"""Shards that do not come as they should: asked for again, and then one line."""

import time
from collections.abc import Callable
from typing import TypeVar

from BYOL.errors import LostError, UserError, first_line

_WAITS = (0.5, 2.0, 8.0)  # seconds before a remote read is tried again
_T = TypeVar("_T")


def lost(shard: str, reason: str) -> LostError:
    """What to say of a shard that was there when the run began."""
    return LostError(f"DATA: {shard} cannot be read any more ({reason}): bring it back as it was")


def whole(content: bytes, size: int, shard: str) -> bytes:
    """The content, if it is all that was asked for."""
    if len(content) < size:
        raise lost(shard, "it ends before it did")
    if len(content) > size:
        raise lost(shard, "its server gives all of a file where a part was asked for")
    return content


def tried(read: Callable[[], _T], shard: str, forget: Callable[[], object] = lambda: None) -> _T:
    """What ``read`` gives, after a few more tries if need be: networks have bad moments.

    A shard that is not there, or may not be read, is not asked for again.
    """
    for wait in (*_WAITS, None):
        try:
            return read()
        except Exception as error:  # every file system has errors of its own
            gone = isinstance(error, FileNotFoundError | PermissionError | UserError)
            if wait is None or gone:
                reason = first_line(error)
                raise lost(shard, reason) from error
            forget()
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")
