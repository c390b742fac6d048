"""Whether the Hugging Face hub can be reached, decided within seconds."""

import socket
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from BYOL.errors import first_line

_SECONDS = 5.0  # for the connection; the search for the address has a few more
_problem: str | None = None  # of this process; empty if there is none


def hub_problem() -> str | None:
    """The reason why the hub cannot be reached; None if it can, or if a proxy is to be used.

    ``huggingface_hub`` repeats every request for half a minute. So one connection is tried first,
    once per process, and if it fails, the library is set to its offline mode: it uses the files in
    its cache, and otherwise fails at once.
    """
    global _problem
    from huggingface_hub import constants

    if _problem is None:
        if constants.HF_HUB_OFFLINE:
            return "HF_HUB_OFFLINE is set"
        _problem = _connection_problem(constants.ENDPOINT)
        if _problem:
            constants.HF_HUB_OFFLINE = True
    return _problem or None


def _connection_problem(endpoint: str) -> str:
    """The reason why no connection to the URL ``endpoint`` is made; empty if one is made."""
    url = urlsplit(endpoint)
    if {url.scheme, "all"} & getproxies().keys() and not proxy_bypass(url.hostname or ""):
        return ""  # the proxy connects
    port = url.port or (80 if url.scheme == "http" else 443)
    problems = [f"no answer from {url.hostname}"]

    def connect() -> None:
        try:
            socket.create_connection((url.hostname or "", port), timeout=_SECONDS).close()
            problems[0] = ""
        except OSError as error:
            problems[0] = f"no connection to {url.hostname}: {error.strerror or first_line(error)}"

    attempt = threading.Thread(target=connect, daemon=True)  # the search for a name has no timeout
    attempt.start()
    attempt.join(2 * _SECONDS)
    return problems[0]
