"""Arrays that do not fit into memory: the same results as in memory, and nothing left behind."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from BYOL.data.dataset import ArrayImages
from BYOL.errors import MachineError
from BYOL.evaluation import large_arrays
from BYOL.evaluation.bootstrap import point_estimate
from BYOL.evaluation.evaluate import evaluate
from BYOL.evaluation.large_arrays import chunks, empty_array
from BYOL.evaluation.protocols import linear
from BYOL.views.config import InputSpec

SPEC = InputSpec(24, [0.5] * 3, [0.25] * 3)


class Cells(nn.Module):
    """The mean colours of four cells of an image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


def coloured(n: int, seed: int) -> ArrayImages:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    pixels = rng.integers(0, 120, (n, 3, 24, 24), dtype=np.uint8)
    pixels[np.arange(n), labels] += 40
    return ArrayImages("c", 3, labels, ("r", "g", "b"), torch.from_numpy(pixels))


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_arrays, "HELD", 0)
    monkeypatch.setattr(large_arrays, "_CHUNK_NUMBERS", 100)


def evaluated() -> dict:
    train, test = coloured(70, 0), coloured(30, 1)
    copies = torch.cat([test.data[:4], train.data[4:]])  # leakage is searched in chunks, too
    train = ArrayImages("c", 3, train.labels, train.classes, copies)
    names = ("knn", "linear", "fewshot", "retrieval", "cluster")
    return evaluate(
        Cells(), Cells(), train, test, SPEC, device=torch.device("cpu"), protocols=names
    )


@pytest.mark.trains
def test_an_evaluation_with_features_in_files_gives_the_same_results(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = evaluated()
    assert expected["leakage"]["leaked"] == 4
    request.getfixturevalue("small_limits")
    monkeypatch.setattr(large_arrays.tempfile, "tempdir", str(tmp_path))
    found = evaluated()
    assert found["leakage"] == expected["leakage"]
    assert list(tmp_path.iterdir()) == []
    for source, measures in expected["rows"].items():
        for name, measure in measures.items():
            value = point_estimate(found["rows"][source][name])
            assert value == pytest.approx(point_estimate(measure), abs=1e-6), (source, name)


@pytest.mark.trains
def test_a_linear_probe_is_fitted_to_what_fits_into_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(linear, "HELD", 35 * 12)
    rows = evaluated()["rows"]
    assert 33 <= rows["trained"]["linear"]["learnt_from"] <= 37


def test_a_large_array_is_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_limits: None
) -> None:
    monkeypatch.setattr(large_arrays.tempfile, "tempdir", str(tmp_path))
    array = empty_array((30, 7), np.float32)
    assert isinstance(array, np.memmap) and not list(tmp_path.iterdir())
    for rows in chunks(array):
        array[rows] = np.arange(30)[rows, None]
    assert (array.sum(axis=1) == 7 * np.arange(30)).all()
    assert [rows.stop for rows in chunks(array)] == [14, 28, 30]


@pytest.mark.parametrize("when", ["known before", "in the middle"])
def test_a_full_disk_is_one_line(
    monkeypatch: pytest.MonkeyPatch, small_limits: None, when: str
) -> None:
    if when == "known before":
        usage = large_arrays.shutil.disk_usage("/")._replace(free=100)
        monkeypatch.setattr(large_arrays.shutil, "disk_usage", lambda _: usage)
    else:

        def full(*_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(MachineError, match="too little free space for 840 bytes"):
        empty_array((30, 7), np.float32)
