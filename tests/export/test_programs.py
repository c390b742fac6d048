"""ONNX and torch.export: a file gives the features of byol embed for any batch size."""

import contextlib
import io
import json
import os
import signal
import sys
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from BYOL.cli.main import main
from BYOL.data.eval_loader import eval_batches
from BYOL.data.sources import open_images
from BYOL.export import onnx as onnx_export
from BYOL.export import torch_export as program
from tests.conftest import draw_images, make_run
from tests.forked import FORKSERVER


def embedded(run, out) -> np.ndarray:
    assert main(["embed", str(run), "--out", str(out)]) == 0
    with np.load(out) as arrays:
        return arrays["embedding"]


def pixels_of(data, channels, size) -> torch.Tensor:
    """All images of a data set as input of a program: pixels from 0 to 1."""
    images = open_images(str(data), channels=channels).train
    return torch.cat([p for _, p in eval_batches(images, size, 1000)]).float() / 255


@pytest.fixture(scope="module", params=["plain5 grey", "resnet18 small stem", "vit 4 channels"])
def exported(request, tmp_path_factory):
    """A folder with both kinds of program, the pixels of the images, and their features."""
    root = tmp_path_factory.mktemp("programs")
    channels = {"plain5 grey": 1, "resnet18 small stem": 3, "vit 4 channels": 4}[request.param]
    data = root / "data.npz"
    rng = np.random.default_rng(0)
    np.savez(data, images=rng.integers(0, 256, (9, 40, 40, channels), dtype=np.uint8))
    network = {
        "plain5 grey": {"backbone": "plain5"},
        "resnet18 small stem": {"backbone": "resnet18", "stem": "small"},
        "vit 4 channels": {"backbone": "test_vit"},
    }[request.param]
    run = make_run(root / "run", data, channels=channels, **network)
    for name in ("m.onnx", "m.pt2"):
        assert main(["export", str(run), "--to", str(root / name)]) == 0
    return root, pixels_of(data, channels, 32), embedded(run, root / "e.npz")


def test_onnx_gives_the_features_of_embed_for_any_batch_size(exported):
    root, pixels, expected = exported
    session = onnxruntime.InferenceSession(root / "m.onnx")
    for batch in (1, 4, 9):
        (features,) = session.run(["features"], {"images": pixels[:batch].numpy()})
        assert features.dtype == np.float32
        assert np.abs(features - expected[:batch]).max() < 1e-4


def test_a_program_gives_the_features_of_embed_for_any_batch_size(exported):
    root, pixels, expected = exported
    module = torch.export.load(root / "m.pt2").module()
    for batch in (1, 4, 9):
        features = module(pixels[:batch]).numpy()
        assert np.abs(features - expected[:batch]).max() < 1e-4


def test_onnx_is_a_single_valid_file_with_metadata(exported):
    root, pixels, _ = exported
    assert sorted(p.suffix for p in root.iterdir() if p.name.startswith("m")) == [".onnx", ".pt2"]
    model = onnx.load(root / "m.onnx", load_external_data=False)
    onnx.checker.check_model(model)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["image_size"] == "32" and metadata["channels"] == str(pixels.shape[1])
    assert "from 0 to 1" in metadata["images"] and metadata["mean"] and metadata["backbone"]
    (images,) = model.graph.input
    dims = images.type.tensor_type.shape.dim
    assert dims[0].dim_param and [d.dim_value for d in dims[1:]] == list(pixels.shape[1:])


def test_a_program_has_metadata(exported):
    root, _, _ = exported
    extra = {program.METADATA: ""}
    torch.export.load(root / "m.pt2", extra_files=extra)
    assert json.loads(extra[program.METADATA])["image_size"] == "32"


@pytest.mark.parametrize("name", ["m.onnx", "m.pt2"])
def test_the_answer_reports_the_checked_images_and_the_difference(run, tmp_path, capsys, name):
    assert main(["export", str(run), "--to", str(tmp_path / name), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["checked_on"].startswith("16 images of ")
    assert 0 <= answer["difference"] < 1e-4


def test_a_program_is_checked_on_noise_if_the_images_are_not_available(tmp_path, capsys):
    images = draw_images(tmp_path / "images")
    run = make_run(tmp_path / "run", images, backbone="plain5")
    images.rename(tmp_path / "elsewhere")
    assert main(["export", str(run), "--to", str(tmp_path / "m.pt2")]) == 0
    assert "noise" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["m.onnx", "m.pt2"])
@pytest.mark.parametrize("fault", ["wrong numbers", "not a number", "wrong shape"])
def test_a_program_that_differs_leaves_no_file(run, tmp_path, capsys, monkeypatch, name, fault):
    corrupt = {
        "wrong numbers": lambda x: x + 1e-3,
        "not a number": lambda x: x * torch.nan,
        "wrong shape": lambda x: x[:, :-1],
    }[fault]
    if name == "m.onnx":
        real = onnx_export._session
        monkeypatch.setattr(onnx_export, "_session", lambda path: lambda x: corrupt(real(path)(x)))
    else:
        real_load = torch.export.load

        class Corrupted:
            def __init__(self, path):
                self.path = path

            def module(self):
                inner = real_load(self.path).module()
                return lambda x: corrupt(inner(x))

        monkeypatch.setattr(torch.export, "load", Corrupted)
    assert main(["export", str(run), "--to", str(tmp_path / name)]) == 2
    assert "nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_without_the_extra_one_line_names_the_package_to_install(
    run, tmp_path, capsys, monkeypatch, missing
):
    monkeypatch.setitem(sys.modules, missing, None)  # importing it raises ImportError
    assert main(["export", str(run), "--to", str(tmp_path / "m.onnx")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert missing in line and "pip install 'BYOL[onnx]'" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["m.onnx", "m.pt2", "m.pth", "hub/"])
def test_a_full_disk_leaves_no_file(run, tmp_path, capsys, monkeypatch, name):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert main(["export", str(run), "--to", f"{tmp_path}/{name}"]) == 2
    assert "no space left" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def run_limited(argv: list[str], answer: Any) -> None:
    """Send the exit code and the messages of a command that may write 100 kB into a file."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    with contextlib.redirect_stderr(io.StringIO()) as error:
        code = main(argv)
    answer.send((code, error.getvalue()))


@pytest.mark.skipif(sys.platform != "linux", reason="other platforms set limits differently")
@pytest.mark.parametrize("name", ["m.pt2", "m.pth"])
def test_a_file_size_limit_gives_one_line_and_does_not_abort_the_process(run, tmp_path, name):
    answer, sender = FORKSERVER.Pipe(duplex=False)
    argv = ["export", str(run), f"--to={tmp_path}/{name}"]
    process = FORKSERVER.Process(target=run_limited, args=(argv, sender))
    process.start()
    sender.close()
    code, text = answer.recv()
    process.join()
    lines = [line for line in text.splitlines() if line.startswith("byol: ")]
    assert code == 2 and len(lines) == 1 and "cannot write" in lines[0], text
    assert process.exitcode == 0
    assert list(tmp_path.iterdir()) == []


def test_weights_above_the_file_limit_are_rejected_before_the_conversion(
    run, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(onnx_export, "LARGEST", 1000)
    assert main(["export", str(run), "--to", str(tmp_path / "m.onnx")]) == 2
    assert "use .pt2" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
