"""What happens before the first step: how often files are opened, and that nothing is silent."""

import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from BYOL import _waiting as waiting_module
from BYOL.cli.main import main
from BYOL.training import pretrain as pretraining
from tests.conftest import TINY, draw_images

COUNTING = """
import collections, os, sys
folder, counts = sys.argv[1], collections.Counter()
sys.addaudithook(lambda event, a: event == "open" and isinstance(a[0], str)
                 and a[0].startswith(folder) and counts.update([a[0]]))
from BYOL.training.module import Pretraining
def first_step(*_, **__):
    print(len(counts), max(counts.values()), flush=True)
    os._exit(0)
Pretraining.optimizer_step = first_step
from BYOL.cli.main import main
main(["pretrain", *sys.argv[1:]])
"""


@pytest.mark.parametrize(("size", "ending"), [((32, 32), "png"), ((400, 300), "jpg")])
def test_an_image_file_is_opened_at_most_three_times_before_the_first_step(
    tmp_path: Path, size: tuple[int, int], ending: str
) -> None:
    data = tmp_path / "images"
    data.mkdir()
    for i in range(12):
        Image.new("RGB", size, (20 * i, 100, 50)).save(data / f"{i}.{ending}")
    argv = [str(data), "--out", str(tmp_path / "run"), "--epochs", "1", "--workers", "0"]
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, *argv], capture_output=True, text=True, check=False
    )
    files, most = map(int, done.stdout.split()[-2:])
    assert files == len(list(data.iterdir())) and 1 <= most <= 3, done.stderr


@pytest.mark.parametrize(
    ("function", "line"),
    [("prepare", "opening the images: "), ("build_model", "building the network: "),
     ("resolve_length", "measuring the speed: ")],
)  # fmt: skip
def test_a_slow_start_is_not_silent(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    function: str,
    line: str,
) -> None:
    assert waiting_module._FIRST < 3
    real = getattr(pretraining, function)

    def slow(*arguments: object, **settings: object) -> object:
        time.sleep(0.3)
        return real(*arguments, **settings)

    monkeypatch.setattr(waiting_module, "_FIRST", 0.1)
    monkeypatch.setattr(pretraining, function, slow)
    data = draw_images(tmp_path / "images")
    with caplog.at_level(logging.INFO, "BYOL"):
        logging.getLogger("BYOL").addHandler(caplog.handler)
        try:
            argv = ["pretrain", str(data), *TINY, "--out", str(tmp_path / "run")]
            assert main([*argv, "--no-evaluate", "--no-report"]) == 0
        finally:
            logging.getLogger("BYOL").removeHandler(caplog.handler)
    assert any(record.getMessage().startswith(line) for record in caplog.records)
