"""Messages on standard error, and a standard error that is closed or full."""

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from BYOL import _console as console
from BYOL import _distributed
from BYOL._console import Progress, SafeStream, show_messages, show_messages_by_default, visible
from BYOL._files import to_json
from BYOL.errors import first_line

log = logging.getLogger("BYOL.somewhere")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    logger, root = logging.getLogger("BYOL"), logging.getLogger()
    before = logger.handlers[:], logger.level, root.handlers[:]
    logger.handlers, logger.level = [], logging.NOTSET
    yield
    logger.handlers, root.handlers = before[0], before[2]
    logger.setLevel(before[1])


def test_messages_are_lines_on_the_present_standard_error(capsys: pytest.CaptureFixture) -> None:
    show_messages()
    show_messages()
    log.info("100 % done")
    log.warning("something")
    log.debug("nothing")
    assert capsys.readouterr().err == "100 % done\nwarning: something\n"


def test_only_the_first_process_shows_more_than_warnings(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    show_messages()
    monkeypatch.setenv("RANK", "1")  # left over from another program: it decides nothing
    log.info("started")
    monkeypatch.setattr(_distributed, "_process", (1, 2))
    log.info("done")
    log.warning("something")
    assert capsys.readouterr().err == "started\nwarning: something\n"


def test_an_application_with_its_own_logging_gets_every_message_once(
    capsys: pytest.CaptureFixture,
) -> None:
    own = logging.StreamHandler(sys.stderr)
    own.setFormatter(logging.Formatter("own: %(message)s"))
    logging.getLogger().handlers = [own]
    show_messages_by_default()
    show_messages()
    log.info("done")
    assert capsys.readouterr().err == "own: done\n"
    logging.getLogger().handlers = []
    show_messages_by_default()
    log.info("done")
    assert capsys.readouterr().err == "done\n"


class _Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")

    def flush(self) -> None:
        raise OSError(28, "No space left on device")


def _closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [_Full(), _closed(), None], ids=["full", "closed", "none"])
def test_a_standard_error_that_takes_nothing_raises_nothing(
    stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    show_messages()
    monkeypatch.setattr(sys, "stderr", stream)
    log.warning("something")
    print("byol: something", file=SafeStream(), flush=True)
    with Progress("training", 10, seconds=0) as progress:
        assert progress.due()
        progress.update(5, "half", "half of it")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux only")
@pytest.mark.parametrize("redirect", ["2>/dev/full", "2>&-"])
def test_a_command_keeps_its_exit_code_without_a_standard_error(redirect: str) -> None:
    command = f"exec {sys.executable} -m BYOL pretrian {redirect}"
    process = subprocess.run(command, shell=True, capture_output=True, env=dict(os.environ))
    assert (process.returncode, process.stdout) == (2, b"")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_appear_above_the_bar_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(console, "_REDRAW", 0.0)
    show_messages()
    with Progress("training", 10) as progress:
        log.warning("something")
        assert progress.due()
        progress.update(5, "7 images/s", "a line that only other outputs get")
    shown = terminal.getvalue()
    assert "warning: something" in shown and "training" in shown and "7 images/s" in shown
    assert "a line" not in shown and sys.stderr is terminal


def test_errors_are_one_line() -> None:
    assert first_line(ValueError("\n  a  fault \nand details")) == "a fault"
    assert first_line(ValueError()) == "ValueError"
    assert first_line(OSError(0, "it is a folder")) == "it is a folder"
    assert first_line(ValueError("x" * 300), 7) == "x" * 7


def test_control_characters_never_reach_the_terminal(capsys: pytest.CaptureFixture) -> None:
    show_messages()
    log.warning("\x1b[31ma\x07.png\x9b is \u202egnp.a")
    assert capsys.readouterr().err == "warning: ?[31ma?.png? is ?gnp.a\n"
    assert visible("a\tb\nc") == "a\tb\nc"
    assert visible("ä±→ \udcff", kept="") == "ä±→ ?"
    assert to_json({"a": "\x9b\u202e\x1b"}) == '{"a": "\\u009b\\u202e\\u001b"}'
