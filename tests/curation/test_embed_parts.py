"""Several processes embed into a folder; nothing is lost, and nothing is there twice."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from BYOL import _distributed
from BYOL.cli.main import main
from BYOL.config.features import EmbedConfig
from BYOL.curation.embed_parts import embed_share
from BYOL.curation.feature_folder import MANIFEST, FeatureFolder
from BYOL.curation.part_plan import PartPlan, assign_parts, choose_part_size, finished_parts
from BYOL.curation.stored_features import open_feature_table
from BYOL.data.shards.write import Packing, pack
from BYOL.data.sources import open_images
from tests.conftest import draw_images

SMALL = ("--batch-size", "2", "--workers", "0")


@pytest.fixture(autouse=True)
def _only_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_distributed, "_process", (0, 1))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """37 images, two of them unreadable."""
    images = draw_images(tmp_path / "photos", each=18)
    draw_images(tmp_path / "photos", ("c",), each=1)
    (images / "a" / "03.png").write_bytes(b"no image")
    (images / "c" / "00.png").write_bytes(b"no image")
    return images


def stored(name: Path) -> tuple[list[str], list[str], list[str], np.ndarray]:
    """Files, splits, labels and features of all rows, in order."""
    table = open_feature_table(str(name))
    batches = [batch for _, batch in table.read(["file", "split", "label", "embedding"])]
    texts = [[x for b in batches for x in b[key].to_pylist()] for key in ("file", "split", "label")]
    vectors = np.concatenate(
        [b["embedding"].flatten().to_numpy().reshape(len(b), -1) for b in batches if len(b)]
    )
    return texts[0], texts[1], texts[2], vectors


def same(first: Path, second: Path, tolerance: float = 0.0) -> None:
    a, b = stored(first), stored(second)
    assert a[:3] == b[:3]
    np.testing.assert_allclose(a[3], b[3], rtol=tolerance, atol=tolerance)


def embed_all(run: Path, data: Path, out: Path, processes: int, **more: Any) -> None:
    """Embed as ``processes`` processes would, one after the other."""
    config = EmbedConfig(str(run), str(data), out=str(out), batch_size=2, workers=0, **more)
    for rank in range(processes):
        embed_share(config, rank, processes)


@pytest.mark.trains
@pytest.mark.parametrize("source", ["folder", "list", "tar", "parquet"])
def test_any_number_of_processes_writes_the_table_of_one_process(
    run: Path, photos: Path, tmp_path: Path, source: str
) -> None:
    data = photos
    if source == "list":
        data = tmp_path / "list.txt"
        names = sorted(str(path.relative_to(tmp_path)) for path in photos.rglob("*.png"))
        data.write_text("\n".join(names[::-1]) + "\n")
    elif source != "folder":
        data = tmp_path / "shards"
        images = open_images(str(photos)).train
        pack({"train": images}, data, Packing(1 << 12, source, None))
    whole = tmp_path / "one.parquet"
    assert main(["embed", str(run), str(data), "--out", str(whole), *SMALL]) == 0
    for processes in (1, 2, 4):
        out = tmp_path / f"features-{processes}"
        embed_all(run, data, out, processes)
        same(whole, out)
        ranks = {path.name.split("-")[1] for path in out.glob("part-*")}
        assert len(ranks) == processes


@pytest.mark.trains
def test_a_restart_with_another_number_of_processes_computes_what_is_missing(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "one.parquet", tmp_path / "features"
    assert main(["embed", str(run), str(photos), "--out", str(whole), *SMALL]) == 0
    config = EmbedConfig(str(run), str(photos), out=str(out), batch_size=2, workers=0)
    write, written = FeatureFolder.write, []

    def killed_in_the_second_part(folder: FeatureFolder, name: str, content: Any) -> None:
        if name != MANIFEST:
            if len(written) == 1:
                raise KeyboardInterrupt
            written.append(name)
        write(folder, name, content)

    embed_share(config, 0, 4)
    monkeypatch.setattr(FeatureFolder, "write", killed_in_the_second_part)
    with pytest.raises(KeyboardInterrupt):
        embed_share(config, 1, 4)
    monkeypatch.setattr(FeatureFolder, "write", write)
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert main(["outliers", str(run), str(photos), "--features", str(out)]) == 2
    answers = [embed_share(config, rank, 3) for rank in range(3)]
    assert all((out / name).stat().st_mtime_ns == time for name, time in before.items())
    assert answers[-1]["missing_parts"] == 0
    assert sum(answer["written"] for answer in answers) < 35
    same(whole, out)


@pytest.mark.trains
def test_the_command_starts_its_processes(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, argv = tmp_path / "features", ["embed", str(run), str(photos), *SMALL]
    assert main([*argv, "--out", f"{out}/", "--devices", "2", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["missing_parts"] == 0 and answer["written"] == 35 and answer["left_out"] == 2
    embed_all(run, photos, tmp_path / "alone", 1)
    # Two processes share the cores; another number of threads may round sums otherwise.
    same(tmp_path / "alone", out, tolerance=1e-5)


def test_torchrun_decides_the_share(
    run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, argv = tmp_path / "features", ["embed", str(run), str(photos), *SMALL]
    launcher = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    for name, value in launcher.items():
        monkeypatch.setenv(name, value)
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert main([*argv, "--out", str(out)]) == 0
    embed_all(run, photos, tmp_path / "alone", 1)
    same(tmp_path / "alone", out)


def test_several_processes_do_not_write_one_file(
    run: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["embed", str(run), str(photos), "--out", "e.parquet", "--devices", "2"]
    assert main(argv) == 2
    assert "--out=e.parquet is a single file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--layer", "features.relu2"), "another layer"),
        (("--dtype", "float16"), "another dtype"),
        (("--mirror",), "another mirror (false)"),
    ],
)
def test_a_folder_of_other_features_is_refused(
    run: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flags: tuple[str, ...],
    reason: str,
) -> None:
    out = tmp_path / "features"
    embed_all(run, photos, out, 1)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert main(["embed", str(run), str(photos), "--out", str(out), *SMALL, *flags]) == 2
    line = capsys.readouterr().err
    assert f"--out={out} has features of {reason}" in line and line.count("\n") == 1
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_folder_of_other_images_or_other_files_is_refused(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, argv = tmp_path / "features", ["embed", str(run), str(photos), *SMALL]
    embed_all(run, photos, out, 1)
    (photos / "a" / "00.png").rename(photos / "a" / "new.png")
    assert main([*argv, "--out", str(out)]) == 2
    assert "other images than DATA" in capsys.readouterr().err
    assert main([*argv, "--out", str(photos)]) == 2
    assert f"has files but no {MANIFEST}" in capsys.readouterr().err
    (out / MANIFEST).write_text("[]")
    assert main([*argv, "--out", str(out)]) == 2
    assert f"its {MANIFEST} is damaged" in capsys.readouterr().err


def test_a_url_is_written_and_read(run: Path, photos: Path, tmp_path: Path) -> None:
    import fsspec

    config = EmbedConfig(str(run), str(photos), out="memory://features", batch_size=8, workers=0)
    embed_share(config, 0, 1)
    names = [Path(n).name for n in fsspec.filesystem("memory").ls("/features", detail=False)]
    assert not [name for name in names if name.startswith(".")] and MANIFEST in names
    embed_all(run, photos, tmp_path / "local", 1, mirror=False)
    files, _, _, vectors = stored(tmp_path / "local")
    table = open_feature_table("memory://features")
    assert [x for _, b in table.read(["file"]) for x in b["file"].to_pylist()] == files
    assert len(table) == 35 and table.width == vectors.shape[1]


def test_a_grid_is_stored_with_its_shape(run: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "features"
    embed_all(run, photos, out, 1, layer="features.relu2", pool="none")
    part = pq.read_schema(next(out.glob("part-*.parquet")))
    assert json.loads(part.metadata[b"shape"]) == [8, 8, 64]


@pytest.mark.parametrize("processes", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("size", [1, 5, 100])
def test_every_part_has_one_process(processes: int, size: int) -> None:
    plan = PartPlan({"train": 203, "test": 31}, size)
    images = [(p.split, i) for p in plan.parts for i in range(p.first, p.end)]
    assert images == [("train", i) for i in range(203)] + [("test", i) for i in range(31)]
    assert all(plan.part_of(p.split, p.end - 1) == p for p in plan.parts)
    shares = [assign_parts(plan.parts, rank, processes) for rank in range(processes)]
    numbers = sorted(part.number for share in shares for part in share)
    assert numbers == list(range(len(plan.parts)))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    names = [part.file_name(3) for part in plan.parts]
    assert list(finished_parts([*names[::-1], MANIFEST]).values()) == names


def test_parts_are_whole_batches_and_small_enough_for_all_processes() -> None:
    assert choose_part_size(10**8, 4 * 2048, 256, 8) == 8192
    assert choose_part_size(60_000, 4 * 128, 256, 4) == 3584
    assert choose_part_size(10, 4, 256, 4) == 256
    assert choose_part_size(10**6, 1 << 26, 4, 1) == 4
