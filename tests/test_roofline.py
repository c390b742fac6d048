"""What benchmarks/roofline.py counts, for networks that can be counted by hand."""

import importlib
from pathlib import Path

import pytest
import torch
from torch import nn


@pytest.fixture
def roofline(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[1] / "benchmarks"))
    return importlib.import_module("roofline")


def test_numbers_that_a_convolution_and_its_norm_read_and_write(roofline):
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    found = roofline.counted(network, torch.empty(1, 3, 8, 8))
    assert found == {
        "conv_in": 3 * 64, "conv_out": 4 * 64, "norm": 4 * 64, "sum": 0,
        "operations": 2 * 4 * 64 * 3 * 9,
    }  # fmt: skip


def test_a_resnet_50_is_bound_by_memory(roofline, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["roofline.py"])
    roofline.main()
    said = capsys.readouterr().out
    assert "65.4 GFLOP and 926 MB an image" in said  # 8 x 4.09 G multiply-adds
    assert "4,583 by memory (4,243 GB/s, 42% of the matrix rate)" in said
