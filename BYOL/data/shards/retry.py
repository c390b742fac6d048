"""Retries of failed reads from shards, and their error messages."""

import time
from collections.abc import Callable
from typing import TypeVar

from BYOL.errors import LostError, UserError, first_line

_RETRY_DELAYS = (0.5, 2.0, 8.0)  # seconds before each retry of a remote read
_T = TypeVar("_T")


def lost_error(shard: str, reason: str) -> LostError:
    """The error for a shard that was available when the run started."""
    return LostError(f"DATA: {shard} cannot be read any more ({reason}): restore it unchanged")


def check_length(content: bytes, size: int, shard: str) -> bytes:
    """Return ``content`` if it has ``size`` bytes.

    Raises:
        LostError: it is shorter or longer.
    """
    if len(content) < size:
        raise lost_error(shard, "it is shorter than before")
    if len(content) > size:
        raise lost_error(shard, "its server sends the whole file instead of the requested part")
    return content


def with_retries(
    read: Callable[[], _T], shard: str, forget: Callable[[], object] = lambda: None
) -> _T:
    """Return the result of ``read``, retried after transient errors.

    Missing and inaccessible shards are not retried.

    Raises:
        LostError: every attempt failed.
    """
    for wait in (*_RETRY_DELAYS, None):
        try:
            return read()
        except Exception as error:  # every file system raises different errors
            permanent = isinstance(error, FileNotFoundError | PermissionError | UserError)
            if wait is None or permanent:
                reason = first_line(error)
                raise lost_error(shard, reason) from error
            forget()
            time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")
