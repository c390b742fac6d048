"""Many processes in a short time: each is a forked child of one that has imported all.

Tests call :func:`run_commands` for commands, and start functions of a module in ``FORKSERVER``.
The forked processes start from a fresh interpreter, because a process that has computed with
several threads cannot be forked safely.
"""

import atexit
import functools
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

# Root may open everything; without these rights, permissions count for root as for all others.
_RIGHTS = "-dac_override,-dac_read_search"

FORKSERVER = multiprocessing.get_context("forkserver")
FORKSERVER.set_forkserver_preload(
    ["BYOL.training.pretrain", "BYOL.cli.main", "timm", "sklearn.neighbors", "tests.conftest"]
)


@dataclass(frozen=True)
class Answer:
    """The exit code of a command, and what it printed on both streams."""

    code: int | None
    shown: str

    @property
    def lines(self) -> list[str]:
        """The lines of the error message."""
        return [line for line in self.shown.splitlines() if line.startswith("byol: ")]

    @property
    def is_one_line(self) -> bool:
        """Whether it ended with exit code 2 and one line, without a traceback."""
        return self.code == 2 and len(self.lines) == 1 and "Traceback" not in self.shown


@dataclass(frozen=True)
class Kill:
    """A signal that a command sends to itself at a certain moment.

    Args:
        signal: its number.
        event: the command is signalled when it opens, renames, creates or removes something in the
            working folder for the ``event``-th time, before this happens.
    """

    signal: int
    event: int


def run_commands(
    commands: Sequence[Sequence[str]],
    folder: Path,
    *,
    kills: Sequence[Kill | None] = (),
    **environment: str,
) -> list[Answer]:
    """Run ``byol`` with each of ``commands`` in ``folder``, one after the other.

    Permissions count, also if the tests are run by root.

    Args:
        commands: words after ``byol``.
        folder: the working folder.
        kills: for each command, the signal that ends it; by default none.
        environment: further variables.
    """
    moments = [kill and (kill.signal, kill.event) for kill in kills] or [None] * len(commands)
    server = _server(tuple(sorted(environment.items())))
    assert server.stdin is not None and server.stdout is not None
    cases = list(zip(map(list, commands), moments, strict=True))
    server.stdin.write(json.dumps([str(folder), cases]) + "\n")
    server.stdin.flush()
    return [Answer(*values) for values in json.loads(server.stdout.readline())]


@functools.cache
def _server(environment: tuple[tuple[str, str], ...]) -> "subprocess.Popen[str]":
    """The process that has imported everything; it ends with this one."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("setpriv")
    prefix = ["setpriv", "--bounding-set", _RIGHTS] if root else []
    server = subprocess.Popen(
        [*prefix, sys.executable, "-m", "tests.forked"],
        env={**os.environ, "PYTHONWARNINGS": "ignore", **dict(environment)},
        cwd=Path(__file__).parent.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    atexit.register(server.kill)
    return server


def _main() -> None:
    from tests.soak.__main__ import import_everything
    from tests.soak.child import Child

    import_everything()
    for line in sys.stdin:
        folder, cases = json.loads(line)
        answers = []
        for words, moment in cases:
            child = Child(lambda w=words, m=moment: _command(w, m), Path(folder))
            answers.append((child.wait(), child.shown))
            child.close()
        print(json.dumps(answers), flush=True)


def _command(words: list[str], moment: tuple[int, int] | None) -> int:
    from BYOL.cli.main import main

    if moment is not None:
        _kill_at(*moment)
    return main(words)


_EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"}


def _kill_at(signal: int, event: int) -> None:
    """Send ``signal`` to this process at the ``event``-th event in its working folder."""
    root, seen = os.getcwd(), 0  # noqa: PTH109

    def hook(name: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if name not in _EVENTS or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        path = os.path.join(root, os.fsdecode(arguments[0]))  # noqa: PTH118
        reads = name == "open" and arguments[1] == "r"
        if path.startswith(root + os.sep) and not reads:
            seen += 1
            if seen == event:
                os.kill(os.getpid(), signal)

    sys.addaudithook(hook)


if __name__ == "__main__":
    _main()
