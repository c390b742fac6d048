"""What happens before the first step: how often files are opened, and that nothing is silent."""

import logging
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from BYOL import _waiting as waiting_module
from BYOL.cli.main import main
from BYOL.training import pretrain as pretraining
from BYOL.training.module import Pretraining
from tests.conftest import TINY, draw_images
from tests.forked import FORKSERVER


def count_opened(folder: str, argv: list[str], answer: Any) -> None:
    """Send how many files of ``folder`` are opened before the first step, and how often at most.

    It is run in a process of its own, because an audit hook stays.
    """
    counts: Counter[str] = Counter()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(folder):
            counts[arguments[0]] += 1

    def first_step(*_: object, **__: object) -> None:
        answer.send((len(counts), max(counts.values())))
        os._exit(0)

    sys.addaudithook(hook)
    Pretraining.optimizer_step = first_step  # type: ignore[method-assign]
    main(["pretrain", folder, *argv])


@pytest.mark.parametrize(("size", "ending"), [((32, 32), "png"), ((400, 300), "jpg")])
def test_an_image_file_is_opened_at_most_three_times_before_the_first_step(
    tmp_path: Path, size: tuple[int, int], ending: str
) -> None:
    data = tmp_path / "images"
    data.mkdir()
    for i in range(12):
        Image.new("RGB", size, (20 * i, 100, 50)).save(data / f"{i}.{ending}")
    argv = ["--out", str(tmp_path / "run"), "--epochs", "1", "--workers", "0"]
    answer, sender = FORKSERVER.Pipe(duplex=False)
    process = FORKSERVER.Process(target=count_opened, args=(str(data), argv, sender))
    process.start()
    sender.close()
    files, most = answer.recv()
    process.join()
    assert files == len(list(data.iterdir())) and 1 <= most <= 3


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
