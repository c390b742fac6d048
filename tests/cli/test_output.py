"""Standard streams that are closed, full or broken lose text, never a command's work."""

import errno
import io
import subprocess
import sys

import pytest

from BYOL.cli.main import main
from BYOL.cli.output import BROKEN_PIPE, output_is_needed, print_answer


def shell(redirection: str) -> subprocess.CompletedProcess[str]:
    command = f'{sys.executable} -m BYOL --version {redirection}; echo "code $?" >&3'
    return subprocess.run(
        ["bash", "-c", f"exec 3>&1; {{ {command}; }}"], capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("redirection", "code", "shown"),
    [
        (">/dev/full", 2, "byol: standard output cannot be written: No space left on device\n"),
        (">&-", 0, ""),
        (">&- 2>&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        (">/dev/full 2>/dev/full", 2, ""),
    ],
)
def test_a_stream_that_takes_nothing(redirection: str, code: int, shown: str) -> None:
    done = shell(redirection)
    assert done.stdout == f"code {code}\n"
    assert done.stderr == shown


class _Broken(io.StringIO):
    def __init__(self, number: int):
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, "broken")


@pytest.mark.parametrize(
    ("number", "argv", "code"),
    [
        (errno.EPIPE, ["embed"], BROKEN_PIPE),
        (errno.ENOSPC, ["embed"], 2),
        (errno.ENOSPC, ["pretrain"], 0),
        (errno.EIO, ["pretrain", "--json"], 2),
    ],
)
def test_only_an_answer_that_is_nowhere_else_is_needed(
    monkeypatch: pytest.MonkeyPatch, number: int, argv: list[str], code: int
) -> None:
    monkeypatch.setattr(sys, "stdout", _Broken(number))
    assert print_answer("text", 0, needed=output_is_needed(argv)) == code


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "a\x1b.png"), "a?.png: Permission"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (MemoryError(), "memory ran out"),
        (SystemError("error return without exception set"), "memory ran out"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "memory ran out"),
        (RuntimeError("could not create a primitive"), "memory ran out"),
        (ImportError("/lib/x.so: failed to map segment from shared object"), "memory ran out"),
    ],
)
def test_what_the_machine_lacks_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, line: str
) -> None:
    def fail(config: object) -> None:
        raise error

    monkeypatch.setattr("BYOL.cli.commands.views.views_run", fail)
    assert main(["views", "--out=v.png"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"byol: {line}") and shown.count("\n") == 1


def test_a_fault_of_this_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(config: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("BYOL.cli.commands.views.views_run", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["views", "--out=v.png"])


@pytest.mark.parametrize(
    ("error", "shown"), [("MemoryError", ""), ("StoppedError", ""), ("ValueError", "ValueError: x")]
)
def test_of_errors_that_cannot_be_raised_only_faults_are_printed(error: str, shown: str) -> None:
    program = (
        "from BYOL.cli.main import main\n"
        "from BYOL.errors import StoppedError\n"
        "class Broken:\n"
        f"    def __del__(self): raise {error}('x')\n"
        "main(['--version'])\n"
        "Broken()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.strip().endswith(shown) and bool(done.stderr) == bool(shown)


def test_ctrl_c_that_python_drops_is_repeated() -> None:
    program = (
        "import os, signal, time\n"
        "from BYOL.cli.main import main\n"
        "main(['--version'])\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in a background job
        "os.register_at_fork(after_in_parent=lambda: signal.raise_signal(signal.SIGINT))\n"
        "try:\n"
        "    if not os.fork():\n"
        "        os._exit(0)\n"
        "    time.sleep(100)\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped')\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.stdout.endswith("stopped\n") and not done.stderr
