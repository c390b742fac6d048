"""Whether a run's settings were written by this user: a signature with a key that only they have.

The key is a file of 32 random bytes in the user's configuration folder (``$BYOL_CONFIG_HOME``, else
``$XDG_CONFIG_HOME/byol``, else ``~/.config/byol``), readable by nobody else. Hosts that share a
home share the key. Where there is no writable home, in a container say, nothing is signed, and
opening a run asks for DATA or ``--trust``.
"""

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LENGTH = 32  # bytes of a key
_TAG = "# places signed by the user who made this run: "
HOME = "BYOL_CONFIG_HOME"  # environment variable


def key_file() -> Path | None:
    """Where the key of this user lies; None where there is no home."""
    if given := os.environ.get(HOME):
        return Path(given) / "key"
    try:
        base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    except RuntimeError:  # no home is known
        return None
    return Path(base) / "byol" / "key"


def user_key(*, create: bool = False) -> bytes | None:
    """The key of this user.

    Args:
        create: make one where there is none.

    Returns:
        32 bytes; None where there is no key, it cannot be made, or it is not safe: it belongs to
        another user, others may read it, or it is no plain file.
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


def _make_key(path: Path) -> None:
    """Write a new key whole, or leave the key that another process has just made."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".key.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_LENGTH))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)  # fails where another process was first, unlike a rename
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
        about = os.fstat(file.fileno())
        private = True
        if os.name == "posix":
            private = about.st_uid == os.geteuid() and not about.st_mode & 0o077
        if not stat.S_ISREG(about.st_mode) or not private:
            return None
        key = file.read(_LENGTH + 1)
    return key if len(key) == _LENGTH else None


def signature_line(places: Mapping[str, Any], folder: Path) -> str:
    """The comment that says that this user wrote these places into the settings of this folder.

    Args:
        places: names of settings and their values.
        folder: of the run.

    Returns:
        A line of YAML that means nothing to other readers; empty where there is no key.
    """
    key = user_key(create=True)
    return f"{_TAG}{_digest(key, places, folder)}\n" if key else ""


def is_signed(text: str, places: Mapping[str, Any], folder: Path) -> bool:
    """Whether settings hold the signature of this user for these places and this folder.

    Args:
        text: of the file of settings.
        places: names of settings and their values, as the file has them.
        folder: in which the file lies now; a run that was moved or copied is not signed.
    """
    lines = [line for line in text.splitlines() if line.startswith(_TAG)]
    key = user_key() if lines else None
    if key is None:
        return False
    expected = _digest(key, places, folder)
    return hmac.compare_digest(lines[-1].removeprefix(_TAG).strip().encode(), expected.encode())


def _digest(key: bytes, places: Mapping[str, Any], folder: Path) -> str:
    message = json.dumps(
        {"folder": os.path.realpath(folder), "places": dict(places)}, sort_keys=True, default=str
    )
    data = message.encode("utf-8", "surrogatepass")
    return hmac.new(key, data, hashlib.sha256).hexdigest()
