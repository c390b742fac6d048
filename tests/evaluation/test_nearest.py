"""The nearest-neighbour search against a full sort."""

import numpy as np
import pytest
import torch

import BYOL.evaluation.nearest as module
from BYOL.errors import UserError
from BYOL.evaluation import large_arrays
from BYOL.evaluation.nearest import nearest_neighbours, top_k, unit_vectors


def features(n: int) -> torch.Tensor:
    return torch.randn(n, 12, generator=torch.Generator().manual_seed(n))


def test_the_order_is_that_of_a_full_sort_of_the_cosines():
    bank, queries = features(40), features(9)
    cosines = torch.cosine_similarity(queries[:, None], bank[None], dim=2)
    similarities, indices = nearest_neighbours(bank.numpy(), queries.numpy(), 5)
    expected = cosines.sort(dim=1, descending=True)
    assert torch.equal(indices, expected.indices[:, :5])
    torch.testing.assert_close(similarities, expected.values[:, :5])


@pytest.mark.parametrize("sizes", [[40], [1, 39], [13, 13, 14]])
def test_chunks_of_the_bank_give_the_same_result_as_the_whole_bank(sizes):
    bank, queries = unit_vectors(features(40)), unit_vectors(features(9))
    similarities, indices = top_k(queries, bank.split(sizes), 6)
    expected = nearest_neighbours(bank, queries, 6)
    assert torch.equal(indices, expected[1])
    torch.testing.assert_close(similarities, expected[0])


def test_a_memory_mapped_bank_is_read_in_chunks(tmp_path, monkeypatch):
    bank, queries, center = features(40).half(), features(9).half(), features(1)[0].numpy()
    np.save(tmp_path / "bank.npy", bank.numpy())
    mapped = np.load(tmp_path / "bank.npy", mmap_mode="r")
    exclude = np.arange(9)
    expected = nearest_neighbours(bank, queries, 6, exclude=exclude, center=center)
    monkeypatch.setattr(large_arrays, "HELD", 0)
    monkeypatch.setattr(large_arrays, "_CHUNK_NUMBERS", 7 * 12)
    monkeypatch.setattr(module, "BLOCK_SIZE", 7 * 4)
    found = nearest_neighbours(mapped, queries.numpy(), 6, exclude=exclude, center=center)
    torch.testing.assert_close(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_long_work_reports_its_progress(monkeypatch, caplog):
    caplog.set_level("INFO", logger="BYOL")
    monkeypatch.setattr(module, "_REPORTED", 0)
    monkeypatch.setattr(module, "BLOCK_SIZE", 40 * 3)
    monkeypatch.setattr(module.Progress, "due", lambda _: True)
    nearest_neighbours(features(40), features(9), 5)
    assert "k-NN: 6 of 9 images compared" in caplog.messages


def test_a_bank_without_chunks_gives_no_result():
    similarities, indices = top_k(features(3), [], 6)
    assert similarities.shape == indices.shape == (3, 0)


def test_an_excluded_position_is_never_a_neighbour(monkeypatch):
    bank = features(30)
    bank[7] = bank[3]  # a copy may be found before the query itself
    exclude = np.array([*range(29), -1])
    similarities, indices = nearest_neighbours(bank, bank, 4, exclude=exclude)
    assert indices.shape == (30, 4)
    assert not (indices[:29] == torch.arange(29)[:, None]).any()
    assert indices[3, 0] == 7 and indices[7, 0] == 3
    assert indices[29, 0] == 29  # -1 excludes nothing
    whole = nearest_neighbours(bank, bank, 30)[1]
    for query, found in enumerate(indices.tolist()):
        expected = [i for i in whole[query].tolist() if i != exclude[query]][:4]
        assert sorted(found) == sorted(expected)
    assert (similarities.diff(dim=1) <= 0).all()
    monkeypatch.setattr(module, "BLOCK_SIZE", 7 * 30)
    assert torch.equal(nearest_neighbours(bank, bank, 4, exclude=exclude)[1], indices)


def test_an_excluded_position_limits_k_to_the_rest_of_the_bank():
    bank = features(3)
    assert nearest_neighbours(bank, bank, 9, exclude=np.arange(3))[1].shape == (3, 2)
    assert nearest_neighbours(bank[:1], bank, 9, exclude=np.zeros(3, int))[1].shape == (3, 0)


@pytest.mark.parametrize(("k", "n", "message"), [(0, 3, "k=0"), (1, 0, "empty bank")])
def test_a_k_below_1_and_an_empty_bank_are_errors(k, n, message):
    with pytest.raises(UserError, match=message):
        nearest_neighbours(features(3)[:n], features(3), k)
