"""Signatures that show whether this user wrote the settings of a run, with a private key.

The key is a file of 32 random bytes in the user's configuration folder (``$BYOL_CONFIG_HOME``, or
``$XDG_CONFIG_HOME/byol``, or ``~/.config/byol``), readable by this user only. Hosts that share a
home folder share the key. Without a writable home folder, as in some containers, nothing is signed,
and opening a run requires DATA or ``--trust``.
"""

import contextlib
import functools
import hashlib
import hmac
import json
import logging
import os
import secrets
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
_LENGTH = 32  # bytes of a key
_TAG = "# places signed by the user who made this run: "
HOME = "BYOL_CONFIG_HOME"  # environment variable


def key_file() -> Path | None:
    """The path of the key of this user; None if there is no home folder."""
    if folder := os.environ.get(HOME):
        return Path(folder) / "key"
    try:
        base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    except RuntimeError:  # there is no home folder
        return None
    return Path(base) / "byol" / "key"


def user_key(*, create: bool = False) -> bytes | None:
    """The key of this user.

    Args:
        create: whether to create a key if there is none.

    Returns:
        32 bytes. None if there is no key, if it cannot be created, or if it is not safe: it belongs
        to another user, others may read it, or it is not a plain file.
    """
    path = key_file()
    if path is None:
        return None
    if create and not os.path.lexists(path):
        with contextlib.suppress(OSError):
            _make_key(path)
    try:
        return _read_key(path)
    except OSError:
        return None


@functools.cache  # a command reads the key several times
def _warn_about(path: Path) -> None:
    log.warning(
        "the key that signs your runs is not used, because others may read it: "
        f"chmod 600 {shlex.quote(str(path))}"
    )


def _make_key(path: Path) -> None:
    """Write a new key atomically, unless another process has just written one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".key.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_LENGTH))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # fails if another process was first, unlike a rename
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            if not os.path.lexists(path):
                temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_key(path: Path) -> bytes | None:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            return None
        if os.name == "posix":
            if status.st_uid != os.geteuid():
                return None
            if status.st_mode & 0o077:
                _warn_about(path)
                return None
        key = file.read(_LENGTH + 1)
    return key if len(key) == _LENGTH else None


def signature_line(places: Mapping[str, Any], folder: Path) -> str:
    """The YAML comment with the signature of this user for ``places`` and ``folder``.

    Args:
        places: the settings that name places, by name.
        folder: the run folder.

    Returns:
        A comment line of YAML; empty if there is no key.
    """
    key = user_key(create=True)
    return f"{_TAG}{_digest(key, places, folder)}\n" if key else ""


def is_signed(text: str, places: Mapping[str, Any], folder: Path) -> bool:
    """Whether ``text`` holds the signature of this user for ``places`` and ``folder``.

    Args:
        text: the text of the file of settings.
        places: the settings in the file that name places, by name.
        folder: the present folder of the file. The signature of a moved or copied run is invalid.
    """
    lines = [line for line in text.splitlines() if line.startswith(_TAG)]
    key = user_key() if lines else None
    if key is None:
        return False
    expected = _digest(key, places, folder)
    return hmac.compare_digest(lines[-1].removeprefix(_TAG).strip().encode(), expected.encode())


def signature_of(values: Mapping[str, Any]) -> str | None:
    """The signature of this user for ``values``; None if there is no key."""
    key = user_key(create=True)
    return _hmac(key, values) if key else None


def is_signature_of(signature: str, values: Mapping[str, Any]) -> bool:
    """Whether ``signature`` is that of this user for ``values``."""
    key = user_key()
    return key is not None and hmac.compare_digest(signature.encode(), _hmac(key, values).encode())


def _digest(key: bytes, places: Mapping[str, Any], folder: Path) -> str:
    return _hmac(key, {"folder": os.path.realpath(folder), "places": dict(places)})


def _hmac(key: bytes, values: Mapping[str, Any]) -> str:
    message = json.dumps(dict(values), sort_keys=True, default=str)
    data = message.encode("utf-8", "surrogatepass")
    return hmac.new(key, data, hashlib.sha256).hexdigest()
