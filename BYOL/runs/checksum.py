"""A checksum inside a checkpoint, which detects damage before the checkpoint is used.

``torch.save`` writes a zip archive, and PyTorch ignores the checksums in it when it reads one. A
zip archive may end with a comment. Here the comment is the SHA-256 of every byte before it, so
there is one file and ``torch.load`` can still read it.
"""

import hashlib
from pathlib import Path

from BYOL.errors import WeightsError

_TAG = b"sha256:"
_LENGTH = len(_TAG) + hashlib.sha256().digest_size * 2
_BLOCK = 1 << 22


def add_checksum(path: Path) -> None:
    """Add the checksum to a zip archive without a comment.

    Args:
        path: path of the archive, which is changed in place; use a temporary name.
    """
    with path.open("rb+") as file:
        file.seek(-2, 2)
        file.write(_LENGTH.to_bytes(2, "little"))  # the length of the comment
        file.seek(0)
        file.write(_TAG + _digest(file, path.stat().st_size))  # reads up to the end


def check_checksum(path: Path) -> None:
    """Check the checksum of the file at ``path``.

    Raises:
        WeightsError: a byte is missing, added or changed.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        complete = size > _LENGTH and _TAG + _digest(file, size - _LENGTH) == file.read()
    if not complete:
        raise WeightsError(
            f"checkpoint {path} is damaged: its checksum does not match "
            "(cut short, changed, or not written by this package)"
        )


def _digest(file: object, size: int) -> bytes:
    """Read ``size`` bytes from ``file`` and return their digest in hexadecimal."""
    digest = hashlib.sha256()
    while size > 0:
        block = file.read(min(size, _BLOCK))  # type: ignore[attr-defined]
        if not block:
            break
        digest.update(block)
        size -= len(block)
    return digest.hexdigest().encode()
