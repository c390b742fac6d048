"""Which settings of a finished run a sweep compares with those of its file."""

import dataclasses
import json
from pathlib import Path

import pytest
import yaml

from BYOL.cli.main import main
from BYOL.cli.sweep import run as running
from BYOL.cli.sweep.results import results_of
from BYOL.config import load_config, save_config
from BYOL.config.from_values import run_settings
from BYOL.config.resumed import recorded_settings
from BYOL.errors import StoppedError, UserError
from tests.conftest import draw_images

AUTO = {
    "backbone": "plain5", "image_size": 12, "epochs": 1, "batch_size": 8, "workers": 0,
    "report": False, "knn_every": 0,
}  # fmt: skip
PHOTOS = {"data": "photos"}  # without images, the preset is not auto but digits


def recorded(folder: Path, values: dict, **resolved) -> None:
    """A folder as if a run with ``values`` had been made in it, which became ``resolved``."""
    folder.mkdir(parents=True, exist_ok=True)
    run = run_settings({**PHOTOS, **values})
    record = {**run.recipe, **resolved.pop("recipe", {})}
    save_config(dataclasses.replace(run, **resolved, recipe=record), folder / "config.yaml")
    (folder / "results.json").write_text(json.dumps({"evaluation": None}))


def wanted(folder: Path, values: dict):
    return dataclasses.replace(run_settings({**PHOTOS, **values}), out=str(folder))


@pytest.mark.trains
def test_a_sweep_with_the_preset_auto_is_finished_and_repeated(tmp_path, capsys, monkeypatch):
    images = draw_images(tmp_path / "images", each=10)
    file, out = tmp_path / "s.yaml", tmp_path / "out"
    grid = {"lr": [0.1, 0.5], "backbone": ["plain5", "plain6"]}
    settings = {**AUTO, "data": str(images), "evaluate": True}
    file.write_text(yaml.safe_dump({"settings": settings, "grid": grid}, sort_keys=False))
    given: dict[str, set[str]] = {}
    pretrain = running.pretrain

    def listening(config, known):
        def rows_of(resolved):
            given[Path(config.out).parent.name] = set(known(resolved))
            return known(resolved)

        return pretrain(config, known=rows_of)

    monkeypatch.setattr(running, "pretrain", listening)
    argv = ["sweep", str(file), "--trust", "--out", str(out)]
    assert main(argv) == 0, capsys.readouterr().err
    variants = [f"lr={lr}-backbone={name}" for lr in grid["lr"] for name in grid["backbone"]]
    assert given == {
        variants[0]: set(), variants[1]: {"raw pixels"},
        variants[2]: {"raw pixels", "untrained"}, variants[3]: {"raw pixels", "untrained"},
    }  # fmt: skip
    for variant in variants:
        run = load_config(out / variant / "seed-0" / "config.yaml")
        assert f"lr={run.lr}-backbone={run.backbone}" == variant
        assert run.hidden_size == 1024, "of the recipe for a CPU, not the default of the setting"
    monkeypatch.setattr(running, "pretrain", None)
    assert main(argv) == 0, capsys.readouterr().err
    assert "4 runs of 4 variants, 4 finished" in capsys.readouterr().err
    parts = {"settings": {**settings, "epochs": 2}, "grid": grid}
    file.write_text(yaml.safe_dump(parts, sort_keys=False))
    assert main(argv) == 2
    assert "holds a run with epochs=1, not 2" in capsys.readouterr().err


@pytest.mark.trains
def test_a_sweep_with_minutes_is_resumed_and_repeated(tmp_path, capsys, monkeypatch):
    images = draw_images(tmp_path / "images", each=10)
    file, out = tmp_path / "s.yaml", tmp_path / "out"
    settings = {"preset": "small", **AUTO, "data": str(images), "evaluate": False}
    settings |= {"hidden_size": 16, "minutes": 0.05, "epochs": 3}
    file.write_text(yaml.safe_dump({"settings": settings}))
    argv = ["sweep", str(file), "--trust", "--out", str(out)]
    pretrain = running.pretrain

    def stopped(config, known):
        pretrain(config)
        raise StoppedError("stopped")

    monkeypatch.setattr(running, "pretrain", stopped)
    assert main(argv) == 75, capsys.readouterr().err
    (out / "run" / "seed-0" / "results.json").unlink()
    monkeypatch.setattr(running, "pretrain", pretrain)
    assert main(argv) == 0, capsys.readouterr().err
    assert main(argv) == 0, capsys.readouterr().err
    assert "1 runs of 1 variants, 1 finished" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "resolved", "now"),
    [
        ({}, {"hidden_size": 1024, "lr": 0.4, "epochs": 7, "image_size": 48}, {}),
        ({"lr": 0.1}, {"hidden_size": 1024, "accumulate": 4}, {"lr": 0.1}),
        ({}, {"hidden_size": 1024, "lr": 0.4}, {"lr": 0.4}),
        ({"preset": "small"}, {"accumulate": 4, "channels": 3}, {"preset": "small"}),
        ({"preset": "small", "accumulate": 2}, {"accumulate": 8},
         {"preset": "small", "accumulate": 2}),
        ({"preset": "small", "minutes": 5},
         {"minutes": None, "epochs": 3, "steps": 40, "length_changes": [3, 40],
          "recipe": {"minutes": 5.0}}, {"preset": "small", "minutes": 5}),
        ({"minutes": 5, "epochs": 30}, {"minutes": None, "epochs": 3},
         {"minutes": 5, "epochs": 30}),
        ({"preset": "small", "teacher": "local-dir:t"},
         {"target": "teacher", "predictor": "none", "output_size": 20, "teacher_size": 64,
          "teacher": f"local-dir:{Path('t').absolute()}"},
         {"preset": "small", "teacher": "local-dir:t"}),
    ],
    ids=(
        "auto", "one specified", "chosen then specified", "preset", "memory", "minutes",
        "minutes of a resumed run", "teacher",
    ),
)  # fmt: skip
def test_what_a_run_resolved_is_not_compared(tmp_path, before, resolved, now):
    recorded(tmp_path / "r", before, **resolved)
    assert results_of(wanted(tmp_path / "r", now)) is not None


@pytest.mark.parametrize(
    ("before", "resolved", "now", "message"),
    [
        ({"lr": 0.1}, {}, {"lr": 0.5}, "lr=0.1, not 0.5"),
        ({}, {"lr": 0.4}, {"lr": 0.5}, "lr=0.4, not 0.5"),
        ({"epochs": 300}, {}, {}, "epochs=300, which the sweep leaves open"),
        ({"image_size": 32}, {}, {}, "image_size=32, which the sweep leaves open"),
        ({"preset": "small"}, {}, {}, "preset=small, not auto"),
        ({}, {}, {"preset": "small"}, "preset=auto, not small"),
        ({"preset": "small"}, {"accumulate": 4}, {"preset": "small", "accumulate": 8},
         "accumulate=4, not 8"),
        ({"minutes": 5}, {"minutes": None, "recipe": {"minutes": 5.0}}, {"minutes": 6},
         "minutes=5.0, not 6"),
        ({"minutes": 5}, {"minutes": None, "recipe": {"minutes": 5.0}}, {},
         "minutes=5.0, not None"),
        ({}, {"minutes": None, "recipe": {"minutes": 20.0}}, {"minutes": 6}, "minutes=None, not 6"),
        ({"minutes": 5, "epochs": 30}, {"minutes": None, "epochs": 30},
         {"minutes": 5, "epochs": 20}, "epochs=30, not 20"),
        ({"tau_schedule": "constant"}, {}, {}, "tau_schedule=constant, not"),
    ],
)  # fmt: skip
def test_a_run_with_other_specified_settings_is_refused(tmp_path, before, resolved, now, message):
    recorded(tmp_path / "r", before, **resolved)
    with pytest.raises(UserError, match="holds a run with") as caught:
        results_of(wanted(tmp_path / "r", now))
    assert message in str(caught.value)


def test_the_settings_of_a_resumed_run_are_those_of_the_sweep(tmp_path):
    """Its config.yaml is written again, from the recorded values and those of the file."""
    folder, values = tmp_path / "r", {"preset": "small", "minutes": 5, "lr": 0.1}
    recorded(folder, values, minutes=None, epochs=3, recipe={"minutes": 5.0})
    run = wanted(folder, values)
    again = dataclasses.replace(run, **recorded_settings(run, folder / "config.yaml"))
    save_config(again, folder / "config.yaml")
    assert load_config(folder / "config.yaml").recipe["minutes"] == 5.0
    assert results_of(run) is not None


def test_the_advice_about_a_place_names_only_flags_that_a_sweep_has(tmp_path, capsys):
    (tmp_path / "s.yaml").write_text("settings: {data: photos}")
    assert main(["sweep", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "o")]) == 2
    said = capsys.readouterr().err
    assert said.endswith(
        "names data=photos: a file opens no place by itself; give --trust if you trust the file\n"
    )
