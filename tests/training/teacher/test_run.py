"""Runs with a teacher: mistakes, rows of the comparison, resume, and several processes."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from BYOL._hardware import Machine
from BYOL.cli.main import main
from BYOL.config import load_config
from BYOL.config.presets import preset_config
from BYOL.data.dataset import ArrayImages
from BYOL.model.backbones import build_backbone
from BYOL.runs.folder import RunFolder
from BYOL.runs.open import open_run
from BYOL.training.prepare import Prepared, prepare
from BYOL.training.pretrain import _teacher_hint, pretrain
from BYOL.training.resume import Start
from BYOL.training.run_setup import RunSetup
from BYOL.training.teacher.network import open_teacher
from BYOL.training.teacher.run import run_teacher
from BYOL.training.teacher.targets import read_space
from tests.conftest import TINY, draw_images, tiny
from tests.training.test_launch import FLAGS, assert_equal_to_rounding, launch
from tests.training.test_resume import assert_same_run, start, wait_for


def write_teacher(folder, channels: int = 3):
    """A random small network in timm's format, for images of 16 px."""
    torch.manual_seed(5)
    network = build_backbone("plain5", in_channels=channels)
    folder.mkdir()
    save_file(network.state_dict(), folder / "model.safetensors")
    statistics = {"mean": [0.5] * channels, "std": [0.2] * channels}
    about = {
        "architecture": "plain5",
        "model_args": {"in_chans": channels},
        "pretrained_cfg": {**statistics, "input_size": [channels, 16, 16]},
    }
    (folder / "config.json").write_text(json.dumps(about))
    return f"local-dir:{folder}"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return write_teacher(tmp_path_factory.mktemp("teacher") / "network")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return draw_images(tmp_path_factory.mktemp("data") / "pictures", each=20)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, images, teacher):
    root = tmp_path_factory.mktemp("trained")
    argv = ["pretrain", str(images), *TINY, "--precision=fp32", f"--teacher={teacher}"]
    assert main([*argv, "--out", str(root / "run")]) == 0
    return root / "run"


def test_results_and_report_have_a_row_of_the_teacher_and_what_it_cost(trained):
    results = json.loads((trained / "results.json").read_text())
    assert list(results["evaluation"]["rows"]) == ["raw pixels", "untrained", "teacher", "trained"]
    about = results["teacher"]
    assert about["images"] == 40 and about["seconds"] >= 0 and about["licence"] == "unknown"
    assert about["components"] == 8 and -1 <= about["agreement"] <= 1
    page = (trained / "report.html").read_text()
    assert "the frozen features of network itself at 16 px" in page
    assert "the licence of its weights is unknown" in page
    config = load_config(RunFolder(trained).config)
    assert (config.target, config.predictor, config.teacher_size) == ("teacher", "none", 16)
    assert read_space(RunFolder(trained)).components.shape[1] == 8


def test_the_commands_accept_a_run_with_a_teacher(trained, tmp_path, capsys):
    assert main(["evaluate", str(trained)]) == 0
    text = capsys.readouterr().out
    assert "teacher" in text and "by an earlier run" in text
    assert main(["embed", str(trained), "--out", str(tmp_path / "e.npy")]) == 0
    assert main(["export", str(trained), "--to", str(tmp_path / "b.safetensors")]) == 0
    assert main(["export", str(trained), "--to", f"{tmp_path / 'hub'}/"]) == 0
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "training targets are the features of `network`" in card
    assert main(["report", str(trained), "--out", str(tmp_path / "r.html")]) == 0
    argv = ["pretrain", "--config", str(trained / "config.yaml"), "--out", str(trained)]
    assert main([*argv, "--resume", "auto"]) == 0


def test_a_second_run_next_to_the_first_reuses_the_features(trained, images, teacher):
    before = sorted((trained.parent / "teacher-features").iterdir())
    results = pretrain(tiny(images, trained.parent / "again", teacher=teacher))
    assert results["teacher"]["reused"]
    assert sorted((trained.parent / "teacher-features").iterdir()) == before


def test_a_run_is_a_teacher_too(trained, images):
    results = pretrain(tiny(images, trained.parent / "student", teacher=str(trained)))
    assert results["teacher"]["trained_on"] == "the images of its run, without labels"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--teacher=resnet1"], "--teacher=resnet1 has no published weights"),
        (["--teacher=./nothing"], "--teacher=./nothing is not there: give lite0"),
        (["--teacher=local-dir:nothing"], "there is no folder nothing"),
        (["--teacher-size=32"], "--teacher-size=32 needs --teacher"),
        (["--target=teacher"], "--target=teacher needs --teacher"),
        (["--teacher=lite0", "--target=online"], "--target=online and --teacher exclude"),
        (["--teacher=lite0", "--predictor=optimal"], "--predictor=optimal and --teacher exclude"),
        (["--teacher=TEACHER", "--teacher-bands=1,2"], "--teacher-bands=1,2 does not fit: give 3"),
        (["--teacher=TEACHER", "--teacher-bands=1,2,9"], "give 3 numbers from 1 to 3"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(words, message, images, teacher, tmp_path, capsys):
    words = [word.replace("TEACHER", teacher) for word in words]
    out = tmp_path / "run"
    assert main(["pretrain", str(images), *TINY, "--out", str(out), *words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error
    assert not list(tmp_path.iterdir())


def many_bands(path, bands: int):
    pixels = np.random.default_rng(0).integers(0, 255, (24, 16, 16, bands), np.uint8)
    np.save(path, pixels)
    return path


def test_images_of_many_bands_need_chosen_bands(teacher, tmp_path, capsys):
    data = many_bands(tmp_path / "bands.npy", 5)
    argv = ["pretrain", str(data), "--channels=5", *TINY, f"--teacher={teacher}", "--epochs=1"]
    assert main([*argv, "--out", str(tmp_path / "run")]) == 2
    assert "--teacher-bands=1,2,3" in capsys.readouterr().err
    bands = ["--teacher-bands=4,3,2", "--out", str(tmp_path / "run"), "--no-report"]
    assert main([*argv, *bands]) == 0
    assert load_config(tmp_path / "run" / "config.yaml").teacher_bands == [4, 3, 2]


def test_grey_images_are_repeated_for_a_teacher_of_three_channels(teacher, tmp_path):
    config = tiny(many_bands(tmp_path / "grey.npy", 1), tmp_path / "run", teacher=teacher)
    prepared = prepare(config)
    assert prepared.teacher is not None and prepared.teacher.network.channels == [0, 0, 0]
    assert prepared.teacher.network(torch.rand(2, 1, 16, 16)).shape[0] == 2


def test_automatic_choice_leaves_the_digits_alone(tmp_path, lines):
    prepared = prepare(tiny("digits", tmp_path / "run", teacher="auto"))
    assert prepared.teacher is None and prepared.config.teacher is None
    assert any("--teacher=auto: none, because the images have 1 channel" in x for x in lines())


def test_a_killed_run_with_a_teacher_ends_with_the_same_bits(images, teacher, tmp_path):
    def config(out):
        return tiny(
            images, out, teacher=teacher, epochs=3, checkpoint_steps=1, resume="auto",
            memory=0.0, gauges_every=3,
        )  # fmt: skip

    stopped = tmp_path / "one" / "run"
    process = start(config(stopped))
    wait_for(stopped / "checkpoints" / "step-000000001.ckpt", process)
    process.kill()
    process.join()
    for out in (stopped, tmp_path / "two" / "run"):
        process = start(config(out))
        process.join()
        assert process.exitcode == 0
    assert_same_run(tmp_path / "two" / "run", stopped)


def test_a_run_resumed_without_flags_keeps_its_teacher_and_its_precision(
    images, teacher, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "run"
    argv = ["pretrain", str(images), *TINY, f"--teacher={teacher}", "--out", str(out)]
    monkeypatch.setattr("BYOL._hardware.pick_precision", lambda *_: "fp32")
    assert main([*argv, "--epochs=1"]) == 0
    other = {"auto": "bf16"}
    monkeypatch.setattr("BYOL._hardware.pick_precision", lambda w, _: other.get(w, w))
    capsys.readouterr()
    assert main(["pretrain", "--out", str(out), "--resume", "--epochs=2"]) == 0
    assert "cpu in fp32" in capsys.readouterr().err
    assert load_config(out / "config.yaml").teacher == teacher
    # The features have the precision of the run too, in training and in evaluation.
    assert len(list((tmp_path / "teacher-features").glob("*.npy"))) == 1
    assert run_teacher(open_run(out), "cpu").machine.precision == "fp32"


def test_a_teacher_with_other_weights_is_refused_on_resume(images, tmp_path, capsys):
    name, out = write_teacher(tmp_path / "network"), tmp_path / "run"
    assert main(["pretrain", str(images), *TINY, f"--teacher={name}", "--out", str(out)]) == 0
    file = tmp_path / "network" / "model.safetensors"
    save_file({key: value + 1 for key, value in load_file(file).items()}, file)
    capsys.readouterr()
    assert main(["pretrain", str(images), "--out", str(out), "--resume", "--epochs=3"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "has other weights than when the run" in error


def test_the_normalisation_of_a_teacher_is_part_of_its_digest(tmp_path):
    name = write_teacher(tmp_path / "network")
    config = preset_config("small", data="digits", teacher=name)
    before = open_teacher(config, 3, "cpu").digest
    about = json.loads((tmp_path / "network" / "config.json").read_text())
    about["pretrained_cfg"]["mean"] = [0.1, 0.5, 0.5]
    (tmp_path / "network" / "config.json").write_text(json.dumps(about))
    assert open_teacher(config, 3, "cpu").digest != before


@pytest.mark.trains
def test_two_processes_equal_one(images, teacher, tmp_path):
    words = [f"--teacher={teacher}", "--predictor=mlp"]
    two = launch([], images, tmp_path / "two", "--devices=2", *words)
    argv = ["pretrain", str(images), *TINY, *FLAGS, *words, "--out", str(tmp_path / "one")]
    assert main(argv) == 0
    error = two.communicate(timeout=240)[1]
    assert two.returncode == 0 and "byol: " not in error, error
    assert_equal_to_rounding(tmp_path / "one", tmp_path / "two")


def test_shards_have_a_teacher_too(images, teacher, tmp_path):
    assert main(["shard", str(images), "--out", str(tmp_path / "shards")]) == 0
    shards = tmp_path / "shards"
    results = pretrain(tiny(shards, tmp_path / "run", teacher=teacher, memory=0.0))
    assert results["teacher"]["images"] == 40


def test_a_run_from_another_person_does_not_open_its_teacher(trained, monkeypatch, tmp_path):
    monkeypatch.setenv("BYOL_CONFIG_HOME", str(tmp_path / "other"))
    from BYOL.runs.open import open_run

    assert open_run(trained).config.teacher is None
    assert open_run(trained, trust=True).config.teacher is not None


def setup(config, images, accelerator="cpu", step=None):
    """A run that is ready to be trained, as far as the recommendation of a teacher needs it."""
    prepared, machine = Prepared(config, images, None, None, []), Machine(accelerator, "fp32")
    start = Start(RunFolder("run"), step=step)
    return RunSetup(config, prepared, None, start, machine, None, {})


@pytest.mark.parametrize(
    ("channels", "side", "minutes", "accelerator", "expected"),
    [
        (3, 40, 5.0, "cpu", True),
        (1, 40, 5.0, "cpu", False),
        (3, 16, 5.0, "cpu", False),
        (3, 40, 600.0, "cpu", False),
        (3, 40, 5.0, "gpu", False),
    ],
)
def test_a_teacher_is_recommended_for_few_photographs_and_little_time(
    channels, side, minutes, accelerator, expected
):
    pixels = torch.zeros(50, channels, side, side, dtype=torch.uint8)
    photographs = ArrayImages("photographs", channels, None, (), pixels)
    config = preset_config("auto", minutes=minutes)
    advice = _teacher_hint(setup(config, photographs, accelerator))
    assert (advice is not None and "--teacher lite0" in advice) == expected
    assert _teacher_hint(setup(preset_config("auto", teacher="lite0"), photographs)) is None


@pytest.mark.parametrize(("count", "minutes"), [(7_000, 2.0), (50_000, 20.0)])
def test_a_teacher_is_recommended_if_its_features_leave_half_of_the_time(count, minutes):
    pixels = torch.zeros(1, 3, 40, 40, dtype=torch.uint8).expand(count, -1, -1, -1)
    photographs = ArrayImages("photographs", 3, None, (), pixels)
    config = preset_config("auto", minutes=minutes)
    assert _teacher_hint(setup(config, photographs)) is not None
    assert _teacher_hint(setup(preset_config("auto", minutes=minutes / 2), photographs)) is None
    assert _teacher_hint(setup(config, photographs, step=7)) is None
