"""What several test files share."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from BYOL.config import PretrainConfig
from BYOL.presets import preset_config

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def authors() -> dict[str, np.ndarray]:
    """Numbers computed by the paper authors' own code."""
    path = SHARED / "reference" / "authors.npz"
    if not path.exists():
        pytest.skip(f"the authors' numbers are not here: {path.name} is not beside the project")
    return dict(np.load(path))


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)


def draw_pictures(
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


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on 24 labelled pictures; tests must not change it."""
    from BYOL.cli import main

    root = tmp_path_factory.mktemp("finished")
    draw_pictures(root / "pictures")
    assert main(["pretrain", str(root / "pictures"), *TINY, "--out", str(root / "run")]) == 0
    return root / "run"
