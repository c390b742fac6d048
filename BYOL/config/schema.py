"""Validation of values that were read from a file, by schemas of pydantic.

A schema is a type, such as a ``TypedDict`` of the types below. Errors name the file and the field.
"""

import functools
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from BYOL._console import printable, visible
from BYOL._untrusted import open_plain
from BYOL.errors import DataError, first_line

LENIENT = ConfigDict(extra="allow")  # files of later versions may have further fields
_LARGEST = 1e100  # arithmetic with larger numbers overflows
_MOST_BYTES = 1 << 26  # of a JSON or CSV file

Number = Annotated[float, Field(strict=True, ge=-_LARGEST, le=_LARGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=0, le=2**53)]
Text = Annotated[str, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]


def validated(schema: Any, values: Any, path: str | Path) -> Any:
    """Return ``values`` if they fit ``schema``.

    Args:
        schema: the type that the values must have.
        values: values of a file.
        path: the file, for the message.

    Raises:
        DataError: it names the first field that does not fit, and its value.
    """
    try:
        return _adapter(schema).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        names = [str(part) for part in first["loc"] if not str(part).startswith(_INTERNAL)]
        field = printable(".".join(names)) or "its content"
        problem = first["msg"][:1].lower() + first["msg"][1:]
        value = "" if first["type"] == "missing" else f" is {printable(repr(first['input']))}"
        raise DataError(f"{path} is damaged: {field}{value}: {problem}") from error


_INTERNAL = ("function-", "dict[", "list[", "nullable", "TypedDict")  # pydantic's parts of a place


@functools.cache
def _adapter(schema: Any) -> "TypeAdapter[Any]":
    return TypeAdapter(schema)


def read_text(path: Path) -> str | None:
    """Return the content of a UTF-8 text file; None if there is no file.

    Raises:
        DataError: it is not a plain file, is larger than any file of a run, or is not text.
    """
    try:
        with open_plain(path, _MOST_BYTES) as file:
            return file.read().decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} cannot be read: it is not text in UTF-8") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or first_line(error)}") from error


def read_json(path: Path, schema: Any) -> Any:
    """Return the values of a JSON file that fit ``schema``; None if there is no file.

    Control characters in its texts are replaced, so that they never reach a terminal.

    Raises:
        DataError: it cannot be read, is not JSON, or does not fit the schema.
    """
    text = read_text(path)
    return None if text is None else parse_json(text, schema, path)


def parse_json(text: str | bytes, schema: Any, path: str | Path) -> Any:
    """As :func:`read_json`, for the content of the file at ``path``."""
    try:
        return validated(schema, _without_controls(json.loads(text)), path)
    except DataError:
        raise
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise DataError(f"{path} is damaged: it is not JSON ({reason.splitlines()[0]})") from error


def _without_controls(values: Any) -> Any:
    if isinstance(values, str):
        return visible(values, kept="")
    if isinstance(values, dict):
        return {visible(name, kept=""): _without_controls(value) for name, value in values.items()}
    if isinstance(values, list):
        return [_without_controls(value) for value in values]
    return values
