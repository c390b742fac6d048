"""Copies of images: aligned pixels, and leakage between the sides of an evaluation."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from BYOL.cli.main import main
from BYOL.data.dataset import ArrayImages
from BYOL.data.sources import open_images
from BYOL.evaluation.copies.confirm import agree, confirm_pairs
from BYOL.evaluation.copies.leakage import (
    MIN_CORRELATION,
    Side,
    find_leakage,
    leakage_search,
    leakage_text,
)
from BYOL.evaluation.copies.thumbnails import (
    reduce_to_thumbnails,
    thumbnail_correlations,
    thumbnails_of_vectors,
)
from BYOL.evaluation.labelled_set import LabelledSet
from BYOL.evaluation.splits import held_out_mask


def photograph(seed: int, side: int = 96, cells: int = 12) -> Image.Image:
    """A smooth random colour image with detail: coarse noise on coarser noise."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(
            Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize(
                (side, side), Image.Resampling.BICUBIC
            ),
            np.float32,
        )
        for n in (4, cells)
    ]
    return Image.fromarray((0.6 * layers[0] + 0.4 * layers[1]).astype(np.uint8))


def jpeg(image: Image.Image, quality: int = 60) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality)
    return Image.open(content).convert("RGB")


def cropped(image: Image.Image, share: float) -> Image.Image:
    cut = round(image.width * share / 2)
    return image.crop((cut, cut, image.width - cut, image.height - cut))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg": jpeg,
    "half the size": lambda image: image.resize((image.width // 2, image.height // 2)),
    "mirrored": ImageOps.mirror,
    "cropped by a twentieth": lambda image: cropped(image, 0.05),
    "cropped by a tenth": lambda image: cropped(image, 0.1),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "all at once": lambda image: jpeg(
        cropped(ImageEnhance.Brightness(ImageOps.mirror(image)).enhance(0.85), 0.05), 75
    ),
}


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "shape", [(3, 32, 32), (1, 48, 48), (5, 40, 30), (3, 12, 17), (3, 224, 96)]
)
def test_thumbnails_are_those_of_torch(shape: tuple[int, ...], layout: torch.memory_format) -> None:
    pixels = torch.rand(3, *shape).to(memory_format=layout)
    expected = torch.nn.functional.interpolate(pixels, (16, 16), mode="bilinear", antialias=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = reduce_to_thumbnails(pixels)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def confirmed(first: list[Image.Image], second: list[Image.Image]) -> list[bool]:
    pairs = np.stack([np.arange(len(first))] * 2, axis=1)
    scores = confirm_pairs(pairs, lambda i: tensor(first[i]), lambda i: tensor(second[i]))
    return agree(*scores).tolist()


@pytest.mark.parametrize("side", [32, 48, 96, 160])
@pytest.mark.parametrize("kind", COPIES)
def test_every_kind_of_copy_is_confirmed_at_every_size(kind: str, side: int) -> None:
    originals = [photograph(seed, side, cells=min(12, side // 5)) for seed in range(8)]
    copies = [COPIES[kind](image) for image in originals]
    assert all(confirmed(originals, copies))
    assert all(confirmed(copies, originals))


def garment(seed: int, side: int = 64) -> Image.Image:
    """An object of the same outline every time, with a texture of its own."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    inside = (np.abs(x) < 0.6) & (np.abs(y) < 0.8)
    texture = np.asarray(photograph(seed, side, cells=10).convert("L"), np.float32)
    grey = np.where(inside, 150 + (texture - 128), 0)
    return Image.fromarray(grey.clip(0, 255).astype(np.uint8))


def test_objects_of_the_same_outline_are_no_copies_although_their_thumbnails_agree() -> None:
    first, second = [garment(k) for k in range(6)], [garment(k + 50) for k in range(6)]
    a, b = (torch.stack([tensor(image) / 255 for image in images]) for images in (first, second))
    greys = (thumbnails_of_vectors(x.flatten(1).numpy(), 3) for x in (a, b))
    assert thumbnail_correlations(*greys).min() > MIN_CORRELATION
    assert not any(confirmed(first, second))
    assert all(confirmed(first, [jpeg(image.convert("RGB"), 80) for image in first]))


def test_the_same_shape_in_another_colour_is_no_copy() -> None:
    image = np.asarray(photograph(3))
    assert confirmed([Image.fromarray(image)], [Image.fromarray(image[:, :, ::-1].copy())]) == [
        False
    ]


def test_blank_images_agree_of_each_other_only() -> None:
    black, grey = Image.new("RGB", (64, 64)), Image.new("RGB", (64, 64), (90, 90, 90))
    assert confirmed([black, black], [grey, photograph(0, 64)]) == [True, False]


def test_an_image_that_is_no_longer_readable_confirms_nothing() -> None:
    scores = confirm_pairs(np.array([[0, 0]]), lambda _: None, lambda _: tensor(photograph(0)))
    assert agree(*scores).tolist() == [False]


def sides(leaked: int, channels: int, count: int = 60) -> tuple[Side, Side]:
    """Training and test images in memory; the first ``leaked`` test images are mirrored copies."""
    pixels = torch.stack([tensor(photograph(seed, 32, cells=6)) for seed in range(2 * count)])
    pixels = pixels[:, :1].repeat(1, channels, 1, 1)
    train, test = pixels[:count].clone(), pixels[count:].clone()
    test[:leaked] = train[7 : 7 + leaked].flip(3)
    found = []
    for data in (train, test):
        images = ArrayImages("x", channels, None, (), data)
        vectors = (data.flatten(1).float() / 255).numpy()
        both = (data.float() + data.flip(3).float())[:, :, ::4, ::4].flatten(1).numpy()
        found.append(Side(images, thumbnails_of_vectors(vectors, channels), both))
    return found[0], found[1]


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("leaked", [0, 1, 5])
def test_exactly_the_leaked_test_images_are_found(leaked: int, channels: int) -> None:
    found = find_leakage(*sides(leaked, channels))
    assert found["checked"] == 60 and found["leaked"] == leaked
    assert found["pairs"] == [[str(k), str(k + 7)] for k in range(leaked)]


def test_features_that_are_not_finite_give_no_leakage() -> None:
    train, test = sides(1, 1)
    test.features[3, 2] = np.nan
    assert find_leakage(train, test) == {}
    assert leakage_text({"leakage": {}}) == []


def test_a_sample_of_many_test_images_is_reported_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("BYOL.evaluation.copies.leakage.MAX_TEST", 20)
    found = find_leakage(*sides(60 - 7, 1))
    assert found["checked"] == 20 and 15 <= found["leaked"] <= 20
    (line,) = leakage_text({"leakage": found, "pictures": {"judge": 60}})
    assert "of 20 checked test images" in line and "--between train test" in line


def folders(root: Path, copies: dict[int, int]) -> Path:
    """train/ and test/ of two classes; test image k is a re-encoded copy of train image v."""
    for split, first, count in (("train", 0, 40), ("test", 100, 20)):
        for k in range(count):
            folder = root / split / "ab"[k % 2]
            folder.mkdir(parents=True, exist_ok=True)
            image = jpeg(photograph(copies[k]), 80) if split == "test" and k in copies else None
            (image or photograph(first + k)).save(folder / f"{k:02}.png")
    return root


@pytest.mark.trains
def test_evaluate_counts_leaked_test_images_unless_switched_off(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = folders(tmp_path / "d", {0: 10, 5: 21, 7: 7})
    argv = ["evaluate", str(run), str(data), "--protocol", "knn"]
    assert main([*argv, "--json"]) == 0
    leakage = json.loads(capsys.readouterr().out)["leakage"]
    assert (leakage["checked"], leakage["leaked"]) == (20, 3)
    assert leakage["pairs"][0] == ["test/a/00.png", "train/a/10.png"]
    assert main(argv) == 0
    assert "3 of 20 test images (15.0%) have a near-copy" in capsys.readouterr().out
    assert main([*argv, "--no-leakage", "--json"]) == 0
    assert "leakage" not in json.loads(capsys.readouterr().out)


@pytest.mark.trains
def test_near_copies_across_a_held_out_fifth_are_found(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    names = []
    for k in range(40):  # image k + 20 is a copy of image k
        image = photograph(k % 20)
        names.append(f"{k:02}.png")
        (image if k < 20 else jpeg(image, 85)).save(folder / names[-1])
    labels = np.arange(40) % 2
    rows = [f"{name},{'ab'[label]}" for name, label in zip(names, labels, strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,label", *rows]))
    argv = ["evaluate", str(run), str(folder), "--labels", str(tmp_path / "labels.csv")]
    assert main([*argv, "--protocol", "knn", "--json"]) == 0
    held = held_out_mask(LabelledSet(labels), 0)
    other = np.roll(held, 20)
    leakage = json.loads(capsys.readouterr().out)["leakage"]
    assert leakage["checked"] == held.sum() and leakage["leaked"] == (held & ~other).sum() > 0


@pytest.mark.trains
@pytest.mark.parametrize("spelling", [["--between", "train", "test"], ["--between=test,train"]])
def test_duplicates_between_the_splits_keep_the_test_images(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], spelling: list[str]
) -> None:
    data = folders(tmp_path / "d", {0: 10, 5: 21})
    photograph(30).resize((90, 90)).save(data / "train/a/within.png")  # a copy inside of train/
    same = data / "train/b/same.png"
    same.write_bytes((data / "test/b/03.png").read_bytes())
    out, kept = tmp_path / "d.csv", tmp_path / "kept.txt"
    argv = ["duplicates", str(run), str(data), *spelling, "--threshold", "0.3"]
    assert main([*argv, "--out", str(out), "--kept", str(kept), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["groups"] == 3 and answer["surplus"] == 3
    suggestions = {
        "/".join(Path(row["file"]).parts[-3:]): row["suggestion"] for row in answer["duplicates"]
    }
    assert suggestions == {
        "test/a/00.png": "keep", "train/a/10.png": "remove",
        "test/b/05.png": "keep", "train/b/21.png": "remove",
        "test/b/03.png": "keep", "train/b/same.png": "remove",
    }  # fmt: skip
    listed = kept.read_text()
    assert "within.png" in listed and "same.png" not in listed and "test/a/00.png" in listed


@pytest.mark.trains
def test_between_needs_two_splits_and_their_names(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["duplicates", str(run), str(run.parent / "pictures"), "--out", str(tmp_path / "d.csv")]
    for words, message in (
        (["--between", "train", "test"], "needs a training and a test split"),
        (["--between", "train,valid"], "--between=train,valid is not accepted: give train,test"),
        (["--between", "train,test", "--split=train"], "--split=train leaves out images"),
        (["--between", "train"], "--between: train is not two names"),
    ):
        assert main([*argv, *words]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "d.csv").exists()


def test_tiny_images_are_not_searched_for_leakage():
    data = torch.randint(0, 256, (6, 1, 16, 16), dtype=torch.uint8)
    train, test = (ArrayImages("x", 1, None, (), data.clone()) for _ in range(2))
    pixels = [(images, np.zeros((6, 256), np.float32)) for images in (train, test)]
    assert leakage_search(train, test, pixels) is None


@pytest.mark.trains
@pytest.mark.parametrize("first", ["a thumbnail", "unreadable"])
def test_the_first_test_image_does_not_decide_whether_leakage_is_measured(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], first: str
) -> None:
    data = folders(tmp_path / "d", {0: 10, 5: 21, 7: 7})
    odd = data / "test/a/!.png"
    if first == "unreadable":
        odd.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    else:
        photograph(150).resize((16, 16)).save(odd)
    assert main(["evaluate", str(run), str(data), "--protocol", "knn", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["leakage"]["leaked"] == 3


@pytest.mark.parametrize(("small", "searched"), [(0, True), (2, True), (4, False), (6, False)])
def test_the_median_size_decides_whether_leakage_is_measured(
    tmp_path: Path, small: int, searched: bool
) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for k in range(6):
            side = 16 if split == "test" and k < small else 48
            photograph(k, side).save(tmp_path / split / f"{k}.png")
    splits = open_images(str(tmp_path))
    assert splits.test is not None
    pixels = [(images, np.zeros((6, 3 * 32 * 32), np.float32)) for images in splits.sets.values()]
    found = leakage_search(splits.train, splits.test, pixels)
    assert (found is not None) == searched


def test_without_test_images_there_is_no_leakage() -> None:
    data = torch.zeros(3, 1, 32, 32, dtype=torch.uint8)
    train, test = ArrayImages("x", 1, None, (), data), ArrayImages("x", 1, None, (), data[:0])
    assert leakage_search(train, test, []) is None


def test_the_absence_of_leakage_is_not_claimed() -> None:
    found = {"leakage": {"checked": 20, "leaked": 0, "pairs": []}, "pictures": {"judge": 60}}
    (line,) = leakage_text(found)
    said = "no near-copy of the 20 checked test images was found in the training images"
    assert line == f"leakage: {said}"
