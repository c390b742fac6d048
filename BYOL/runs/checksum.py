"""A checksum inside a checkpoint, so that a damaged one is known before it is used.

``torch.save`` writes a zip archive, and PyTorch does not look at the checksums inside when it
reads one. A zip archive may end with a comment: ours is the SHA-256 of every byte before it, so the
file stays one file and ``torch.load`` still reads it.
"""

import hashlib
from pathlib import Path

from BYOL.errors import UserError

_TAG = b"sha256:"
_LENGTH = len(_TAG) + hashlib.sha256().digest_size * 2
_BLOCK = 1 << 22


def seal(path: Path) -> None:
    """Add the checksum to a zip archive without a comment.

    Args:
        path: changed in place; write it under a temporary name first.
    """
    with path.open("rb+") as file:
        file.seek(-2, 2)
        file.write(_LENGTH.to_bytes(2, "little"))  # the length of the comment to come
        file.seek(0)
        file.write(_TAG + _digest(file, path.stat().st_size))  # the digest leaves us at the end


def check_seal(path: Path) -> None:
    """Make sure that a sealed file is as it was written.

    Raises:
        UserError: not one byte may be missing, added or changed.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        whole = size > _LENGTH and _TAG + _digest(file, size - _LENGTH) == file.read()
    if not whole:
        raise UserError(
            f"checkpoint {path} is damaged: its checksum does not match "
            "(cut short, changed, or not written by this package)"
        )


def _digest(file: object, size: int) -> bytes:
    """Of the next ``size`` bytes, in hexadecimal; the file stands after them then."""
    digest = hashlib.sha256()
    while size > 0:
        block = file.read(min(size, _BLOCK))  # type: ignore[attr-defined]
        if not block:
            break
        digest.update(block)
        size -= len(block)
    return digest.hexdigest().encode()
