"""``byol pretrain`` in another process, which returns its results to this one.

To train on several devices, Lightning runs the present program again in further processes. A
notebook, an interactive session and ``python -c`` cannot be run again; the command line can.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from BYOL.config import PretrainConfig
from BYOL.config.yaml_io import save_config
from BYOL.errors import RESUME_CODE, StoppedError, UserError

log = logging.getLogger(__name__)


def can_start_again() -> bool:
    """Return whether this program is a script or a module, which can be run again."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None) or ""
    return file.endswith(".py") and Path(file).is_file()


def pretrain_in_child(config: PretrainConfig) -> dict[str, Any]:
    """Run ``byol pretrain`` with ``config`` and return its results; its messages are logged.

    Raises:
        UserError: a mistake, with the message of the command.
        StoppedError: the command stopped early and can be resumed.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "settings.yaml"
        save_config(config, file)
        # The settings are those of this program, also where no key can be stored to sign them.
        argv = [sys.executable, "-m", "BYOL", "pretrain", "--config", str(file), "--trust"]
        return _results(*_run([*argv, "--json"]))


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


def _results(code: int, output: str) -> dict[str, Any]:
    """Return the results in the JSON ``output`` of the command, or raise its error."""
    if code == RESUME_CODE:
        raise StoppedError('byol pretrain stopped early; resume="auto" resumes the run')
    try:
        results: dict[str, Any] = json.loads(output)
    except ValueError:
        results = {"error": f"byol pretrain ended with exit code {code} and without results"}
    if "error" in results:
        raise UserError(results["error"])
    return results
