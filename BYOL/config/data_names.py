"""Names of data: patterns with braces, and what a file from another person may name."""

import re
from collections.abc import Iterator

from BYOL.errors import SettingsError

DIGITS = "digits"  # the data set where none is specified
_MOST = 100_000  # shards
# Protocols that a file may name. Others of fsspec read local files, unpack, or fill in templates.
PROTOCOLS = ("file", "https", "s3", "gs", "gcs", "az", "abfs", "abfss", "hf")
ARRAY_SEPARATOR = "::"
_ARRAY = re.compile(r"[^:]+\.(h5|hdf5|hdf|zarr)::[^:]*", re.IGNORECASE)
_BRACES = re.compile(r"\{([^{}]*)\}")


def is_digits(data: str | None) -> bool:
    """Whether DATA is scikit-learn's digits, which are built in even if a folder has that name."""
    return data in (None, DIGITS)


def data_name(data: str | None) -> str:
    """DATA as text: "digits" where nothing is specified."""
    return DIGITS if data is None else data


def check_named_images(data: str, file: str) -> None:
    """Refuse images that a file must not name: unusual protocols, and chains of protocols.

    Images that the user names on the command line are not checked.

    Args:
        data: the value in the file. Its braces are expanded before the check.
        file: how the user named the file, for the message.

    Raises:
        UserError: names the protocol, or the chain.
    """
    for name in (data, *expand_braces(data)):
        if "::" in name and not names_array(name):
            raise SettingsError(
                f"{file}: its data has a chain of protocols (::), which no file may name"
            )
        protocol, colon, _ = name.partition("://")
        if colon and protocol.lower() not in PROTOCOLS:
            raise SettingsError(
                f"{file}: its data has a protocol that no file may name: it may name a path, or "
                f"one of {', '.join(PROTOCOLS)}"
            )


def names_array(data: str) -> bool:
    """Whether ``data`` is an array in a local file, ``FILE.h5::NAME`` or ``FOLDER.zarr::NAME``."""
    return _ARRAY.fullmatch(data) is not None


def expand_braces(pattern: str) -> Iterator[str]:
    """Expand ``a{08..10}`` to a08, a09, a10, and ``{x,y}`` to x, y; several braces multiply.

    Raises:
        UserError: there are more than a hundred thousand names.
    """
    for count, name in enumerate(_expanded(pattern)):
        if count == _MOST:
            raise SettingsError(f"DATA={pattern} means more than {_MOST:,} shards")
        yield name


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
