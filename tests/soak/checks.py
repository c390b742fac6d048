"""What a command has left: exit code, messages, and complete files."""

import csv
import json
import re
import signal
from pathlib import Path

from tests.soak.cases import Case
from tests.soak.faults import Fault

KINDS = ("tracebacks", "wrong exit codes", "half-written files", "lost files", "hangs")
ENDED = (0, 2, 75)
TEMPORARY = re.compile(r"\.byol-.*\.tmp")


def problems(
    case: Case, fault: Fault, folder: Path, code: int, shown: str, before: dict[str, bytes]
) -> list[tuple[str, str]]:
    """Return what is wrong, each as a kind of :data:`KINDS` and a line.

    Args:
        case: the command.
        fault: what has happened to it.
        folder: where it ran.
        code: its exit code; negative for a signal.
        shown: its standard output and error.
        before: the content of the files in the folder before it ran.
    """
    found = []
    if "Traceback" in shown or "Exception ignored" in shown or "Error in sys" in shown:
        found.append(("tracebacks", shown[-1500:]))
    if not _expected(case, fault, code):
        found.append(("wrong exit codes", f"{code}: {shown[-1500:]}"))
    if code == 2 and fault.name not in ("closed stream", "full stream"):
        lines = [line for line in shown.splitlines() if line.startswith("byol: ")]
        if len(lines) != 1:
            found.append(("wrong exit codes", f"{len(lines)} lines for code 2: {shown[-1500:]}"))
    if "\x1b" in shown:
        found.append(("wrong exit codes", f"a control character: {shown[-1500:]!r}"))
    found += [("lost files", line) for line in _lost(case, fault, folder, before)]
    torn = _half_written(case, fault, folder, code, before)
    found += [("half-written files", line) for line in torn]
    return found


def _expected(case: Case, fault: Fault, code: int) -> bool:
    if fault.number is not None:
        allowed = {*ENDED, -fault.number, 128 + fault.number, 130}
        return code in allowed
    if fault.name == "memory" and code == -signal.SIGABRT:
        return True  # a library in C++ ends the process when it gets no memory; LLVM says so
    if case.valid and fault.name in ("none", "clock"):
        return code == 0
    return code in ENDED


def _lost(case: Case, fault: Fault, folder: Path, before: dict[str, bytes]) -> list[str]:
    """Files that existed before and are neither there nor part of the output."""
    lost = []
    for name, content in before.items():
        path = folder / name
        if fault.name == "input" and name.startswith("images/"):
            continue
        if name.split("/")[0] == "trained" and path.name != "notes.txt":
            continue  # resuming replaces its files; their content is checked
        if path.name in ("evaluation.json", "report.html") or TEMPORARY.search(name):
            continue
        if not path.is_file():
            lost.append(f"{name} is gone")
        elif path.read_bytes() != content and name != case.output:
            lost.append(f"{name} has changed")
    return lost


def _half_written(
    case: Case, fault: Fault, folder: Path, code: int, before: dict[str, bytes]
) -> list[str]:
    """Files that cannot be read, and temporary files of a process that was not killed."""
    bad = []
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if TEMPORARY.search(name):
            if fault.number is None and code >= 0 and name not in before:
                bad.append(f"{name} remains")
            continue
        if path.is_file() and name not in before:
            try:
                _read(path)
            except Exception as error:
                bad.append(f"{name}: {type(error).__name__}: {error}")
    for name in before:
        if name.startswith("trained/") and case.valid and (folder / name).is_file():
            try:
                _read(folder / name)
            except Exception as error:
                bad.append(f"{name}: {type(error).__name__}: {error}")
    return bad


def _read(path: Path) -> None:
    """Read a file completely, by its kind."""
    import numpy as np
    import pyarrow.parquet as pq
    from PIL import Image
    from safetensors.torch import load_file

    from BYOL.config import load_config
    from BYOL.runs.checksum import check_checksum

    suffix = path.suffix
    if ".damaged." in path.name:
        return  # a damaged file that a command has kept
    if path.name == "config.yaml":
        load_config(path)
    elif suffix == ".ckpt":
        check_checksum(path)
    elif suffix == ".json":
        json.loads(path.read_text())
    elif suffix == ".npy":
        np.load(path)
    elif suffix == ".parquet":
        pq.read_table(path)
    elif suffix == ".safetensors":
        load_file(path)
    elif suffix == ".png":
        with Image.open(path) as image:
            image.load()
    elif suffix == ".html" and not path.read_text().rstrip().endswith("</html>"):
        raise ValueError("no end")
    elif suffix == ".csv":
        with path.open(newline="", errors="surrogateescape") as file:
            widths = {len(row) for row in csv.reader(file)}
        if path.name != "spectrum.csv" and len(widths) > 1:
            raise ValueError(f"rows of {widths} cells")
