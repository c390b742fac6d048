"""A run on shards that is killed within an epoch and resumed ends with identical weights."""

import dataclasses

import pytest

from BYOL.cli.main import main
from BYOL.data.shards.write import Packing, pack
from BYOL.data.sources import open_images
from BYOL.errors import UserError
from BYOL.runs.open import load_checkpoint
from BYOL.training.pretrain import pretrain
from tests.conftest import TINY, draw_images, tiny
from tests.training.test_resume import assert_same_run, interrupted, start, wait_for


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    root = tmp_path_factory.mktemp("shards")
    images = open_images(str(draw_images(root / "images", each=20))).train
    pack({"train": images}, root / "tar", Packing(30_000, "tar", 0))
    pack({"train": images}, root / "parquet", Packing(30_000, "parquet", 0))
    return root / "tar"


def two_epochs(data, out, workers: int):
    return dataclasses.replace(interrupted(data, out, workers), epochs=2)


@pytest.mark.parametrize("kind", [pytest.param("files", marks=pytest.mark.slow), "parquet"])
def test_a_run_on_shards_killed_within_an_epoch_resumes_bit_exactly(shards, tmp_path, kind):
    data = shards if kind == "files" else shards.parent / "parquet"
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(two_epochs(data, killed, 1))
    wait_for(killed / "checkpoints" / "step-000000003.ckpt", process)  # of five per epoch
    process.kill()
    process.join()
    for run, workers in ((killed, 1), (whole, 1 if kind == "parquet" else 0)):
        process = start(two_epochs(data, run, workers))
        process.join()
        assert process.exitcode == 0
    assert_same_run(whole, killed)
    facts = load_checkpoint(whole / "checkpoints" / "last.ckpt")["byol_facts"]
    assert facts["pictures"] == 40 and facts["digest"]
    assert facts["streams"] == {"groups": 1, "lanes": 1, "parts": 2}


def test_resuming_with_reordered_shards_is_rejected(shards, tmp_path):
    pretrain(tiny(shards, tmp_path / "run", epochs=1, memory=0.0))
    first = sorted(shards.glob("*.tar"))
    swapped = f"{shards}/{{{','.join(p.stem for p in reversed(first))}}}.tar"
    with pytest.raises(UserError, match="the images of DATA are not those"):
        pretrain(tiny(swapped, tmp_path / "run", epochs=2, memory=0.0, resume=True))
    with pytest.raises(UserError, match="--shuffle_buffer=9"):
        pretrain(tiny(shards, tmp_path / "run", memory=0.0, resume=True, shuffle_buffer=9))


def test_a_run_on_shards_is_measured(shards, tmp_path, capsys):
    out, data = str(tmp_path / "run"), str(shards)
    argv = ["pretrain", data, *TINY, "--memory=0", "--no-report", "--out", out]
    assert main(argv) == 0
    assert "trained" in capsys.readouterr().out
    assert main(["evaluate", out, "--protocol=knn"]) == 0
    assert main(["embed", out, str(shards), "--out", str(tmp_path / "e.parquet")]) == 0
    assert "40 images" in capsys.readouterr().out
