"""One line of Python opens what was trained."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

import BYOL
from BYOL.cli.main import main
from BYOL.config import load_config
from BYOL.errors import UserError
from BYOL.export import export_backbone, load_weights
from BYOL.export.exportable import ExportModel
from BYOL.export.pixel_network import pixel_metadata
from BYOL.runs.open import open_run
from BYOL.training.pretrain import pretrain
from tests.conftest import draw_images, tiny


def test_images_of_high_bit_depth_are_read_as_in_training(tmp_path):
    """12-bit values in 16 bits: the range of the set, not of each picture, in every place."""
    folder = tmp_path / "scans"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(16):
        scan = (rng.random((20, 20)) * (4095 if i % 2 else 400)).astype(np.uint16)
        Image.fromarray(scan).save(folder / f"{i:02}.png")
    run = pretrain(tiny(folder, tmp_path / "run"))["run"]
    assert load_config(Path(run) / "config.yaml").pixel_range == (0, 4095)
    assert main(["embed", run, str(folder), "--out", str(tmp_path / "e.npz")]) == 0
    backbone = BYOL.load_backbone(run)
    assert backbone.transform.pixel_range == (0, 4095)
    files = [folder / f"{i:02}.png" for i in range(16)]
    with torch.no_grad():
        found = backbone(torch.stack([backbone.transform(Image.open(file)) for file in files]))
    embedded = np.load(tmp_path / "e.npz")["embedding"]
    assert np.abs(found.numpy() - embedded).max() < 1e-4
    assert main(["export", run, "--to", str(tmp_path / "b.safetensors")]) == 0
    assert BYOL.load_backbone(tmp_path / "b.safetensors").transform.pixel_range == (0, 4095)
    assert main(["export", run, "--to", f"{tmp_path}/hub/"]) == 0
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "0 corresponds to 0 in the files and 1 to 4095" in card
    said = pixel_metadata(ExportModel(open_run(run)))["preprocessing"]
    assert "clip to [0, 4095]" in said and "255" not in said


def test_a_runs_backbone_and_transform_give_what_embed_gives(run, tmp_path):
    images = draw_images(tmp_path / "pictures", side=50)
    assert main(["embed", str(run), str(images), "--out", str(tmp_path / "e.npz")]) == 0
    backbone = BYOL.load_backbone(run)
    assert not backbone.training and backbone.transform.size == 16
    files = sorted(images.rglob("*.png"))
    with torch.no_grad():
        found = torch.stack([backbone.transform(Image.open(file)) for file in files])
        found = backbone(found).numpy()
    with np.load(tmp_path / "e.npz") as arrays:
        assert np.abs(found - arrays["embedding"]).max() < 1e-4 * np.abs(found).max()


def test_an_exported_file_opens_to_the_same(run, tmp_path):
    path = tmp_path / "b.safetensors"
    assert main(["export", str(run), "--to", str(path)]) == 0
    one, other = BYOL.load_backbone(str(path)), BYOL.load_backbone(run)
    x = one.transform(torch.randint(0, 256, (3, 3, 20, 20), dtype=torch.uint8))
    with torch.no_grad():
        assert torch.equal(one(x), other(x))
    assert vars(one.transform) == vars(other.transform)


def test_a_run_that_was_stopped_opens_at_its_last_checkpoint(run, tmp_path):
    stopped = shutil.copytree(run, tmp_path / "stopped")
    (stopped / "backbone.safetensors").unlink()
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(BYOL.load_backbone(stopped)(x), BYOL.load_backbone(run)(x))
    shutil.rmtree(stopped / "checkpoints")
    with pytest.raises(UserError, match="no weights yet"):
        BYOL.load_backbone(stopped)


def test_what_cannot_be_opened_is_named_in_one_line(run, tmp_path):
    weights, metadata = load_weights(run / "backbone.safetensors")
    cases = {
        "not there": tmp_path / "missing",
        "neither": tmp_path,
        "which network": export_backbone(torch.nn.Linear(1, 1), tmp_path / "b.pth", {}),
        "which input": export_backbone(torch.nn.Linear(1, 1), tmp_path / "n.safetensors", {}),
    }
    for wrong in (
        {"channels": "3.5"}, {"mean": "0.5"}, {"mean": "[0.5]"}, {"std": "[0, 1, 1]"},
        {"std": "[1, NaN, 1]"}, {"image_size": "0"}, {"image_size": "1000000"},
        {"mean": "[0, NaN, 0]"}, {"std": "[1, Infinity, 1]"}, {"pixel_range": "[0, NaN]"},
        {"mean": "[" * 100_000}, {"image_size": "None"}, {"mean": "__import__"},
    ):  # fmt: skip
        path = tmp_path / "wrong.safetensors"
        safetensors.torch.save_file(weights, path, {**metadata, **wrong})
        with pytest.raises(UserError, match="which input it needs"):
            BYOL.load_backbone(path)
    cases["source is a NoneType: give a run's folder"] = None
    for message, source in cases.items():
        with pytest.raises(UserError, match=message) as caught:
            BYOL.load_backbone(source)
        assert "\n" not in str(caught.value)
    name = next(iter(weights))
    spoilt = {**weights, name: torch.full_like(weights[name], float("nan"))}
    for path in (tmp_path / "nan.safetensors", tmp_path / "nan"):
        if path.suffix:
            safetensors.torch.save_file(spoilt, path, metadata)
        else:
            torch.save(spoilt, path)
        with pytest.raises(UserError, match=f"weights that are not finite: {name}"):
            load_weights(path)
    other = tmp_path / "other.safetensors"
    safetensors.torch.save_file(weights, other, {**metadata, "backbone": "plain6"})
    with pytest.raises(UserError, match="not those of a plain6"):
        BYOL.load_backbone(other)


# Commands that train import Lightning, which takes a second.
TRAINING = ("benchmark", "pretrain", "sweep")


def test_the_package_imports_no_torch_until_it_is_used_and_commands_on_a_run_no_lightning():
    script = (
        "import sys, BYOL\n"
        "assert 'torch' not in sys.modules and 'sklearn' not in sys.modules\n"
        "assert callable(BYOL.load_backbone) and 'torch' in sys.modules\n"
        "assert 'pytorch_lightning' not in sys.modules\n"
        "try: BYOL.nothing\n"
        "except AttributeError as error: assert 'nothing' in str(error)\n"
        "import importlib\n"
        "from BYOL.cli.program import COMMANDS\n"
        f"for name in sorted(set(COMMANDS) - set({TRAINING})):\n"
        "    importlib.import_module(f'BYOL.cli.commands.{name}')\n"
        "    assert 'pytorch_lightning' not in sys.modules, name\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
