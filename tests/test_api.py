"""The public Python functions do what the commands do."""

import doctest
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import BYOL
from BYOL import api
from BYOL.config.evaluate import EvaluateConfig
from BYOL.errors import UserError
from tests.conftest import TINY_SETTINGS, draw_images


def test_the_functions_are_attributes_of_the_package() -> None:
    for name in ("pretrain", "evaluate", "embed", "load_backbone", "load_classifier"):
        assert name in BYOL.__all__ and callable(getattr(BYOL, name))
    assert BYOL.pretrain is api.pretrain
    with pytest.raises(AttributeError, match="has no attribute 'pretrian'"):
        BYOL.pretrian  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, BYOL; print(sorted(m for m in sys.modules if m.startswith('BYOL')))"
    command = [sys.executable, "-c", code]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "['BYOL']"


def test_the_examples_in_the_docstrings_are_true() -> None:
    results = doctest.testmod(api, optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert results.attempted >= 1 and results.failed == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, "the setting 'epoch' is unknown: did you mean epochs"),
        ({"epochs": 0}, "--epochs=0 is out of range"),
        ({"epochs": "many"}, "--epochs: many is not a whole number"),
        ({"epochs": True}, "--epochs: True is not a whole number"),
        ({"epochs": np.True_}, "--epochs: True is not a whole number"),
        ({"epochs": np.float64(2)}, "--epochs: 2.0 is not a whole number"),
        ({"optimizer": "adam"}, "choose one of lars, sgd, adamw"),
        ({"data": "nowhere"}, "nowhere is not there"),
        ({"data": np.zeros((3, 8, 8))}, r"data is a ndarray: .*savez\('images.npz', images=data\)"),
    ],
)
def test_a_mistake_is_an_error_that_names_the_setting(
    settings: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        BYOL.pretrain(**settings)
    assert not list(tmp_path.iterdir())
    assert issubclass(UserError, ValueError)


def test_settings_are_those_of_the_command_line(tmp_path: Path) -> None:
    from BYOL.cli.program import parse

    values = {"data": tmp_path, "epochs": 3, "blur": [1, 0.25], "out": "~/x"}
    words = [str(tmp_path), "--epochs=3", "--blur=1,0.25", "--out=~/x"]
    assert api._settings(BYOL.config.PretrainConfig, values) == parse("pretrain", words)
    digits = api._settings(BYOL.config.PretrainConfig, {"data": None})
    assert (digits.preset, digits) == ("digits", parse("pretrain", []))


def test_numbers_and_arrays_of_numpy_are_those_of_python() -> None:
    values = {
        "epochs": np.int64(3),
        "lr": np.float32(0.25),
        "mean": np.array([0.5] * 3),
        "std": (np.float64(0.25),) * 3,
        "crop_scale": np.array([0.5, 1]),
        "optimizer": np.str_("sgd"),
        "evaluate": np.False_,
        "weights": Path("w.pth"),
        "backbone_args": {"depth": np.uint8(2)},
    }
    config = api._settings(BYOL.config.PretrainConfig, {"data": "photos", **values})
    direct = BYOL.config.PretrainConfig(data="photos", **values)
    for made in (config, direct):
        assert yaml.safe_dump(
            {name: getattr(made, name) for name in values if name != "crop_scale"}
        )
        assert (made.epochs, made.lr, made.optimizer) == (3, 0.25, "sgd")
        assert (made.mean, list(made.std)) == ([0.5] * 3, [0.25] * 3)
        assert list(made.crop_scale) == [0.5, 1] and made.evaluate is False
        assert made.weights == "w.pth" and made.backbone_args == {"depth": 2}
        assert {type(v) for v in (made.epochs, made.lr, *made.mean, made.optimizer)} <= {
            int,
            float,
            str,
        }
    evaluation = api._settings(EvaluateConfig, {"run": "r", "neighbours": np.array([1, 5])})
    assert evaluation.neighbours == [1, 5]


def test_an_old_name_of_a_setting_is_accepted_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    from BYOL.config import from_values

    from_values._warn_renamed.cache_clear()
    for _ in range(2):
        config = from_values.run_settings({"data": "photos", "trust": 0.02})
        assert config.trust_coefficient == 0.02
    lines = [line for line in caplog.messages if "trust is now called trust_coefficient" in line]
    assert len(lines) == 1


@pytest.mark.trains
def test_a_run_is_trained_evaluated_embedded_and_exported(tmp_path: Path) -> None:
    images = draw_images(tmp_path / "images")
    settings = {**TINY_SETTINGS, "epochs": 1, "report": False, "evaluate": False}
    results = BYOL.pretrain(images, out=tmp_path / "run", precision="fp32", **settings)
    assert Path(results["run"]) == tmp_path / "run" and results["epochs"] == 1

    evaluation = BYOL.evaluate(tmp_path / "run", images, protocol="knn")
    written = json.loads((tmp_path / "run" / "evaluation.json").read_text(encoding="utf-8"))
    assert written["rows"].keys() == evaluation["rows"].keys() >= {"trained", "untrained"}

    answer = BYOL.embed(tmp_path / "run", out=tmp_path / "e.npy")
    vectors = np.load(tmp_path / "e.npy")
    assert answer["pictures"] == 24 and vectors.shape == (24, *answer["shape"])

    exported = api.export(tmp_path / "run", to=tmp_path / "b.safetensors")
    assert exported["to"] == str(tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").exists()
    assert BYOL.load_backbone(tmp_path / "run") is not None


SEVERAL = """
import logging, os, sys
import BYOL
from BYOL.errors import UserError
logging.basicConfig(level="INFO", format="%(message)s")
images, run, backbone = sys.argv[1:]
try:
    settings = dict({settings}, out=run, devices=2, backbone=backbone, report=False, evaluate=False)
    print(BYOL.pretrain(images, **settings)["steps"])
except UserError as error:
    print(error)
"""


@pytest.mark.trains
@pytest.mark.parametrize(
    ("backbone", "last"), [("plain5", "2"), ("plain55", "backbone 'plain55' is unknown")]
)
def test_a_program_that_cannot_be_started_again_has_runs_of_several_processes(
    tmp_path: Path, backbone: str, last: str
) -> None:
    images = draw_images(tmp_path / "images", each=8)
    settings = {**TINY_SETTINGS, "epochs": 1, "batch_size": 8}
    settings.pop("backbone", None)
    code = SEVERAL.replace("{settings}", repr(settings))
    command = [sys.executable, "-c", code, str(images), str(tmp_path / "run"), backbone]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=250)
    assert done.stdout.splitlines()[-1].startswith(last), done.stderr
    assert (tmp_path / "run").exists() == (backbone == "plain5")
