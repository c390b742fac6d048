"""Photographs that are decoded once: same crop boxes, similar pixels, any size, memory or disk."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from BYOL.data import reduced as module
from BYOL.data.decode import BrokenImageError
from BYOL.data.eval_loader import eval_batches
from BYOL.data.reduced import ReducedImages, reduce_images
from BYOL.data.sources import open_images
from BYOL.data.train_loader import CropsDataset
from BYOL.training.prepare import prepare
from BYOL.views.config import paper_views
from tests.conftest import tiny

SIZES = [(200, 150), (90, 160), (40, 30), (300, 20), (150, 200)]  # width, height


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """JPEG files of several sizes, one smaller than its stored size, and a broken one."""
    rng = np.random.default_rng(0)
    for i, size in enumerate(SIZES):
        coarse = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8))
        (tmp_path / "photos").mkdir(exist_ok=True)
        coarse.resize(size, Image.Resampling.BICUBIC).save(tmp_path / "photos" / f"{i}.jpg")
    (tmp_path / "photos" / "9.jpg").write_bytes(b"no image")
    return tmp_path / "photos"


@pytest.mark.parametrize("budget", [1 << 30, 0])
def test_crops_of_stored_images_match_crops_of_the_files(
    photos: Path, tmp_path: Path, budget: int
) -> None:
    files = open_images(str(photos)).train
    kept = reduce_images(files, 16, budget, tmp_path / "cache")
    assert isinstance(kept, ReducedImages)
    assert (kept.store.file is None) == (budget > 0)
    assert kept.store.kept[0].tolist() == [32, 43] and kept.store.kept[2].tolist() == [30, 40]
    views = paper_views(16)
    ids = np.arange(5)
    actual, expected = (CropsDataset(s, 0, views)[(3, ids)] for s in (kept, files))
    for ours, theirs in zip(actual.crops, expected.crops, strict=True):
        assert (ours.float() - theirs.float()).abs().mean() < 6
    again = CropsDataset(pickle.loads(pickle.dumps(kept)), 0, views)[(3, ids)]
    assert torch.equal(again.crops[0], actual.crops[0])
    # Crops of an image do not depend on the rest of its batch; bit-exact resuming needs this.
    part = CropsDataset(kept.subset(np.array([2, 4])), 0, views)
    assert torch.equal(part.images.store.pixels, kept.store.pixels)
    alone = CropsDataset(kept, 0, views)[(3, ids[2:4])]
    assert torch.equal(alone.crops[0], actual.crops[0][2:4])


def test_evaluation_and_names_use_the_original_files(photos: Path, tmp_path: Path) -> None:
    files = open_images(str(photos)).train
    kept = reduce_images(files, 16, 1 << 30, tmp_path)
    for (ids, pixels), (file_ids, file_pixels) in zip(
        eval_batches(kept, 16, 4), eval_batches(files, 16, 4), strict=True
    ):
        assert torch.equal(ids, file_ids) and torch.equal(pixels, file_pixels)
    assert kept.digest == files.digest and torch.equal(kept.read(1), files.read(1))
    assert kept.subset(np.array([3])).sample_name(0) == "3.jpg"
    with pytest.raises(BrokenImageError):
        kept.open(5)


def test_large_views_and_full_disks_fall_back_to_the_files(
    photos: Path,
    tmp_path: Path,
    lines: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = open_images(str(photos)).train
    assert reduce_images(files, module.LARGEST_VIEW + 1, 1 << 30, tmp_path) is files

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_fill_store", full)
    assert reduce_images(files, 16, 0, tmp_path / "cache") is files
    assert len(lines()) == 1 and "No space left on device" in lines()[0]


def test_store_files_of_finished_and_killed_processes_are_deleted(
    photos: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "root" / "decoded"
    program = (
        "import sys, os, signal; from pathlib import Path; "
        "from BYOL.data.sources import open_images; from BYOL.data.reduced import reduce_images;  "
        f"kept = reduce_images(open_images({str(photos)!r}).train, 16, 0, Path({str(cache)!r})); "
        "assert kept.store.file.exists(); "
        "sys.argv[1] == 'kill' and os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, "kill"], check=False)
    assert len(list(Path(cache).iterdir())) == 1
    subprocess.run([sys.executable, "-c", program, "end"], check=True)
    assert not list(Path(cache).iterdir())


def test_prepare_stores_reduced_images_only_for_training(photos: Path, tmp_path: Path) -> None:
    config = tiny(photos, tmp_path / "run", batch_size=4)
    assert isinstance(prepare(config).train, ReducedImages)
    assert not isinstance(prepare(config, into_memory=False).train, ReducedImages)
