"""A command in a process of its own, with the results in this one.

Lightning starts the further processes of a run by starting the program again. A notebook, an
interactive session and ``python -c`` cannot be started again; the command line can.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from BYOL.errors import RESUME_CODE, StoppedError, UserError

log = logging.getLogger(__name__)


def can_start_again() -> bool:
    """Return whether this program is a script or a module, which can be started again."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None) or ""
    return file.endswith(".py") and Path(file).is_file()


def run_in_child(command: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Run ``byol COMMAND`` with ``settings`` and return its results; its messages are logged.

    Args:
        command: the name of the command.
        settings: checked settings by name.

    Raises:
        UserError: a mistake, with the message of the command.
        StoppedError: the command stopped early and can be resumed.
    """
    import yaml

    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "settings.yaml"
        file.write_text(yaml.safe_dump(plain), encoding="utf-8")
        argv = [sys.executable, "-m", "BYOL", command, "--config", str(file), "--trust", "--json"]
        code, output = _run(argv)
    return _results(command, code, output)


def _run(argv: list[str]) -> tuple[int, str]:
    """Run ``argv`` and return its exit code and output. Ctrl-C goes to it and is waited for."""
    package = str(Path(__file__).resolve().parents[2])  # of this BYOL, which may not be installed
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    child = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,  # a terminal's Ctrl-C arrives once
    )
    assert child.stderr is not None
    reader = threading.Thread(target=_log_lines, args=(child.stderr,), daemon=True)
    reader.start()
    try:
        assert child.stdout is not None
        output = child.stdout.read()
        child.wait()
    except KeyboardInterrupt:
        child.send_signal(signal.SIGINT)
        child.wait()
        raise
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()
        reader.join()
    return child.returncode, output


def _log_lines(lines: Iterable[str]) -> None:
    for line in lines:
        log.info(line.rstrip("\n"))


def _results(command: str, code: int, output: str) -> dict[str, Any]:
    try:
        results = json.loads(output)
    except ValueError:
        results = {}
    if code == RESUME_CODE:
        raise StoppedError(f'byol {command} stopped early; resume="auto" resumes the run')
    if not isinstance(results, dict) or not results or "error" in results:
        message = results.get("error") if isinstance(results, dict) else None
        raise UserError(message or f"byol {command} ended with exit code {code} and no results")
    return results
