"""A copy agrees much better than the look-alikes of its image."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from BYOL._random import evenly_spaced
from BYOL.evaluation.copies.confirm import agree, confirm_pairs
from BYOL.evaluation.copies.look_alikes import LookAlikes, similar_images
from BYOL.evaluation.copies.thumbnails import thumbnail_correlations, thumbnails_of_vectors


def garments(count: int, seed: int = 0) -> np.ndarray:
    """Images (n, 1, 32, 32) of one outline, each with weak patterns of its own."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32]
    outline = (np.abs(x - 16) < 5 + y / 6) & (y > 3) & (y < 29)
    images = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8))
        pattern = np.asarray(coarse.resize((32, 32), Image.Resampling.BICUBIC)) / 255
        images.append(outline * (170 + 60 * (pattern - 0.5)))
    return np.stack(images).astype(np.uint8)[:, None]


def jpeg(image: np.ndarray) -> np.ndarray:
    content = io.BytesIO()
    Image.fromarray(image[0]).save(content, "JPEG", quality=60)
    return np.asarray(Image.open(content))[None]


def greys_of(images: np.ndarray) -> np.ndarray:
    return thumbnails_of_vectors((images.reshape(len(images), -1) / 255).astype(np.float32), 1)


def test_among_garments_of_one_outline_only_the_copy_is_a_copy() -> None:
    images = garments(40)
    images = np.concatenate([images, jpeg(images[7])[None]])
    pairs = np.stack(np.triu_indices(len(images), 1), axis=1)

    def read(i: int) -> torch.Tensor:
        return torch.from_numpy(images[i])

    scores = torch.stack(confirm_pairs(pairs, read, read))
    similar = agree(*scores).numpy()
    assert similar.sum() > 100  # pixels alone accept many pairs
    greys = greys_of(images)
    look_alikes = LookAlikes(greys, greys, read, read, same=True)
    copies = pairs[similar][look_alikes.are_copies(pairs[similar], *scores[:, similar])]
    assert copies.tolist() == [[7, 40]]


def test_of_two_sets_the_look_alikes_are_those_of_the_other_side() -> None:
    train, test = garments(40), garments(3, seed=1)
    train[5] = jpeg(test[1])
    sides = [lambda i: torch.from_numpy(test[i]), lambda i: torch.from_numpy(train[i])]
    pairs = np.array([[a, b] for a in range(3) for b in range(40)])
    scores = torch.stack(confirm_pairs(pairs, *sides))
    similar = agree(*scores).numpy()
    look_alikes = LookAlikes(greys_of(test), greys_of(train), *sides, same=False)
    some = pairs[similar]
    copies = some[look_alikes.are_copies(some[:, :1], *scores[:, similar])]
    assert copies.tolist() == [[1, 5]]


def test_nearly_exact_pairs_need_no_look_alike() -> None:
    greys = np.zeros((2, 256), np.float32)

    def unread(_: int) -> torch.Tensor:
        raise AssertionError

    look_alikes = LookAlikes(greys, greys, unread, unread, same=True)
    scores = torch.tensor([0.999]), torch.tensor([0.998])
    assert look_alikes.are_copies(np.array([[0, 1]]), *scores).tolist() == [True]


@pytest.mark.parametrize("rank", [1, 3, 20, 99])
@pytest.mark.parametrize("same", [True, False])
def test_similar_images_have_their_rank_in_a_full_sort(
    monkeypatch: pytest.MonkeyPatch, rank: int, same: bool
) -> None:
    monkeypatch.setattr("BYOL.evaluation.copies.look_alikes._CHUNK", 7)
    monkeypatch.setattr("BYOL.evaluation.copies.look_alikes._QUERIES", 4)
    rng = np.random.default_rng(0)
    bank = rng.random((40, 256), dtype=np.float32)
    queries = bank if same else rng.random((11, 256), dtype=np.float32)
    rows = np.array([0, 10, 3, 8, 5, 9])
    found = similar_images(queries, bank, rows, rank, same=same)
    for row, other in zip(rows.tolist(), found.tolist(), strict=True):
        near = thumbnail_correlations(np.repeat(queries[row][None], 40, axis=0), bank).numpy()
        if same:
            near[row] = -2
        order = np.argsort(-near)
        assert other == order[min(rank, 39 if same else 40) - 1]


def test_in_a_part_of_a_large_set_the_rank_is_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("BYOL.evaluation.copies.look_alikes._SEARCHED", 10)
    bank = np.random.default_rng(0).random((40, 256), dtype=np.float32)
    found = similar_images(bank, bank, np.array([1, 2]), 8, same=True)
    members = evenly_spaced(40, 10)
    for row, other in zip((1, 2), found.tolist(), strict=True):
        near = thumbnail_correlations(np.repeat(bank[row][None], 10, axis=0), bank[members]).numpy()
        near[members == row] = -2
        assert other == members[np.argsort(-near)[1]]  # the second of a quarter of the images


def test_a_set_of_two_images(tmp_path: Path) -> None:
    images = garments(2)

    def read(i: int) -> torch.Tensor:
        return torch.from_numpy(images[i])

    greys = greys_of(images)
    assert similar_images(greys, greys, np.array([0, 1]), 20, same=True).tolist() == [1, 0]
