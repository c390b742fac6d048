import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import nn

from BYOL import load_backbone
from BYOL.cli.main import main
from BYOL.curation import candidates, identical_files
from BYOL.curation import near_pairs as pairs_module
from BYOL.curation.contact_sheet import SIDE, Tile, save_grid, thumbnail
from BYOL.curation.feature_store import Collection, FeaturesWithThumbnail, whiten
from BYOL.curation.near_pairs import near_pairs
from BYOL.curation.outliers import OutlierScores, most_different, outlier_scores
from BYOL.data.dataset import ArrayImages
from BYOL.data.sources import open_images
from BYOL.evaluation.copies.thumbnails import unit_thumbnails
from BYOL.views.config import InputSpec

pytestmark = pytest.mark.trains


def smooth_images(folder, count=40, side=64):
    """Write different smooth random images to ``folder``."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{i:02}.png")
    return folder


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_exactly_the_planted_copies_are_found(run, tmp_path, capsys):
    images = smooth_images(tmp_path / "p")
    with Image.open(images / "00.png") as first:
        content = io.BytesIO()
        first.save(content, "JPEG", quality=70)
        (images / "00-jpeg.jpg").write_bytes(content.getvalue())
        first.resize((48, 48)).save(images / "00-small.png")
    with Image.open(images / "01.png") as second:
        ImageOps.mirror(second).save(images / "01-mirror.png")
    with Image.open(images / "02.png") as third:
        ImageEnhance.Brightness(third).enhance(1.15).save(images / "02-bright.png")
    (images / "03-same.png").write_bytes((images / "03.png").read_bytes())
    (images / "truncated.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    out, grid, rest = tmp_path / "d.csv", tmp_path / "d.png", tmp_path / "rest.txt"
    argv = ["duplicates", str(run), str(images), "--out", str(out), "--grid", str(grid)]
    argv += ["--kept", str(rest)]
    assert main([*argv, "--threshold", "0.3", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    groups: dict[str, set[str]] = {}
    for row in table(out):
        groups.setdefault(row["group"], set()).add(row["file"].rsplit("/", 1)[-1])
    expected = [{"00.png", "00-jpeg.jpg", "00-small.png"}, {"01.png", "01-mirror.png"},
                {"02.png", "02-bright.png"}, {"03.png", "03-same.png"}]  # fmt: skip
    assert sorted(map(sorted, groups.values())) == sorted(map(sorted, expected))
    kept = {r["file"][-6:] for r in table(out) if r["suggestion"] == "keep"}
    assert len(kept) == 4 and not any("small" in name for name in kept)
    same = {r["file"].rsplit("/", 1)[-1] for r in table(out) if r["identical"] == "yes"}
    assert same == {"03.png", "03-same.png"}
    assert (answer["groups"], answer["surplus"], answer["left_out"]) == (4, 5, 1)
    with Image.open(grid) as page:
        assert page.width > 3 * SIDE and page.height > 4 * SIDE
    surplus = {r["file"].rsplit("/", 1)[-1] for r in table(out) if r["suggestion"] == "remove"}
    listed = open_images(str(rest)).train
    names = {listed.sample_name(i) for i in range(len(listed))}
    assert names == {path.name for path in images.iterdir()} - surplus - {"truncated.png"}


@pytest.mark.parametrize("sorted_at_a_time", [3, 1 << 20])
@pytest.mark.parametrize("columns", [1, 2, 3])
def test_equal_rows_are_grouped_in_parts(monkeypatch, columns, sorted_at_a_time):
    monkeypatch.setattr(identical_files, "_SORTED", sorted_at_a_time)
    keys = np.random.default_rng(columns).integers(0, 3, (40, columns))
    groups = sorted(sorted(group.tolist()) for group in identical_files._equal_rows(keys))
    _, inverse, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    expected = [np.flatnonzero(inverse.ravel() == k).tolist() for k in np.flatnonzero(counts > 1)]
    assert groups == sorted(expected)
    assert not list(identical_files._equal_rows(keys[:0]))


@pytest.mark.parametrize("count", [1, 7, 30, 99])
def test_the_most_different_images_are_those_of_a_stable_sort(count):
    score = np.random.default_rng(0).integers(0, 6, 30).astype(np.float32)
    scores = OutlierScores(score, np.zeros(30, int), score, np.zeros(30, bool))
    expected = np.argsort(-score, kind="stable")[:count]
    assert most_different(scores, count).tolist() == expected.tolist()


def test_aliases_of_one_file_are_not_duplicates(run, tmp_path, capsys):
    images = smooth_images(tmp_path / "p", count=12)
    (images / "00-link.png").symlink_to("00.png")
    (images / "01-hard.png").hardlink_to(images / "01.png")
    (images / "02-link.png").symlink_to("02.png")
    (images / "02-same.png").write_bytes((images / "02.png").read_bytes())
    out, rest = tmp_path / "d.csv", tmp_path / "rest.txt"
    argv = ["duplicates", str(run), "--out", str(out), "--kept", str(rest), "--threshold", "0.3"]
    assert main([*argv, str(images), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    suggestions = {row["file"].rsplit("/", 1)[-1]: row["suggestion"] for row in table(out)}
    assert suggestions == {"02-same.png": "keep", "02.png": "remove"}
    assert (answer["pictures"], answer["further_names"], answer["surplus"]) == (16, 3, 1)
    kept = {line.rsplit("/", 1)[-1] for line in rest.read_text().splitlines()}
    surplus = {"00-link.png", "01.png", "02.png", "02-link.png"}  # 01-hard.png is first by name
    assert kept == {path.name for path in images.iterdir()} - surplus
    twice = tmp_path / "twice.txt"
    twice.write_text("".join(f"p/{i:02}.png\n" * 2 for i in range(4)))
    assert main([*argv, str(twice)]) == 0
    assert not table(out) and len(rest.read_text().splitlines()) == 4
    assert "4 of them aliases" in capsys.readouterr().out


def test_outliers_come_first_and_blank_images_are_marked(run, tmp_path, capsys):
    images = smooth_images(tmp_path / "p")
    for i in range(12):
        Image.new("RGB", (64, 64)).save(images / f"black-{i}.png")
    out, grid = tmp_path / "o.csv", tmp_path / "o.png"
    argv = ["outliers", str(run), str(images), "--count", "12", "--out", str(out)]
    assert main([*argv, "--grid", str(grid), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    rows = table(out)
    assert len(rows) == 12 and answer["blank"] == 12
    assert all("black" in row["file"] and row["remark"] == "black" for row in rows)
    assert not any("black" in row["nearest"] for row in rows)
    with Image.open(grid) as page:
        page.load()


@pytest.mark.parametrize("command", ["duplicates", "embed", "outliers", "select"])
def test_an_unreadable_image_is_counted_in_the_text(run, tmp_path, capsys, command):
    images = smooth_images(tmp_path / "p", count=4)
    (images / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    out = tmp_path / ("e.npy" if command == "embed" else "o.csv")
    assert main([command, str(run), str(images), "--out", str(out)]) == 0
    assert "4 images (1 more could not be read)" in capsys.readouterr().out


def test_the_distance_to_a_copy_is_never_negative():
    vectors = np.random.default_rng(0).normal(size=(100, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    twice = np.concatenate([vectors, vectors])
    places = np.stack([np.zeros(200, np.int64), np.arange(200)], axis=1)
    spread = np.tile(np.array([[0, 1]], np.float32), (200, 1))
    collection = Collection(twice, twice, spread, {}, places, np.ones(200, np.float32))
    distance = outlier_scores(collection, torch.device("cpu")).distance
    assert not np.signbit(distance).any() and distance.max() < 1e-6


def test_image_arrays_are_supported(tmp_path, monkeypatch, run, capsys):
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    np.savez("set.npz", images=np.concatenate([pixels, pixels[:2]]))
    assert main(["duplicates", str(run), "set.npz"]) == 0
    files = {row["file"] for row in table(tmp_path / "duplicates.csv")}
    assert files == {"0", "20", "1", "21"}
    assert main(["duplicates", str(run), "set.npz", "--kept", "rest.txt"]) == 2
    assert "--kept=rest.txt requires images that are separate files" in capsys.readouterr().err
    assert main(["outliers", str(run), "set.npz", "--count", "3"]) == 0
    assert len(table(tmp_path / "outliers.csv")) == 3


def test_channels_with_a_constant_mean_are_not_blank(tmp_path):
    """One channel falls where the other rises: their mean is constant, but the image is not."""
    rise = np.linspace(0, 255, 32)[None, :].repeat(32, axis=0)
    pixels = np.stack([np.stack([rise, 255 - rise], axis=2), np.full((32, 32, 2), 128.0)])
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    network = FeaturesWithThumbnail(nn.Flatten(), InputSpec(32, [0.0, 0.0], [1.0, 1.0]))
    greys, contrasts = network(x)[:, -257:].split([256, 1], dim=1)
    assert greys.std(dim=1).max() < 0.01
    assert contrasts[0] > 0.2 and contrasts[1] < 0.01


def collection(directions, greys):
    n = len(directions)
    images = ArrayImages("x", 1, None, (), torch.zeros(n, 1, 2, 2, dtype=torch.uint8))
    places = np.stack([np.zeros(n, np.int64), np.arange(n)], axis=1)
    contrasts = greys.std(axis=1)
    return Collection(directions, directions, greys, {"train": images}, places, contrasts)


def test_a_buffer_of_pairs_keeps_all_of_them_in_order():
    buffer, blocks = pairs_module._PairBuffer(), []
    for count in (0, 3, 5000, 1, 20_000):
        numbers = np.random.default_rng(count).random((2, count), dtype=np.float32)
        blocks.append(pairs_module.Pairs(np.full((count, 2), count), *numbers))
        buffer.add(blocks[-1])
    for name in ("positions", "cosines", "correlations"):
        expected = np.concatenate([getattr(block, name) for block in blocks])
        assert np.array_equal(getattr(buffer.pairs(), name), expected)
    buffer.replace(blocks[1])
    assert buffer.count == 3 and np.array_equal(buffer.pairs().cosines, blocks[1].cosines)


def test_blocks_and_bounded_memory_give_the_same_groups_as_all_pairs(monkeypatch):
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rng = np.random.default_rng(0)
    centres = rng.normal(size=(6, 16))
    points = np.repeat(centres, 20, axis=0) + 0.05 * rng.normal(size=(120, 16))
    directions = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    greys = np.repeat(rng.random((6, 256)), 20, axis=0).astype(np.float32)
    images = collection(directions, greys)
    all_pairs = near_pairs(images, 0.9, 0.9, torch.device("cpu"))
    monkeypatch.setattr(candidates, "BLOCK", 17)
    in_blocks = near_pairs(images, 0.9, 0.9, torch.device("cpu"))
    assert set(map(tuple, all_pairs.positions)) == set(map(tuple, in_blocks.positions))
    monkeypatch.setattr(pairs_module, "_KEPT", 200)
    reduced = near_pairs(images, 0.9, 0.9, torch.device("cpu"))
    assert len(reduced.positions) < len(all_pairs.positions)
    for pairs in (all_pairs, reduced):
        graph = coo_array((np.ones(len(pairs.positions)), pairs.positions.T), shape=(120, 120))
        component = connected_components(graph, directed=False)[1]
        assert len(set(component)) == 6 and all(
            len(set(component[i::1][:20])) == 1 for i in range(0, 120, 20)
        )


def test_whitening_gives_unrelated_images_of_a_narrow_cone_cosines_near_0(tmp_path):
    rng = np.random.default_rng(0)
    narrow = (10 + rng.normal(size=(500, 8)) * 10.0 ** -np.arange(8)).astype(np.float32)
    directions = whiten(narrow, tmp_path / "d.npy")
    cosines = directions @ directions.T
    assert abs(np.linalg.norm(directions, axis=1) - 1).max() < 1e-5
    assert abs(cosines[~np.eye(500, dtype=bool)].mean()) < 0.02


def test_thumbnails_correlate_and_blank_thumbnails_match_each_other():
    rng = np.random.default_rng(0)
    grey = rng.random(256)
    m = unit_thumbnails(np.stack([grey, 0.5 * grey + 0.2, np.zeros(256), np.ones(256), 1 - grey]))
    cosines = m @ m.T
    assert cosines[0, 1] > 0.99 and cosines[2, 3] > 0.99
    assert abs(cosines[0, 2]) < 0.1 and cosines[0, 4] < -0.9


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("size", [(5, 9), (300, 40)])
def test_thumbnails_of_images_of_any_size_fit_their_cell(channels, size):
    image = thumbnail(torch.zeros(channels, *size, dtype=torch.uint8))
    assert max(image.size) == SIDE and image.mode == "RGB"


def test_a_contact_sheet_wraps_long_rows_and_shortens_long_names(tmp_path):
    tile = Tile(torch.zeros(3, 8, 8, dtype=torch.uint8), ("1", "very/" * 40 + "ключ.jpg"), "good")
    save_grid([[tile] * 9, [tile]], tmp_path / "g.png")
    with Image.open(tmp_path / "g.png") as page:
        assert page.height > 3 * SIDE and page.width < 9 * (SIDE + 8)
    save_grid([], tmp_path / "empty.png")


@pytest.mark.parametrize("when", ["before", "midway"])
@pytest.mark.parametrize("command", ["duplicates", "outliers"])
def test_a_full_temporary_folder_gives_one_line(run, tmp_path, monkeypatch, capsys, command, when):
    images = smooth_images(tmp_path / "p", count=6)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    if when == "before":
        usage = shutil.disk_usage(tmp_path)._replace(free=100)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    else:

        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("BYOL.curation.feature_store.whiten", full)
    # in this process: the sockets of loader processes are in the temporary folder, too, and a long
    # name of it would be their error
    argv = [command, str(run), str(images), "--out", str(tmp_path / "o.csv"), "--workers=0"]
    assert main(argv) == 2
    size = 6 * (4 * (2 * load_backbone(run).num_features + 257) + 16)
    line = f"the temporary folder {tmp_path}/tmp has too little free space for {size:,} bytes"
    assert line in capsys.readouterr().err
    assert not list((tmp_path / "tmp").iterdir()) and not (tmp_path / "o.csv").exists()


def test_the_temporary_folder_is_removed_when_the_command_is_terminated(tmp_path):
    program = (
        "import os, signal\n"
        "from BYOL.curation.temp_folder import temporary_folder\n"
        "with temporary_folder() as room:\n"
        "    (room.folder / 'rows.npy').write_bytes(bytes(9))\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    command = [sys.executable, "-c", program]
    process = subprocess.run(command, env={**os.environ, "TMPDIR": str(tmp_path)}, check=False)
    assert process.returncode == -signal.SIGTERM and not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a\nb.png", "a\tb.png", "K\udce4fer.png", "\x00" * 99])
def test_undrawable_characters_of_a_name_become_question_marks(tmp_path, name):
    tile = Tile(torch.zeros(3, 8, 8, dtype=torch.uint8), ("1", name))
    save_grid([[tile]], tmp_path / "g.png")
    same = Tile(tile.image, ("1", "".join(c if c.isprintable() else "?" for c in name)))
    save_grid([[same]], tmp_path / "same.png")
    assert (tmp_path / "g.png").read_bytes() == (tmp_path / "same.png").read_bytes()


def test_a_name_with_a_line_break_is_named_if_a_list_cannot_hold_it(run, tmp_path, capsys):
    images = smooth_images(tmp_path / "p", count=2)
    (images / "00.png").rename(images / "0\n0.png")
    assert main(["duplicates", str(run), str(images), f"--kept={tmp_path}/k.txt"]) == 2
    assert r"k.txt: '0\n0.png' has a line break in its name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["duplicates", "RUN", "--threshold=1.5"], "--threshold=1.5"),
        (["duplicates", "RUN", "--out=d.txt"], ".csv"),
        (["duplicates", "RUN", "--grid=nowhere/d.png"], "nowhere"),
        (["duplicates", "RUN", "--kept=rest.csv"], "--kept=rest.csv has an unknown ending"),
        (["outliers", "RUN", "--count=0"], "--count=0"),
        (["outliers", "RUN", "--grid=o.jpg"], ".png"),
        (["outliers", "RUN", "--pool=none"], "--pool=none"),
        (["outliers", "missing"], "RUN=missing"),
    ],
)
def test_user_errors_are_one_line(run, tmp_path, monkeypatch, capsys, argv, named):
    monkeypatch.chdir(tmp_path)
    assert main([str(run) if a == "RUN" else a for a in argv]) == 2
    assert named in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
