import dataclasses
import json
import os
import subprocess
import sys
import time

import pytest
import torch

import BYOL
from BYOL.cli.main import main
from BYOL.cli.program import COMMANDS, parse
from BYOL.config import from_values, save_config
from BYOL.export import load_weights
from tests.conftest import TINY, draw_images


def test_overview_names_every_command(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == BYOL.__version__


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_on_a_screen_and_help_all_has_every_setting(name, capsys):
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= (50 if name == "pretrain" else 60)
    for flag in ("--config", "--json", "--help-all"):
        assert flag in text
    assert main([name, "--help-all"]) == 0
    everything = capsys.readouterr().out
    for field in dataclasses.fields(COMMANDS[name].settings):
        assert f"{field.name.replace('_', '-')}" in everything


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")
@pytest.mark.parametrize("words", [["--help"], ["pretrain", "--help"]], ids=" ".join)
def test_a_closed_pipe_is_not_an_error(words):
    command = [sys.executable, "-m", "BYOL", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()  # as head does, but before the first line
    assert process.stderr.read() == b""
    assert process.wait() == 141


def test_help_and_mistakes_are_fast_and_import_no_heavy_package():
    start = time.monotonic()
    out = subprocess.run([sys.executable, "-m", "BYOL", "--help"], capture_output=True, text=True)
    assert out.returncode == 0 and "pretrain" in out.stdout
    wrong = subprocess.run([sys.executable, "-m", "BYOL", "trian"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "did you mean" in wrong.stderr
    assert time.monotonic() - start < 4  # two processes, on a busy machine
    heavy = (
        "import sys, BYOL.cli.program; "
        "print([m for m in ('torch', 'timm', 'sklearn') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True)
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--image-size", "x"], "--image-size: x is not a whole number"),
        (["--epochs", "2.5"], "--epochs: 2.5 is not a whole number"),
        (["--blur", "x"], "--blur: x is not two numbers with a comma between"),
        (["--pixel-range", "1,2,3"], "1,2,3 is not two numbers, or two for each channel"),
        (["--pixel-range", "5,5"], "--pixel-range=(5.0, 5.0) is no range"),
    ],
)
def test_a_value_of_the_wrong_type_has_a_clear_message(words, message, capsys):
    assert main(["pretrain", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoks: 3", "--config: setting 'epoks' is unknown: did you mean epochs or steps?"),
        ("data: 5", "--data: 5 is not text: write it in quotes"),
        ("backbone_args: 5", "--backbone-args: 5 is not a table of names and values"),
        ("lr: 1\nepochs: [1,", "cannot be read: line 2: expected the node content"),
    ],
)
def test_a_mistake_in_a_file_has_a_clear_message(tmp_path, text, message, capsys):
    (tmp_path / "c.yaml").write_text(text)
    assert main(["pretrain", "--config", str(tmp_path / "c.yaml")]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "words", "name"),
    [
        ("pretrain", ["x", "--data", "y"], "data"),
        ("embed", ["r", "x", "--data=y", "--out=e.npy"], "data"),
        ("report", ["r", "--run", "s"], "run"),
    ],
)
def test_a_setting_with_and_without_its_flag_is_not_chosen_silently(command, words, name, capsys):
    assert main([command, *words]) == 2
    assert capsys.readouterr().err == (
        f"byol: {name.upper()} is given twice, with and without --{name}: leave one of them out\n"
    )


def test_an_old_name_of_a_setting_leads_to_one_warning(tmp_path, capsys):
    from_values._warn_renamed.cache_clear()
    (tmp_path / "c.yaml").write_text("trust: 0.5\n")
    config = parse("pretrain", ["photos", "--trust", "0.02", "--config", f"{tmp_path}/c.yaml"])
    assert config.trust_coefficient == 0.02
    assert parse("pretrain", ["photos", "--trust=0.5"]).trust_coefficient == 0.5
    assert capsys.readouterr().err.count("trust is now called trust_coefficient") == 1
    assert parse("pretrain", ["photos", "--trust"]).trust_coefficient == 0.001
    assert parse("evaluate", ["run", "--trust"]).trust is True


@pytest.mark.parametrize("value", ["true", "yes please", "0.5", "'true'"])
def test_trust_is_not_accepted_in_a_file(tmp_path, value, capsys):
    (tmp_path / "c.yaml").write_text(f"trust: {value}\n")
    assert main(["evaluate", "run", "--config", str(tmp_path / "c.yaml")]) == 2
    assert "trust is accepted on the command line only" in capsys.readouterr().err


def test_a_pixel_range_is_a_pair_or_a_pair_for_each_channel():
    assert parse("pretrain", ["--pixel-range", "-1000,400"]).pixel_range == (-1000, 400)
    assert parse("pretrain", ["--pixel-range", "-25,0,0,0.6"]).pixel_range == (-25, 0, 0, 0.6)
    assert parse("pretrain", []).pixel_range is None


def test_a_flag_overrides_a_file_and_a_file_overrides_the_preset(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("lr: 0.125\nepochs: 7\n")
    config = parse("pretrain", ["--epochs", "9", "--config", str(file)])
    assert (config.lr, config.epochs) == (0.125, 9)  # wherever the file stands
    config = parse("pretrain", ["--config", str(file), "--epochs", "9"])
    assert (config.preset, config.tau) == ("digits", parse("pretrain", []).tau)
    assert (config.lr, config.epochs) == (0.125, 9)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--batch-size", "32"], {"batch_size": 32}),
        (["--no-evaluate"], {"evaluate": False}),
        (["--evaluate", "false"], {"evaluate": False}),
        (["--target", "online"], {"target": "online"}),
        (["--strict-images"], {"strict_images": True}),
        (["--blur", "1,0.25"], {"blur": (1.0, 0.25)}),
        (["--crop-scale=[0.3,0.9]"], {"crop_scale": (0.3, 0.9)}),
        (["--mean", "[0.5]", "--std", "[0.25]"], {"mean": [0.5], "std": [0.25]}),
        (["--mean", "0.5", "--std=0.25"], {"mean": [0.5], "std": [0.25]}),
        (["cifar10"], {"data": "cifar10", "preset": "auto"}),
        (["digits"], {"data": "digits", "preset": "digits"}),
        (["photos", "--preset", "digits"], {"data": "photos", "preset": "digits"}),
        (["--preset", "paper-1000"], {"epochs": 1000, "lr": 0.2, "weight_decay": 1.5e-6}),
        (["--preset=paper-300", "--lr=0.1"], {"epochs": 300, "lr": 0.1}),
    ],
)
def test_flags_are_accepted_in_all_usual_forms(words, expected):
    config = parse("pretrain", words)
    assert {name: getattr(config, name) for name in expected} == expected


def test_a_tilde_is_expanded_in_every_setting_that_is_a_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "settings.yaml"
    file.write_text("out: ~/runs/x\nweights: ~/w.pth\n")
    config = parse("pretrain", ["--config", "~/settings.yaml", "--trust"])
    assert config.out == f"{tmp_path}/runs/x"
    # these are expanded when they are read, so config.yaml also suits another home folder
    assert (config.weights, config.data_root) == ("~/w.pth", "~/.cache/byol")
    words = ["~/run", "--labels=~/l.csv", "--groups=~/g.csv", "--reference", "~/r"]
    evaluation = parse("evaluate", words)
    found = (evaluation.run, evaluation.labels, evaluation.groups, evaluation.reference)
    assert found == tuple(f"{tmp_path}/{name}" for name in ("run", "l.csv", "g.csv", "r"))
    assert parse("export", ["~/run", "--to=~/b.pth"]).to == f"{tmp_path}/b.pth"
    assert parse("report", ["~/a", "b"]).run == [f"{tmp_path}/a", "b"]
    assert parse("duplicates", ["r", "--kept=~/k.txt"]).kept == f"{tmp_path}/k.txt"
    assert parse("shard", ["p", "--out=~/s"]).out == f"{tmp_path}/s"
    assert parse("sweep", ["~/s.yaml"]).sweep == f"{tmp_path}/s.yaml"
    assert parse("embed", ["r", "--out=a~/e.npy"]).out == "a~/e.npy"


def test_the_specified_settings_are_recorded(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("lr: 0.125\n")
    words = ["photos", "--config", str(file), "--tau=0.9", "--backbone_args.drop_path_rate", "0.1"]
    config = parse("pretrain", [*words, "--no-report"])
    assert config.undecided
    assert config.specified == {"data", "lr", "tau", "backbone_args", "report"}
    assert not parse("pretrain", ["photos", "--preset", "few"]).undecided
    # a sweep writes all settings into a file, and which ones were specified
    save_config(config, file)
    assert parse("pretrain", ["--config", str(file)]) == config


def test_json_is_one_object_on_standard_output(tmp_path, capsys):
    pictures = draw_images(tmp_path / "pictures")
    assert main(["views", str(pictures), "--out", str(tmp_path / "v.png"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer == {"out": str(tmp_path / "v.png"), "pictures": 8}


def test_a_mistake_is_one_json_object_on_standard_output(capsys):
    assert main(["embed", "nowhere", "--json"]) == 2
    answer = capsys.readouterr()
    mistake = json.loads(answer.out)
    assert mistake["code"] == 2 and answer.err == f"byol: {mistake['error']}\n"
    assert main(["embed", "nowhere"]) == 2 and not capsys.readouterr().out


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_terminal_without_a_character_shows_a_question_mark(run, encoding):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    for words in (["pretrain", "--help"], ["evaluate", str(run), "--protocol=knn"]):
        command = [sys.executable, "-m", "BYOL", *words]
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert b"?" in done.stdout and b"Traceback" not in done.stderr


def test_the_settings_file_of_a_run_reproduces_the_run(run, tmp_path, capsys):
    again = tmp_path / "again"
    assert main(["pretrain", "--config", str(run / "config.yaml"), "--out", str(again)]) == 0
    first, second = (load_weights(r / "backbone.safetensors")[0] for r in (run, again))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert "trained" in capsys.readouterr().out


def test_the_settings_of_the_tests_are_valid():
    assert parse("pretrain", list(TINY)).hidden_size == 16
