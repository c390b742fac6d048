"""Names of data: patterns with braces, and what a file from somebody else may name."""

import re
from collections.abc import Iterator

from BYOL.errors import UserError

_MOST = 100_000  # shards
# What a file may name. fsspec knows others that read local files, unpack, or fill in templates.
PROTOCOLS = ("file", "https", "s3", "gs", "gcs", "az", "abfs", "abfss", "hf")
_BRACES = re.compile(r"\{([^{}]*)\}")


def check_named_images(data: str, file: str) -> None:
    """Refuse what a file must not name as images: unusual protocols, and chains of them.

    What the user names on the command line is not checked.

    Args:
        data: the value in the file, in which braces may hide what it means.
        file: how the user named the file, for the message.

    Raises:
        UserError: names the protocol, or the chain.
    """
    for one in (data, *expand_braces(data)):
        if "::" in one:
            raise UserError(f"{file}: its data has a chain (::), which no file may name")
        protocol, colon, _ = one.partition("://")
        if colon and protocol.lower() not in PROTOCOLS:
            raise UserError(
                f"{file}: its data has a protocol that no file may name: it may name a path, or "
                f"one of {', '.join(PROTOCOLS)}"
            )


def expand_braces(pattern: str) -> Iterator[str]:
    """``a{08..10}`` as a08, a09, a10; ``{x,y}`` as x, y; several multiply.

    Raises:
        UserError: more than a hundred thousand.
    """
    for count, one in enumerate(_expanded(pattern)):
        if count == _MOST:
            raise UserError(f"DATA={pattern} means more than {_MOST:,} shards")
        yield one


def _expanded(pattern: str) -> Iterator[str]:
    for braces in _BRACES.finditer(pattern):
        choices = _choices(braces[1])
        if choices is not None:
            head, tail = pattern[: braces.start()], pattern[braces.end() :]
            for choice in choices:
                for rest in _expanded(tail):
                    yield head + choice + rest
            return
    yield pattern


def _choices(inside: str) -> Iterator[str] | None:
    numbers = re.fullmatch(r"(\d+)\.\.(\d+)", inside)
    if numbers:
        first, last = int(numbers[1]), int(numbers[2])
        width = len(numbers[1]) if numbers[1].startswith("0") or last < first else 0
        step = 1 if last >= first else -1
        return (f"{i:0{width}d}" for i in range(first, last + step, step))
    return iter(inside.split(",")) if "," in inside else None
