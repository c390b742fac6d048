"""What can be held without an Apple GPU (MPS): it knows no float64, and not every operation."""

import os
import traceback

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from BYOL.cli.main import main
from BYOL.model import predictors, solvers
from BYOL.training.pretrain import pretrain
from BYOL.views.config import ViewConfig
from BYOL.views.pipeline import make_view
from tests.conftest import draw_images
from tests.training.test_module import settings

ON_THE_CPU = ("collapse/metrics.py",)  # takes its tensors there first


class Doubles(TorchDispatchMode):
    """Notes every line of the package that computes in float64."""

    def __init__(self):
        super().__init__()
        self.lines = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, out)) if isinstance(t, torch.Tensor)]
        if any(t.dtype == torch.float64 for t in tensors):
            frames = [f for f in traceback.extract_stack() if "BYOL" in f.filename]
            frames = [f for f in frames if not f.filename.endswith(__file__)]
            if not frames[-1].filename.endswith(ON_THE_CPU):
                self.lines.add(f"{frames[-1].filename}:{frames[-1].lineno}")
        return out


def test_views_are_made_without_float64():
    # a tensor without content goes the way of all that is not on a CPU
    images = torch.empty(4, 3, 40, 40, dtype=torch.uint8, device="meta")
    config = ViewConfig(size=32, rotate=20.0, vertical_flip=0.5, blur=1.0, solarize=0.5)
    norm = [0.5] * 3, [0.2] * 3
    with Doubles() as found:
        view = make_view(config, images, torch.arange(4), 5, *norm)
        make_view(config, images[..., :32, :32], torch.arange(4), 5, *norm, cropped=True)
    assert view.shape == (4, 3, 32, 32) and view.device.type == "meta"
    assert found.lines == set()


@pytest.mark.parametrize("predictor", ["mlp", "optimal", "directpred"])
def test_a_run_computes_without_float64_where_the_device_has_none(predictor, tmp_path, monkeypatch):
    for module in (solvers, predictors):
        monkeypatch.setattr(module, "solver_dtype", lambda _: torch.float32)
    pictures = draw_images(tmp_path / "pictures", each=8)
    with Doubles() as found:
        pretrain(settings(pictures, tmp_path / "run", predictor=predictor))
    assert found.lines == set()


def test_what_the_device_cannot_do_is_left_to_the_cpu(monkeypatch):
    monkeypatch.delenv("PYTORCH_ENABLE_MPS_FALLBACK", raising=False)
    assert main(["--version"]) == 0
    assert os.environ["PYTORCH_ENABLE_MPS_FALLBACK"] == "1"
    monkeypatch.setenv("PYTORCH_ENABLE_MPS_FALLBACK", "0")
    assert main(["--version"]) == 0
    assert os.environ["PYTORCH_ENABLE_MPS_FALLBACK"] == "0"
