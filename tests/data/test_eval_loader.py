"""Batches for evaluation: which files are read by the quick way."""

from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from BYOL.data import decode
from BYOL.data.dataset import FileImages
from BYOL.data.eval_loader import eval_batches
from BYOL.data.path_table import PathTable


@pytest.mark.parametrize(("side", "quick"), [(32, 1), (200, 0)])
def test_only_a_jpeg_as_small_as_its_crop_is_read_before_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int, quick: int
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "0.jpg", quality=75)
    read: list[Path] = []
    real = decode.read_start

    def counting(path: Path, count: int) -> bytes:
        read.append(path)
        return real(path, count)

    monkeypatch.setattr(decode, "read_start", counting)
    images = FileImages("x", 3, None, (), tmp_path, PathTable(["0.jpg"]))
    ((_, batch),) = eval_batches(images, 32, 8)
    assert len(read) == quick and batch.shape == (1, 3, 32, 32)
    if side == 32:
        expected = simplejpeg.decode_jpeg((tmp_path / "0.jpg").read_bytes())
        assert (batch[0].permute(1, 2, 0).numpy() == expected).all()
