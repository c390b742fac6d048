"""Errors of loader processes as one line."""

import contextlib
from collections.abc import Iterator

from BYOL.errors import UserError


@contextlib.contextmanager
def loader_mishaps(advice: str = "") -> Iterator[None]:
    """Turn what can befall loader processes into one line, where there is no run to go on with.

    Args:
        advice: what to do where one has died.

    Raises:
        UserError: one died, or has found a mistake.
    """
    try:
        yield
    except UserError as error:
        raise UserError(loader_message(error)) from error
    except RuntimeError as error:
        if not loader_died(error):
            raise
        line = "a loader process died, often because memory ran out"
        raise UserError(f"{line}{advice and f': {advice}'}") from error


def loader_message(error: UserError) -> str:
    """The message, which a loader process hands on as the last line of its traceback."""
    text = str(error)
    if "in DataLoader worker" not in text:
        return text
    return text.strip().splitlines()[-1].split(f"{type(error).__name__}: ")[-1]


def loader_died(error: Exception) -> bool:
    """Whether this is what PyTorch says of a loader process that was killed."""
    text = str(error)
    return "DataLoader worker" in text and ("killed" in text or "exited" in text)
