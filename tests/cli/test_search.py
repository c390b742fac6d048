"""``byol search``: the images that are most similar to query images."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from BYOL.cli.main import main
from BYOL.curation import search
from BYOL.curation.feature_store import Collection, whiten
from BYOL.curation.search import nearest_images
from tests.cli.test_mistakes import place, refuse  # noqa: F401
from tests.conftest import draw_images
from tests.curation.test_curation import smooth_images, table

pytestmark = pytest.mark.trains


def collection(n: int, seed: int = 0) -> Collection:
    vectors = np.random.default_rng(seed).normal(size=(n, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    places = np.stack([np.zeros(n, np.int64), np.arange(n)], axis=1)
    return Collection(vectors, vectors, vectors, {}, places, np.ones(n, np.float32))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 60), st.integers(1, 9), st.integers(1, 70), st.integers(1, 50), st.booleans())
def test_the_nearest_images_have_the_highest_cosine_similarities(n, asked, count, chunk, together):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_CHUNK", chunk)
        found = collection(n + asked)
        questions, among = np.arange(asked), np.arange(asked, asked + n)
        bank = found.directions[among]
        answer = nearest_images(found.directions[questions], bank, count, combine=together)
    directions = found.directions[questions]
    if together:
        mean = directions.mean(axis=0, keepdims=True)
        directions = mean / np.linalg.norm(mean)
    cosines = directions @ found.directions[among].T
    best = np.sort(cosines, axis=1)[:, ::-1][:, :count]
    np.testing.assert_allclose(answer.similarity, best, atol=1e-6)
    taken = np.take_along_axis(cosines, answer.positions, axis=1)
    np.testing.assert_allclose(taken, answer.similarity, atol=1e-6)
    assert all(len(set(row)) == len(row) for row in answer.positions.tolist())


def test_more_whitening_leaves_less_spread(tmp_path):
    scales = np.array([1.0, 4.0, 16.0])
    features = np.random.default_rng(0).normal(size=(4000, 3)) * scales
    lengths = []
    for part in (0.0, 0.5, 1.0):
        found = np.asarray(whiten(features, tmp_path / "d.npy", part))
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
        spread = np.sort(found.std(axis=0))
        lengths.append(spread[-1] / spread[0])
    assert lengths[0] > 2 * lengths[1] > 2.5 * lengths[2] and lengths[2] == pytest.approx(1, 0.1)


def asked(run, pictures, out, *argv):
    assert main(["search", str(run), str(pictures), "--out", str(out), *map(str, argv)]) == 0
    return table(out)


def test_a_copy_is_the_first_result_and_the_query_image_is_not_a_result(run, tmp_path, capsys):
    pictures = smooth_images(tmp_path / "p")
    with Image.open(pictures / "07.png") as seventh:
        seventh.save(pictures / "copy.jpg", quality=80)
    (pictures / "07-link.png").symlink_to("07.png")
    (pictures / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    out, grid = tmp_path / "s.csv", tmp_path / "s.png"
    found = asked(run, pictures, out, f"--like={pictures}/07.png", "--count=5", f"--grid={grid}")
    said = "42 images (1 more could not be read): the 5 most similar to the query image"
    assert said in capsys.readouterr().out
    assert [row["rank"] for row in found] == list("12345")
    assert found[0]["file"] == "copy.jpg" and float(found[0]["similarity"]) > 0.9
    assert {row["like"] for row in found} == {"07.png"}
    assert not {"07.png", "07-link.png"} & {row["file"].rsplit("/", 1)[-1] for row in found}
    cosines = [float(row["similarity"]) for row in found]
    assert cosines == sorted(cosines, reverse=True)
    with Image.open(grid) as page:
        assert page.width > 5 * 112


def test_each_query_image_has_a_list_of_results_or_all_share_one(run, tmp_path, capsys):
    pictures, likes = smooth_images(tmp_path / "p"), tmp_path / "likes"
    likes.mkdir()
    for name in ("03.png", "11.png"):
        shutil.copy(pictures / name, likes)
    listed = tmp_path / "likes.txt"
    listed.write_text("likes/03.png\nlikes/11.png\n")
    out = tmp_path / "s.csv"
    for like in (likes, listed):
        found = asked(run, pictures, out, f"--like={like}", "--count=2")
        assert "the 2 most similar to 2 query images each" in capsys.readouterr().out
        firsts = [row for row in found if row["rank"] == "1"]
        pairs = [(row["like"][-6:], row["file"][-6:]) for row in firsts]
        assert pairs == [("03.png", "03.png"), ("11.png", "11.png")] and len(found) == 4
    argv = ["search", str(run), str(pictures), f"--like={likes}", "--together", f"--out={out}"]
    assert main([*argv, "--json", "--count=2"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["like"], answer["pictures"], len(answer["found"])) == (2, 40, 2)
    assert {row["file"][-6:] for row in answer["found"]} == {"03.png", "11.png"}
    assert {row["like"] for row in answer["found"]} == {str(likes)}


def test_a_similarity_does_not_depend_on_the_other_queries(run, tmp_path):
    pictures, likes = smooth_images(tmp_path / "p"), tmp_path / "likes"
    likes.mkdir()
    shutil.copy(pictures / "03.png", likes)
    for k in range(30):
        Image.new("RGB", (64, 64), (8 * k, 255 - 8 * k, 90)).save(likes / f"x{k:02}.png")
    out, tables = tmp_path / "s.csv", []
    for like in (likes / "03.png", likes):
        found = asked(run, pictures, out, f"--like={like}", "--count=5")
        tables.append([(r["file"], r["similarity"]) for r in found if r["like"] == "03.png"])
    assert tables[0] == tables[1] and len(tables[0]) == 5


def test_the_whitening_is_estimated_from_the_first_rows(tmp_path):
    features = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    features[40:] += 50
    found = np.array(whiten(features, tmp_path / "d.npy", 1.0, 40))
    alone = whiten(features[:40], tmp_path / "e.npy")
    np.testing.assert_array_equal(found[:40], alone)


def test_data_may_be_a_single_image(run, tmp_path, capsys):
    pictures = draw_images(tmp_path / "p")
    one = sorted(pictures.rglob("*.png"))[0]
    vectors = []
    for data in (one, pictures):
        assert main(["embed", str(run), str(data), f"--out={tmp_path}/e.npy"]) == 0
        vectors.append(np.load(tmp_path / "e.npy"))
    assert vectors[0].shape[0] == 1
    np.testing.assert_allclose(vectors[0][0], vectors[1][0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        ([], "--like is missing"),
        (["--like=nowhere.png"], "--like=nowhere.png is not there"),
        (["--like=note.md"], "--like=note.md is neither a folder nor an image"),
        (["--like=torn.png"], "--like=torn.png: none of its images can be read"),
        (["--like=pictures", "--count=0"], "--count=0"),
        (["--like=pictures", "--pool=none"], "--pool=none"),
        (["--like=pictures", "--out=found.txt"], "--out=found.txt has an unknown ending"),
        (["--like=pictures", "--out=nowhere/f.csv"], "there is no folder nowhere"),
        (["--like=grey.npy"], "--like=grey.npy has images of 1 channel;"),
    ],
)
def test_unusable_queries_are_refused(run, place, capsys, argv, named):  # noqa: F811
    (place / "note.md").write_text("no picture")
    (place / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    np.save(place / "grey.npy", np.zeros((3, 1, 32, 32), np.uint8))
    assert named in refuse(["search", str(run), "pictures", *argv], capsys)
