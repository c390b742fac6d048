"""Progress lines of slow work."""

import itertools
import time
from pathlib import Path

import pytest

from BYOL import _waiting as waiting_module
from BYOL._waiting import waiting
from BYOL.config import PretrainConfig
from BYOL.data import configured
from BYOL.training import prepare as preparation
from BYOL.training import pretrain as pretraining
from tests.conftest import Lines, draw_images, tiny


def _fail_after(seconds: float) -> None:
    time.sleep(seconds)
    raise ZeroDivisionError


def test_slow_work_says_what_is_done_and_how_long_it_takes(lines: Lines) -> None:
    with waiting("decoding images", 10, first=0.05) as work:
        for _ in range(4):
            work.done += 1
            time.sleep(0.05)
    assert lines() and all(line.startswith("decoding images: ") for line in lines())
    assert " of 10, " in lines()[0] and lines()[0].endswith("s left")


def test_without_memory_for_a_thread_the_work_goes_on(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    for start in (refuse, lambda *_: 0):  # a thread that is not begun, and one that never begins
        monkeypatch.setattr(waiting_module._thread, "start_new_thread", start)
        with waiting("decoding images", first=0.01):
            time.sleep(0.05)
    assert not lines()


def test_no_line_appears_after_the_work(lines: Lines) -> None:
    for _ in range(50):
        with waiting("decoding images", first=0.01):
            time.sleep(0.01)
        seen = len(lines())
        time.sleep(0.002)
        assert len(lines()) == seen


def test_silence_counts_over_several_works(lines: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_module, "_LEAST", 0.05)
    with waiting("loading", first=1.0):
        time.sleep(0.3)
    with waiting("opening", first=1.0):
        time.sleep(0.2)
    assert not lines()
    with waiting("building", first=1.0):
        time.sleep(0.7)
    assert [line.split(":")[0] for line in lines()] == ["building"]
    lines.clear()
    with waiting("measuring", first=1.0):  # the silence ended with the line
        time.sleep(0.1)
    assert not lines()


def test_of_nested_work_only_the_innermost_speaks(lines: Lines) -> None:
    with (
        waiting("opening", first=0.03),
        waiting("decoding", first=0.03),
    ):
        time.sleep(0.2)
    assert lines() and not any(line.startswith("opening") for line in lines())


def test_a_slow_disk_and_a_slow_network_are_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: Lines
) -> None:
    """Every read and every construction is slowed down."""
    images = draw_images(tmp_path / "images", each=6)
    monkeypatch.setattr(waiting_module, "_FIRST", 0.05)
    real_size, real_build = configured.open_configured, pretraining.build_model

    def slow_open(*arguments: object, **settings: object) -> object:
        time.sleep(0.2)
        return real_size(*arguments, **settings)  # type: ignore[arg-type]

    def slow_build(config: PretrainConfig) -> object:
        time.sleep(0.2)
        return real_build(config)

    monkeypatch.setattr(preparation, "open_configured", slow_open)
    monkeypatch.setattr(pretraining, "build_model", slow_build)
    pretraining.pretrain(tiny(images, tmp_path / "run", epochs=1))
    for name in ("opening the images: ", "building the network: "):
        assert any(line.startswith(name) for line in lines()), lines()
    lines.clear()
    pretraining.pretrain(tiny(images, tmp_path / "run", epochs=2, resume=True))
    assert "resumes after step 1 of 2" in lines()


def test_lines_are_close_together_in_the_first_minute_without_a_terminal(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_module, "_CLOSE", 0.5)
    seen: list[float] = []
    with waiting("measuring", first=0.05) as work:
        while time.monotonic() - work.started < 1.6:
            if len(lines()) > len(seen):
                seen.append(time.monotonic() - work.started)
            time.sleep(0.005)
    gaps = [after - before for before, after in itertools.pairwise(seen)]
    close = [gap for at, gap in zip(seen, gaps, strict=False) if at < 0.4]
    assert len(close) >= 3 and max(close) < 0.3 and max(gaps) > 0.15


def test_quick_work_says_nothing_and_no_line_comes_after_the_end(lines: Lines) -> None:
    with waiting("building", first=0.05):
        pass
    time.sleep(0.12)
    assert lines() == []
    with pytest.raises(ZeroDivisionError), waiting("building", first=0.02):
        _fail_after(0.05)
    assert lines() and lines()[0].startswith("building: ")
    count = len(lines())
    time.sleep(0.1)
    assert len(lines()) == count
