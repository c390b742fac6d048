"""``byol pretrain FOLDER`` without other flags: the preset auto on real folders."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from BYOL._hardware import Machine, available_memory
from BYOL.cli.main import main
from BYOL.cli.program import parse
from BYOL.config import load_config
from BYOL.config.presets import preset_config
from BYOL.errors import UserError
from BYOL.export import load_weights
from BYOL.model.weights import save_tensors
from BYOL.runs.build_model import build_model
from BYOL.training import auto_recipe, budget, microbatch
from BYOL.training.auto_recipe import _backbone_of
from BYOL.training.prepare import prepare
from BYOL.training.pretrain import pretrain
from tests.conftest import draw_images, tiny

QUICK = ["--workers", "0", "--accelerator", "cpu"]


def draw(root: Path, count: int, kind: str) -> Path:
    """Images of one kind: 28 px grey, 300 px grey, 512x384 colour, mixed sizes, 4 bands."""
    rng = np.random.default_rng(0)
    root.mkdir()
    for i in range(count):
        height, width, channels = {
            "small": (28, 28, 1), "grey": (300, 300, 1), "photos": (384, 512, 3),
            "bands": (50, 60, 4), "mixed": (*rng.integers(40, 400, 2), 3),
        }[kind]  # fmt: skip
        coarse = rng.integers(0, 256, (6, 8, channels), dtype=np.uint8)
        rows, columns = np.arange(height) * 6 // height, np.arange(width) * 8 // width
        pixels = coarse[rows][:, columns]
        if kind == "bands":
            _write_bands(root / f"{i:04}.tif", pixels)
            continue
        suffix = "png" if kind in ("small", "grey") else "jpg"
        Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(root / f"{i:04}.{suffix}")
    return root


def _write_bands(path: Path, pixels: np.ndarray) -> None:
    import tifffile

    tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig")


@pytest.fixture
def slow_clock(monkeypatch):
    """A machine on which a step takes a second and all else four: nothing is measured."""
    estimate = budget.Estimate(1.0, 4.0)
    monkeypatch.setattr(budget, "measure", lambda *_: estimate)


def lines_of(words: list[str], capsys) -> tuple[int, str]:
    code = main(["pretrain", *words, *QUICK])
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "kind", "size"),
    [(2, "photos", 32), (7, "mixed", 32), (63, "grey", 32), (300, "small", 28), (7, "bands", 50)],
)
def test_a_folder_without_flags_is_trained_on(tmp_path, slow_clock, capsys, count, kind, size):
    folder = draw(tmp_path / kind, count, kind)
    words = [str(folder), "--minutes", "0.1", "--out", str(tmp_path / "run")]
    code, said = lines_of(words, capsys)
    assert code == 0, said
    config = load_config(tmp_path / "run" / "config.yaml")
    assert (config.preset, config.image_size, config.backbone) == ("auto", size, "plain6")
    assert config.batch_size <= max(count // 2, 2)
    assert config.minutes is None and config.recipe["minutes"] == 0.1
    assert config.recipe["facts"]["images"] == count
    assert (tmp_path / "run" / "report.html").exists()
    for words in ("plain6: a small network, because there is no GPU", f"{size} px: ", "in all"):
        assert words in said
    assert re.search(r"--minutes or --epochs change it", said)


def test_one_image_is_one_line(tmp_path, capsys):
    folder = draw(tmp_path / "photos", 1, "photos")
    code, said = lines_of([str(folder), "--out", str(tmp_path / "run")], capsys)
    assert code == 2 and said.count("\n") == 1
    assert "has 1 image: training compares images with each other and needs at least 2" in said
    assert not (tmp_path / "run").exists()


def test_the_number_of_steps_fills_the_minutes(tmp_path, slow_clock, monkeypatch):
    folder = draw_images(tmp_path / "p", each=20)  # 40 images: batches of 16, 2 steps an epoch
    monkeypatch.setattr(budget.time, "monotonic", lambda: 1000.0)

    def lengths(*words: str) -> tuple[int, int | None]:
        config = parse("pretrain", [str(folder), *words])
        prepared = prepare(config)
        model = build_model(prepared.config)
        machine = Machine("cpu", "fp32")
        found, _ = budget.resolve_length(prepared.config, prepared, model, machine, 990.0)
        assert found.minutes is None
        return found.epochs, found.steps

    # of 60 seconds 10 are over and 4 come after training
    assert lengths("--minutes", "1") == (23, None)
    assert lengths("--minutes", "0.5") == (8, 16)
    assert lengths("--minutes", "0.1") == (1, 1)
    assert lengths("--minutes", "1", "--epochs", "3") == (3, None), "the shorter of both"
    assert lengths("--minutes", "0.5", "--epochs", "300") == (8, 16)
    assert lengths() == (593, None), "20 minutes"
    assert lengths("--epochs", "70") == (70, None)
    assert lengths("--preset", "few", "--batch-size=20", "--minutes=1") == (23, None)


def test_a_long_run_on_a_cpu_says_so_first(tmp_path, slow_clock, monkeypatch, lines):
    folder = draw_images(tmp_path / "p", each=20)
    monkeypatch.setattr(
        "BYOL.training.pretrain.train_network", lambda *_: pytest.fail("as far as it needs")
    )
    config = preset_config(
        "auto", data=str(folder), out=str(tmp_path / "r"), epochs=3000, accelerator="cpu"
    )
    with pytest.raises(pytest.fail.Exception):
        pretrain(config)
    line = next(line for line in lines() if "in all" in line)
    assert line.startswith("warning: 3,000 epochs, 6,000 steps of 1,000 ms: about")
    assert "100 minutes in all" in line and "--minutes=60 makes it an hour" in line


def test_the_time_of_a_resumed_run_is_that_of_the_steps_to_come(lines):
    config = preset_config("auto", epochs=3000, batch_size=16)
    estimate = budget.Estimate(1.0, 0.0)
    machine = Machine("cpu", "fp32")
    budget.log_recipe(config, 32, estimate, machine, budget.time.monotonic(), done=5400)
    budget.log_recipe(config, 32, estimate, machine, budget.time.monotonic(), done=10)
    length = "3,000 epochs, 6,000 steps of 1,000 ms: about"
    assert lines() == [
        f"{length} 10 minutes to the end (--epochs changes it)",
        f"warning: {length} 100 minutes to the end (--epochs changes it)",
    ]


def test_a_resumed_run_keeps_its_length_and_repeats_by_its_own_file(
    tmp_path, slow_clock, monkeypatch
):
    folder = draw_images(tmp_path / "p", each=10, side=24)
    out = tmp_path / "run"
    words = [str(folder), "--minutes", "0.1", "--out", str(out), "--no-evaluate", "--no-report"]
    assert main(["pretrain", *words, *QUICK]) == 0
    first = load_config(out / "config.yaml")
    (out / "results.json").unlink()
    monkeypatch.setattr(budget, "measure", lambda *_: budget.Estimate(0.01, 0.0))
    monkeypatch.setattr(auto_recipe, "choose_recipe", lambda facts: pytest.fail("chosen again"))
    assert main(["pretrain", *words, *QUICK, "--resume", "auto"]) == 0
    again = load_config(out / "config.yaml")
    assert dataclasses.replace(again, recipe={}) == dataclasses.replace(first, recipe={})
    assert again.recipe["facts"] == first.recipe["facts"]
    monkeypatch.undo()
    repeat = ["pretrain", "--config", str(out / "config.yaml"), "--out", str(tmp_path / "second")]
    assert main([*repeat, *QUICK]) == 0
    second = load_config(tmp_path / "second" / "config.yaml")
    assert dataclasses.replace(second, recipe={}, out=None) == dataclasses.replace(
        first, recipe={}, out=None
    )
    name = "backbone.safetensors"
    was, now = (load_weights(path / name)[0] for path in (out, tmp_path / "second"))
    assert all(torch.equal(value, now[key]) for key, value in was.items())


def test_a_preset_is_exactly_its_recipe_and_an_error_names_what_fits(tmp_path, capsys):
    folder = draw(tmp_path / "photos", 5, "photos")
    code, said = lines_of([str(folder), "--preset", "paper-300"], capsys)
    assert code == 2 and "--batch-size=4096 of --preset=paper-300 is larger than the set" in said
    assert "give --batch-size=2, or --preset=auto" in said
    for parts, advice in ((2, "give --batch-size=4, or --preset=auto"), (4, "need at least 8")):
        settings = ["--preset", "paper-300", "--accumulate", str(parts)]
        code, said = lines_of([str(folder), *settings], capsys)
        assert code == 2 and advice in said
    prepared = prepare(preset_config("32px-minutes", data=str(folder), batch_size=2))
    assert (prepared.config.view_size, prepared.config.image_size) == (24, 32)
    assert (prepared.config.backbone, prepared.config.lr) == ("plain6", 0.1)


def test_the_measured_step_is_that_of_training_and_the_networks_stay_as_they_were(tmp_path):
    folder = draw_images(tmp_path / "p", each=12)
    prepared = prepare(tiny(folder, tmp_path / "run", minutes=0.1, workers=0))
    model = build_model(prepared.config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    estimate = budget.measure(prepared.config, prepared, model, Machine("cpu", "fp32"))
    assert 1e-4 < estimate.step < 5 and estimate.rest > 0
    assert estimate.total(10) == pytest.approx(10 * estimate.step + estimate.rest)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.fixture
def resolved(tmp_path):
    config = tiny(draw_images(tmp_path / "p"), tmp_path / "run", batch_size=24)
    config = prepare(config).config
    return config, build_model(config)


def test_a_batch_that_does_not_fit_a_gpu_is_accumulated(resolved, monkeypatch, lines):
    config, model = resolved
    sizes: list[int] = []

    def step(config, model, machine):
        def refuse(x, x1):
            sizes.append(len(x))
            if len(x) > 5:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")

        return refuse

    monkeypatch.setattr(microbatch, "training_step", step)
    monkeypatch.setattr(microbatch, "torch_device", lambda name: torch.device("cpu"))
    gpu = Machine("gpu", "bf16")
    found = microbatch.fit_micro_batch(config, model, gpu)
    assert (found.accumulate, found.micro_batch, found.batch_size) == (8, 3, 24)
    assert sizes == [24, 12, 6, 3]
    assert len(lines()) == 1 and "accumulated from 8 parts of 3 images" in lines()[0]

    def broken(config, model, machine):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(microbatch, "training_step", broken)
    with pytest.raises(UserError, match=r"--batch_size=24 does not fit the memory"):
        microbatch.fit_micro_batch(config, model, gpu)


def test_a_batch_that_does_not_fit_the_memory_of_a_cpu_is_accumulated(resolved, monkeypatch, lines):
    config, model = resolved
    cpu = Machine("cpu", "fp32")
    needed = microbatch.step_bytes(config, config.view_shape[:2], model)
    monkeypatch.setattr(microbatch, "available_memory", lambda: 2 * needed)
    assert microbatch.fit_micro_batch(config, model, cpu) == config
    assert not lines()
    monkeypatch.setattr(microbatch, "available_memory", lambda: int(1.3 * needed))
    found = microbatch.fit_micro_batch(config, model, cpu)
    assert found.accumulate == 2 and "accumulated from 2 parts of 12 images" in lines()[0]
    monkeypatch.setattr(microbatch, "available_memory", lambda: None)
    assert microbatch.fit_micro_batch(config, model, cpu) == config


def test_the_estimated_memory_grows_with_batch_and_size(resolved):
    config, model = resolved
    small = microbatch.step_bytes(config, config.view_shape[:2], model)
    weights = 12 * sum(p.numel() for p in model.parameters())
    double = microbatch.step_bytes(config, (48, 3), model) - weights
    assert double == pytest.approx(2 * (small - weights), rel=0.01)
    larger = dataclasses.replace(config, image_size=32)
    assert microbatch.step_bytes(larger, larger.view_shape[:2], model) - weights > 3 * (
        small - weights
    )
    assert (available_memory() or 1) > 0


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", ["small", "grey", "photos", "mixed", "bands"])
@pytest.mark.parametrize("count", [1, 2, 7, 63, 300, 5000])
def test_the_grid_of_folders(tmp_path, capsys, count, kind):
    folder = draw(tmp_path / kind, count, kind)
    out = tmp_path / "run"
    code = main(["pretrain", str(folder), "--minutes", "0.5", "--out", str(out)])
    said = capsys.readouterr().err
    if count == 1:
        assert code == 2 and said.count("\n") == 1 and "needs at least 2" in said
        return
    assert code == 0, said
    assert (out / "report.html").exists() and "Traceback" not in said


def test_a_large_network_on_few_photographs_starts_and_says_how_long_it_takes(
    tmp_path, slow_clock, monkeypatch, lines
):
    folder = draw(tmp_path / "photos", 40, "photos")
    reached: list[int] = []
    monkeypatch.setattr(
        "BYOL.training.pretrain.train_network", lambda run, *_: reached.append(run.config.epochs)
    )
    words = [str(folder), "--backbone=resnet50", "--epochs=300", "--accelerator=cpu"]
    config = parse("pretrain", [*words, "--out", str(tmp_path / "run"), "--compile=off"])
    with pytest.raises(TypeError):  # there are no results of a training that was left out
        pretrain(config)
    assert reached == [300]
    line = next(line for line in lines() if "in all" in line)
    assert "300 epochs, 600 steps of 1,000 ms: about 10 minutes in all" in line
    assert any("batches of 16: at most half of the 40 images" in line for line in lines())


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"backbone": "plain6"}, "plain6"),
        ({"backbone": "resnet18", "image_size": "32"}, "resnet18"),
        ({"backbone": "hf-hub:somebody/model"}, None),  # a file must not start a download
        ({"backbone": "no such network"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_backbone_of_exported_weights_is_that_of_their_metadata(stored, expected, tmp_path):
    save_tensors({"w": torch.zeros(2)}, tmp_path / "w.safetensors", stored)
    assert _backbone_of(str(tmp_path / "w.safetensors")) == expected


def test_the_backbone_of_a_checkpoint_and_of_an_exported_folder_is_known(run, tmp_path):
    assert _backbone_of(str(run / "checkpoints" / "last.ckpt")) == "plain5"
    assert _backbone_of(str(run)) == "plain5"
    (tmp_path / "hub").mkdir()
    save_tensors(
        {"w": torch.zeros(2)}, tmp_path / "hub" / "model.safetensors", {"backbone": "plain6"}
    )
    assert _backbone_of(str(tmp_path / "hub")) == "plain6"


def test_weights_that_are_no_file_or_damaged_have_no_known_backbone(tmp_path):
    (tmp_path / "damaged.safetensors").write_bytes(b"\x07" * 40)
    for name in ("damaged.safetensors", "missing.safetensors", "folder"):
        assert _backbone_of(str(tmp_path / name)) is None
    assert _backbone_of(None) is None
