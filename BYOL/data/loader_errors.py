"""Messages for errors in data loader processes."""

import contextlib
from collections.abc import Iterator

from BYOL.errors import DataError, UserError


@contextlib.contextmanager
def concise_loader_errors(advice: str = "") -> Iterator[None]:
    """Turn errors of data loader processes in the block into one line.

    Args:
        advice: what users can do if a process has died.

    Raises:
        UserError: a process died or raised a UserError.
    """
    try:
        yield
    except UserError as error:
        raise DataError(loader_message(error)) from error
    except RuntimeError as error:
        if not loader_died(error):
            raise
        line = "a loader process died, often because memory ran out"
        raise DataError(f"{line}{advice and f': {advice}'}") from error


def loader_message(error: UserError) -> str:
    """The message of ``error``; from a loader process, the last line of its traceback."""
    text = str(error)
    if "in DataLoader worker" not in text:
        return text
    return text.strip().splitlines()[-1].split(f"{type(error).__name__}: ")[-1]


def loader_died(error: Exception) -> bool:
    """Whether ``error`` is PyTorch's error about a loader process that was killed."""
    text = str(error)
    return "DataLoader worker" in text and ("killed" in text or "exited" in text)
