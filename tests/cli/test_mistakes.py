"""A mistake of the user leads to exit code 2, one line that names it, and no written file."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from BYOL.cli.main import main
from BYOL.runs.checksum import add_checksum
from tests.conftest import TINY, draw_images


class Hostile:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to stand in, with some pictures, and nothing else."""
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "pictures", each=6)
    return tmp_path


def refuse(argv, capsys) -> str:
    before = {p: p.stat().st_size for p in sorted(os.scandir("."), key=str) if p.is_file()}
    names = sorted(e.name for e in os.scandir("."))
    assert main(argv) == 2
    assert sorted(e.name for e in os.scandir(".")) == names, "something was written"
    assert all(p.stat().st_size == size for p, size in before.items())
    answer = capsys.readouterr()
    lines = [line for line in answer.err.splitlines() if line.startswith("byol: ")]
    assert len(lines) == 1 and "Traceback" not in answer.err and not answer.out
    return lines[0]


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["missing"], "missing is not there"),
        (["cifar11"], "did you mean cifar10"),
        (["pictures", "--batch-size=100"], "12 images"),
        (["pictures", "--backbone=resnet51"], "resnet50"),
        (["pictures", "--image-size=0"], "--image-size=0"),
        (["pictures", "--batch-size=0"], "--batch-size=0"),
        (["pictures", "--batch-size=1"], "give at least 2, or --norm gn-ws"),
        (["pictures", "--batch-size=2", "--accumulate=2"], "give at least 4, or --norm gn-ws"),
        (["pictures", "--batch-size=2", "--devices=2", "--no-sync-batchnorm"], "at least 4"),
        (["pictures", "--lr=-1"], "--lr=-1"),
        (["pictures", "--lr=nan"], "--lr"),
        (["pictures", "--tau=1.5"], "from 0 to 1"),
        (["pictures", "--tau=-0.1"], "from 0 to 1"),
        (["pictures", "--minutes=inf"], "--minutes=inf is out of range"),
        (["pictures", "--memory=inf"], "--memory=inf is out of range"),
        (["pictures", "--warmup-epochs=inf"], "--warmup-epochs=inf is out of range"),
        (["pictures", "--crop-scale=0.9,0.5"], "crop_scale"),
        (["pictures", "--mean=[0.5,0.5]", "--std=[1,1]"], "3 channels"),
        (["pictures", "--channels=2"], "--channels=2"),
        (["pictures", "--epochs=many"], "--epochs"),
        (["pictures", f"--epochs={10**20}"], "give a number from 1 to 1e+09"),
        (["pictures", "--teacher=lite0", "--teacher-bands=1,2,3000000000"], "from 1 to 1e+09"),
        (["pictures", "--epoch=3"], "did you mean --epochs"),
        (["pictures", "--optimizer=adam"], "adamw"),
        (["pictures", "--preset=best"], "--preset=best"),
        (["pictures", "--freeze-patches"], "no patch embedding"),
        (["pictures", "--small-views=2", "--small-size=16"], "--small-size=16"),
        (["pictures", "--small-views=1", "--backbone=test_vit"], "accepts any size"),
        (["pictures", "--target=moving"], "ema"),
        (["pictures", "--target=online", "--target-norm=running"], "target='ema'"),
        (["pictures", "--norm=gn-ws", "--pretrained"], "exclude each other"),
        (["pictures", "--predictor-rho=1"], "--predictor-rho=1"),
        (["pictures", "--predictor=magic"], "optimal"),
        (["pictures", "--precision=fp16", "--accelerator=cpu"], "bf16"),
        (["pictures", "--accelerator=tpu"], "--accelerator=tpu"),
        (["pictures", "--config=missing.yaml"], "missing.yaml"),
        (["pictures", "--out=pictures"], "already exists"),
        (["pictures", "--out=pictures/a/00.png/run"], "cannot be made"),
        (["pictures", "--out=new", "--resume"], "no checkpoint"),
        (["pictures", "--resume"], "--out"),
        (["pictures", "surplus"], "surplus"),
        (["pictures", "--out", "--resume"], "--out has no value: --resume after it is a setting"),
        (
            ["--out=new", "--resume", "no"],
            "--resume=no is unknown: choose one of true, false, auto",
        ),
        (
            ["pictures", "--out=new", "--strict-images", "Yes"],
            "--strict-images: Yes is not true or false",
        ),
        (["pictures", "--out=runs/teacher-features"], "--out=runs/teacher-features: a folder of "),
        (["pictures", "--out", "--no-evaluate"], "--out has no value"),
        (["pictures", "--out", "--batch-size=8"], "--out has no value"),
        (["pictures", "--outt", "--resume"], "did you mean --out"),
    ],
)
def test_pretrain_refuses(place, capsys, argv, named):
    out = [] if any("--out" in a or a == "--resume" for a in argv) else ["--out=new"]
    flags = [flag for flag in TINY if flag.split("=")[0] not in " ".join(argv)]
    assert named in refuse(["pretrain", *argv, *flags, *out], capsys)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_pretrain_refuses_a_device_that_is_not_available(place, capsys):
    argv = ["pretrain", "pictures", *TINY, "--out=new", "--accelerator=gpu"]
    assert "not on this machine" in refuse(argv, capsys)


def test_pretrain_refuses_a_folder_without_images(place, capsys):
    (place / "empty").mkdir()
    (place / "empty" / "notes.txt").write_text("no picture")
    assert ".jpg" in refuse(["pretrain", "empty", *TINY, "--out=new"], capsys)


def test_pretrain_refuses_a_folder_of_broken_images(place, capsys):
    (place / "broken").mkdir()
    for i in range(10):
        (place / "broken" / f"{i}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    assert "none of its" in refuse(["pretrain", "broken", *TINY, "--out=new"], capsys)


def test_a_broken_image_is_named_and_fatal_with_strict_images(place, capsys):
    (place / "pictures" / "a" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    argv = ["pretrain", "pictures", *TINY, "--no-evaluate"]
    assert "a/torn.png" in refuse([*argv, "--out=new", "--strict-images"], capsys)
    assert main([*argv, "--out=new"]) == 0
    assert "1 of the files: a/torn.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["pretrian"], "did you mean pretrain"),
        (["evaluate"], "run"),
        (["evaluate", "missing"], "RUN=missing"),
        (["evaluate", "pictures"], "config.yaml"),
        (["embed", "missing", "pictures"], "RUN=missing"),
        (["export", "missing"], "RUN=missing"),
        (["export", "missing", "--to=backbone.onx"], "--to=backbone.onx"),
        (["views", "missing"], "missing is not there"),
        (["views", "pictures", "--out=views.gif"], "--out=views.gif"),
        (["views", "pictures", "--pictures=-1"], "--pictures=-1 is out of range: give a number"),
        (["views", "pictures", "--pictures=0"], "--pictures=0 is out of range: give a number"),
        (["views", "pictures", "--out=nowhere/views.png"], "nowhere"),
    ],
)
def test_other_commands_refuse(place, capsys, argv, named):
    assert named in refuse(argv, capsys)


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["evaluate", "RUN", "--protocol=knn,magic"], "--protocol=magic"),
        (["evaluate", "RUN", "flat"], "no labels"),
        (["evaluate", "RUN", "digits"], "1 channel;"),
        (["evaluate", "RUN", "flat", "--protocol=cluster"], "--clusters"),
        (["evaluate", "RUN", "--clusters=1"], "--clusters=1"),
        (["evaluate", "RUN", "--neighbours=20,0"], "--neighbours=0"),
        (["evaluate", "RUN", "--temperature=0"], "--temperature=0"),
        (["evaluate", "RUN", "--label-shares=0"], "--label-shares=0"),
        (["evaluate", "RUN", "--task=regression"], "needs --labels"),
        (["evaluate", "RUN", "--labels=none.csv"], "none.csv cannot be read"),
        (["evaluate", "RUN", "--groups=none.csv"], "--groups=none.csv cannot be read"),
        (["evaluate", "RUN", "--reference=pictures/a/00.png"], "00.png is neither a PyTorch nor"),
        (["embed", "RUN", "pictures", "--out=e.csv"], "--out=e.csv"),
        (["embed", "RUN", "pictures", "--out=nowhere/e.npz"], "nowhere"),
        (["embed", "RUN", "pictures", "--split=test"], "--split=test"),
        (["export", "RUN", "--to=nowhere/b.pth"], "nowhere"),
    ],
)
def test_commands_on_a_run_refuse(place, run, capsys, argv, named):
    draw_images(place / "flat", classes=("",))
    assert named in refuse([str(run) if a == "RUN" else a for a in argv], capsys)


@pytest.mark.parametrize(
    "argv",
    [
        ["pretrian"], ["pretrain", "--bakbone", "x"], ["pretrain", "--backbone=resnet19"],
        ["pretrain", "--lr=-1"], ["pretrain", "--on-collapse=sotp"], ["evaluate", "runs/nothing"],
        ["pretrain", "nowhere/"], ["pretrain", "photos", "--channels=2"],
        ["pretrain", "photos", "--out=photos"], ["pretrain", "--resume"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_the_page_of_mistakes_quotes_the_printed_messages(place, capsys, argv):
    (place / "pictures").rename(place / "photos")
    page = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
    assert f"{refuse(argv, capsys)}\n" in page.read_text(encoding="utf-8")


PLACES = (
    ("embed", "out", "npy"), ("embed", "out", "parquet"), ("embed", "out", "npz"),
    ("duplicates", "out", "csv"), ("duplicates", "grid", "png"), ("duplicates", "kept", "txt"),
    ("outliers", "out", "csv"), ("outliers", "grid", "png"), ("report", "out", "html"),
    ("export", "to", "pth"), ("export", "to", "onnx"),
)  # fmt: skip


@pytest.mark.parametrize(("command", "flag", "suffix"), PLACES)
def test_an_output_that_cannot_be_written_is_refused_before_any_work(
    place, run, capsys, monkeypatch, command, flag, suffix
):
    def opened(*_):
        raise AssertionError("work has begun")

    for module in ("curation.run_features", "cli.commands.export", "cli.commands.evaluate"):
        monkeypatch.setattr(f"BYOL.{module}.open_backbone", opened)
    monkeypatch.setattr("BYOL.cli.commands.report.open_run", opened)
    (place / f"o.{suffix}").mkdir()
    argv = [command, str(run), f"--{flag}"]
    assert "is a folder" in refuse([*argv, f"o.{suffix}"], capsys)
    assert "there is no folder nowhere" in refuse([*argv, f"nowhere/o.{suffix}"], capsys)
    # root, as whom tests may run, is let write everywhere
    monkeypatch.setattr(os, "access", lambda folder, _: str(folder) != "pictures")
    assert f"--{flag}=pictures/o.{suffix}: the folder pictures may not be written to" in refuse(
        [*argv, f"pictures/o.{suffix}"], capsys
    )


@pytest.mark.parametrize("kind", ["code", "noise", "cut short", "other"])
def test_an_invalid_checkpoint_is_refused_and_not_executed(place, capsys, kind):
    argv = ["pretrain", "pictures", *TINY, "--out=new", "--no-evaluate"]
    assert main(argv) == 0
    capsys.readouterr()
    path = place / "new" / "checkpoints" / "last.ckpt"
    whole = path.read_bytes()
    for older in path.parent.glob("step-*.ckpt"):  # nothing else to fall back upon
        older.unlink()
    if kind == "code":
        torch.save({"byol_version": "0", "state_dict": Hostile(place / "ran")}, path)
        add_checksum(path)  # a stranger can compute a checksum too
    elif kind == "other":
        torch.save({"state_dict": {}}, path)
        add_checksum(path)
    else:
        path.write_bytes(
            {"noise": bytes(range(256)) * 9, "cut short": whole[: len(whole) // 2]}[kind]
        )
    assert "last.ckpt" in refuse([*argv, "--resume", "--epochs=3"], capsys)
    assert not (place / "ran").exists()


def test_weights_with_code_are_refused_and_not_executed(place, run, capsys):
    from BYOL.errors import UserError
    from BYOL.export import load_weights

    (place / "evil.pth").write_bytes(pickle.dumps(Hostile(place / "ran")))
    with pytest.raises(UserError, match="refused"):
        load_weights(place / "evil.pth")
    assert not (place / "ran").exists()


def test_a_full_disk_leaves_no_incomplete_file(place, run, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "no space left" in refuse(["export", str(run), "--to=b.safetensors"], capsys)
    assert "no space left" in refuse(["embed", str(run), "--out=e.parquet"], capsys)
