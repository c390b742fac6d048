"""Fixtures and helpers of several test files."""

import logging
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from BYOL._console import line_of
from BYOL.config import PretrainConfig
from BYOL.config.presets import preset_config
from BYOL.runs.lock import locked
from BYOL.views.pixel_range import PixelRange, RangeEstimator

# The key that signs the runs of these tests; processes that they start inherit it.
os.environ["BYOL_CONFIG_HOME"] = str(Path(tempfile.gettempdir()) / f"byol-tests-{os.getuid()}")


def pytest_configure(config: pytest.Config) -> None:
    # pytest-randomly changes the order of the tests; their random numbers stay the same.
    config.option.randomly_reset_seed = False


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seed = getattr(terminalreporter.config.option, "randomly_seed", None)
    if seed is not None:
        terminalreporter.write_line(f"the order of the tests: --randomly-seed={seed}")


@pytest.fixture(scope="session")
def authors() -> dict[str, np.ndarray]:
    """Numbers computed by the paper authors' own code."""
    path = Path(__file__).parent / "data" / "authors.npz"
    return dict(np.load(path))


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    seed_all()


class Lines:
    """The messages of the package in a test, as a terminal shows them."""

    def __init__(self, caplog: pytest.LogCaptureFixture):
        caplog.set_level(logging.INFO, logger="BYOL")
        self._caplog = caplog

    def __call__(self) -> list[str]:
        records = self._caplog.records
        return [line_of(record) for record in records if record.name.startswith("BYOL")]

    def clear(self) -> None:
        self._caplog.clear()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    return Lines(caplog)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> None:
    if fixturedef.scope != "function":  # made before _fixed_seed, after whatever test came before
        seed_all()


def seed_all() -> None:
    """Start all random numbers anew, those that libraries draw from included."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def draw_images(
    root: Path, classes: tuple[str, ...] = ("a", "b"), each: int = 12, side: int = 20
) -> Path:
    """A folder of small PNGs: bright noise in the first class, dark in the last."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(classes):
        folder = root / name
        folder.mkdir(parents=True)
        for i in range(each):
            pixels = rng.integers(0, 100, (side, side, 3)) + 150 * number // len(classes)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:02}.png")
    return root


def hold_lock(path: Path, ready: Any) -> None:
    """For a process of its own: until it is killed, or a minute and a half."""
    with locked(path, "it"):
        ready.set()
        time.sleep(90)


TINY_SETTINGS = {
    "backbone": "plain5", "image_size": 16, "batch_size": 8, "hidden_size": 16, "output_size": 8,
    "epochs": 2, "knn_every": 1, "optimizer": "sgd", "lr": 0.1,
}  # fmt: skip
TINY = tuple(f"--{name.replace('_', '-')}={value}" for name, value in TINY_SETTINGS.items())


def tiny(pictures: Path, out: Path, **changes: object) -> PretrainConfig:
    """Settings of a run of seconds, without its evaluation and its report."""
    settings: dict[str, object] = {
        "data": str(pictures), "out": str(out), "backbone": "plain5", "image_size": 16,
        "batch_size": 8, "hidden_size": 16, "output_size": 8, "epochs": 2, "optimizer": "sgd",
        "lr": 0.1, "knn_every": 0, "evaluate": False, "report": False,
        "warmup_epochs": 0.0,
    }  # fmt: skip
    return preset_config("small", **{**settings, **changes})


@pytest.fixture
def run(finished_run: Path) -> Iterator[Path]:
    """The folder of a finished run on 24 labelled images. What a test changes there is undone."""

    def state() -> dict[str, tuple[int, int]]:
        files = ((str(path), path.stat()) for path in finished_run.rglob("*"))
        return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in files}

    before = state()
    yield finished_run
    if state() != before:  # `byol evaluate`, for example, writes its table into the run
        shutil.rmtree(finished_run)
        shutil.copytree(finished_run.with_name("original"), finished_run)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `run` gives to each test."""
    from BYOL.cli.main import main

    root = tmp_path_factory.mktemp("finished")
    draw_images(root / "pictures")
    argv = ["pretrain", str(root / "pictures"), *TINY, "--out", str(root / "run")]
    assert main([*argv, "--precision", "fp32"]) == 0  # the same network on every processor
    shutil.copytree(root / "run", root / "original")
    return root / "run"


def make_run(root: Path, data: Path, **settings: Any) -> Path:
    """The folder of a run as training leaves it, but for the training: weights are random, and so
    are the statistics of batch norm, without which a network forgets nothing that matters here."""
    from BYOL.config import save_config
    from BYOL.config.presets import preset_config
    from BYOL.export import export_backbone
    from BYOL.runs.build_model import build_model
    from BYOL.runs.open import backbone_metadata

    channels = settings.setdefault("channels", 3)
    settings = {"image_size": 32, "stem": "imagenet", "hidden_size": 8, "output_size": 4} | settings
    settings |= {"mean": [0.4] * channels, "std": [0.2] * channels, "data": str(data)}
    config = preset_config("small", **settings)
    backbone = build_model(config).onlineNet.backend
    for module in backbone.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr, operator]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    root.mkdir()
    save_config(config, root / "config.yaml")
    export_backbone(backbone, root / "backbone.safetensors", backbone_metadata(config))
    return root


def estimate_pixel_range(parts: Iterable[np.ndarray]) -> PixelRange | None:
    """One range for all ``parts``, the values of images."""
    estimator = RangeEstimator()
    for part in parts:
        estimator.add(part)
    return estimator.estimate()
