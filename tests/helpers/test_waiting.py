"""Progress lines of slow work."""

import time
from pathlib import Path

import pytest

from BYOL import _waiting as waiting_module
from BYOL._waiting import waiting
from BYOL.config import PretrainConfig
from BYOL.data import open as sources
from BYOL.training import prepare as preparation
from BYOL.training import pretrain as pretraining
from tests.conftest import draw_pictures, tiny


def _fail_after(seconds: float) -> None:
    time.sleep(seconds)
    raise ZeroDivisionError


def test_slow_work_prints_its_progress_and_remaining_time() -> None:
    said: list[str] = []
    with waiting("decoding images", 10, said.append, first=0.05) as work:
        for _ in range(4):
            work.done += 1
            time.sleep(0.05)
    assert said and all(line.startswith("decoding images: ") for line in said)
    assert " of 10, " in said[0] and said[0].endswith("s left")


def test_only_the_innermost_of_nested_work_prints_lines() -> None:
    said: list[str] = []
    with (
        waiting("opening", say=said.append, first=0.03),
        waiting("decoding", say=said.append, first=0.03),
    ):
        time.sleep(0.2)
    assert said and not any(line.startswith("opening") for line in said)


def test_slow_reads_and_slow_construction_print_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every read and every construction is slowed down."""
    images = draw_pictures(tmp_path / "images", each=6)
    monkeypatch.setattr(waiting_module, "_FIRST", 0.05)
    real_size, real_build = sources.open_images, pretraining.build_model

    def slow_open(*arguments: object, **settings: object) -> object:
        time.sleep(0.2)
        return real_size(*arguments, **settings)  # type: ignore[arg-type]

    def slow_build(config: PretrainConfig) -> object:
        time.sleep(0.2)
        return real_build(config)

    monkeypatch.setattr(preparation, "open_images", slow_open)
    monkeypatch.setattr(pretraining, "build_model", slow_build)
    said: list[str] = []
    pretraining.pretrain(tiny(images, tmp_path / "run", epochs=1), said.append)
    for name in ("opening the images: ", "building the network: "):
        assert any(line.startswith(name) for line in said), said
    said.clear()
    pretraining.pretrain(tiny(images, tmp_path / "run", epochs=2, resume=True), said.append)
    assert "resumes after step 1 of 2" in said


def test_fast_work_prints_nothing_and_no_line_appears_after_the_end() -> None:
    said: list[str] = []
    with waiting("building", say=said.append, first=0.05):
        pass
    time.sleep(0.12)
    assert said == []
    with pytest.raises(ZeroDivisionError), waiting("building", say=said.append, first=0.02):
        _fail_after(0.05)
    assert said and said[0].startswith("building: ")
    count = len(said)
    time.sleep(0.1)
    assert len(said) == count
