"""A resumed run continues with what it has recorded, unless the user specifies something else."""

import dataclasses
from pathlib import Path

import pytest

import BYOL
from BYOL.cli.main import main
from BYOL.config import load_config, save_config
from BYOL.config.presets import preset_config
from BYOL.config.resumed import recorded_settings
from BYOL.training.pretrain import pretrain
from tests.conftest import TINY, draw_images, tiny

QUICK = ("--workers=0", "--accelerator=cpu", "--no-evaluate", "--no-report")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return draw_images(tmp_path / "images", each=10, side=24)


@pytest.fixture
def former(images: Path, tmp_path: Path) -> Path:
    """A run of one epoch that records no flags, as former versions did; 24 px views."""
    out = tmp_path / "former"
    pretrain(tiny(images, out, image_size=24, epochs=1, knn_every=0, workers=0))
    assert "specified" not in load_config(out / "config.yaml").recipe
    return out


@pytest.mark.trains
@pytest.mark.parametrize("resume", ["--resume", "--resume=auto"])
def test_choices_of_a_former_version_remain(images, former, resume):
    recorded = load_config(former / "config.yaml")
    assert main(["pretrain", str(images), f"--out={former}", resume, "--epochs=2", *QUICK]) == 0
    config = load_config(former / "config.yaml")
    assert config.epochs == 2 and "facts" not in config.recipe
    assert config == dataclasses.replace(
        recorded, epochs=2, recipe=config.recipe, accelerator="cpu"
    )
    assert main(["pretrain", str(images), f"--out={former}", resume, "--epochs=2", *QUICK]) == 0


def test_a_setting_that_is_specified_is_compared(images, former, capsys):
    argv = ["pretrain", str(images), f"--out={former}", "--resume", "--epochs=2", *QUICK]
    assert main([*argv, "--view-size=16"]) == 2
    assert "--view-size=16 does not fit --resume" in capsys.readouterr().err
    assert main([*argv, "--preset=32px-minutes", "--batch-size=8"]) == 2
    assert "does not fit --resume" in capsys.readouterr().err


def test_a_flag_that_is_left_out_has_its_default_if_the_run_may_be_a_new_one(tmp_path):
    file = tmp_path / "config.yaml"
    specified = {"specified": ["depth_proj", "lr"]}
    save_config(preset_config("small", depth_proj=3, lr=0.7, recipe=specified), file)

    def recorded(preset: str, resume: bool | str) -> dict[str, object]:
        config = preset_config(preset, recipe={"specified": []}, resume=resume, out=str(tmp_path))
        return recorded_settings(config, file)

    for preset in ("small", "auto"):
        found = recorded(preset, True)
        assert (found["depth_proj"], found["lr"]) == (3, 0.7)
        assert "depth_proj" not in recorded(preset, "auto")
    assert "lr" not in recorded("small", "auto")
    assert recorded("auto", "auto")["lr"] == 0.7, "the preset auto has no default"
    assert recorded("few", True).keys() == {"accumulate", "minutes"}


@pytest.mark.parametrize("preset", ["small", "auto"])
@pytest.mark.parametrize("resume", [True, "auto"])
def test_the_time_limit_of_a_run_remains_recorded(tmp_path, lines, preset, resume):
    file = tmp_path / "config.yaml"
    record = {"specified": ["lr", "minutes", "a former setting"], "minutes": 5.0}
    facts = {"facts": {"images": 9}} if preset == "auto" else {}
    recipe = {**record, **facts}
    save_config(preset_config("small", epochs=7, recipe=recipe, preset=preset), file)
    flags = {"resume": resume, "out": str(tmp_path)}

    def again(**changes: object) -> dict[str, object]:
        config = preset_config(preset, **flags, **changes, recipe={"specified": sorted(changes)})
        return recorded_settings(config, file)

    found = again(minutes=5.0)
    flagged = ["lr", "minutes"] if resume is True else ["minutes"]
    assert found["recipe"] == {"specified": flagged, "minutes": 5.0, **facts}
    assert found["minutes"] is None and found["epochs"] == 7
    assert again()["recipe"]["minutes"] == 5.0
    assert not lines(), "nothing is ignored"
    assert again(minutes=9.0)["epochs"] == 7
    assert lines() == [
        "warning: --minutes=9 changes nothing: a resumed run keeps its length (--epochs sets "
        "another)"
    ]


@pytest.mark.trains
def test_a_run_is_resumed_on_its_own_images(images, tmp_path, capsys):
    run, moved = tmp_path / "run", tmp_path / "moved"
    assert main(["pretrain", str(images), f"--out={run}", *TINY, "--epochs=1", *QUICK]) == 0
    assert BYOL.pretrain(out=run, resume=True, epochs=2, evaluate=False)["epochs"] == 2
    assert f"resumes on the images of the run: {images}" in capsys.readouterr().err
    run.rename(moved)
    argv = ["pretrain", f"--out={moved}", "--resume", "--epochs=3", *QUICK]
    assert main(argv) == 2
    assert f"names data={images}: a file opens no place by itself; give --data" in (
        capsys.readouterr().err
    )
    assert main([*argv, "--trust"]) == 0
    assert load_config(moved / "config.yaml").data == str(images)
    assert main([*argv, "--epochs=4"]) == 0, "now it is signed at its new place"
    config = load_config(moved / "config.yaml")
    assert (config.backbone, config.preset, config.epochs) == ("plain5", "auto", 4)


@pytest.mark.trains
def test_labels_come_with_the_images(images, tmp_path):
    run, labels = tmp_path / "run", tmp_path / "labels.csv"
    rows = [f"{path.relative_to(images)},{i % 2}\n" for i, path in enumerate(images.rglob("*.png"))]
    labels.write_text("file,kind\n" + "".join(rows))
    argv = ["pretrain", f"--out={run}", *QUICK]
    assert main([*argv, str(images), *TINY, "--epochs=1", f"--labels={labels}"]) == 0
    assert main([*argv, "--resume", "--epochs=2"]) == 0
    assert load_config(run / "config.yaml").labels == str(labels)
