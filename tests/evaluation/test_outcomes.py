"""The digest by which two evaluations know whether their test images are the same."""

import shutil

import numpy as np
import torch

from BYOL.data.dataset import ArrayImages
from BYOL.data.sources import open_images
from BYOL.evaluation.outcomes import digest_of_test_images
from tests.conftest import draw_images


def test_equal_names_and_labels_of_other_images_have_another_digest(tmp_path):
    one, copy, other = (tmp_path / name / "p" for name in ("one", "copy", "other"))
    draw_images(one, each=3)
    shutil.copytree(one, copy)
    shutil.copytree(one, other)
    file = next(other.rglob("*.png"))
    file.write_bytes(file.read_bytes()[:-20] + b"x" * 20)
    found = [digest_of_test_images(open_images(str(f)).train) for f in (one, copy, other)]
    assert found[0] == found[1] != found[2]


def test_images_in_memory_are_compared_by_their_pixels():
    pixels = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
    labels = np.array([0, 1, 0, 1])
    digests = [
        digest_of_test_images(ArrayImages("x", 1, labels, ("a", "b"), data))
        for data in (pixels, pixels.clone(), pixels + 1)
    ]
    assert digests[0] == digests[1] != digests[2]
