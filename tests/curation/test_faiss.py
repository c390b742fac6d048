"""Approximate neighbours by FAISS against the exact ones."""

import importlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from BYOL.cli.commands import duplicates
from BYOL.config.curation import DuplicatesConfig
from BYOL.curation import candidates, faiss_index
from BYOL.curation.candidates import all_pairs, faiss_pairs
from BYOL.curation.faiss_index import build_search_index, probes_for, uses_faiss
from BYOL.curation.search import nearest_images
from BYOL.errors import UserError

CPU = torch.device("cpu")
pytest.importorskip("faiss", reason="FAISS is not installed")


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def with_copies(n, size=24, copies=200, seed=0):
    """Unit vectors of which the last ``copies`` are changed copies of the first."""
    rng = np.random.default_rng(seed)
    vectors = unit(rng.normal(size=(n, size)))
    vectors[-copies:] = unit(vectors[:copies] + 0.5 * unit(rng.normal(size=(copies, size))))
    return vectors


def pairs_of(blocks):
    places, cosines = (torch.cat(parts).numpy() for parts in zip(*blocks, strict=True))
    assert (places[:, 0] < places[:, 1]).all()
    return dict(zip(map(tuple, places.tolist()), cosines.tolist(), strict=True))


@pytest.mark.parametrize(("n", "size"), [(600, 24), (20_000, 24), (12_000, 70)])
def test_nearly_all_pairs_are_found_with_their_exact_cosines(n, size):
    vectors = with_copies(n, size, copies=n // 10)
    exact = pairs_of(all_pairs(vectors, 0.85, CPU))
    found = pairs_of(faiss_pairs(vectors, 0.85, CPU))
    assert len(exact) >= 0.09 * n and found.keys() <= exact.keys()
    assert len(found) >= 0.99 * len(exact)
    assert all(cosine == pytest.approx(exact[pair], abs=1e-5) for pair, cosine in found.items())


def test_only_pairs_between_the_splits_are_found():
    vectors = with_copies(600)
    vectors[500] = vectors[450]  # a pair within a split
    split = np.arange(600) // 400
    found = pairs_of(faiss_pairs(vectors, 0.85, CPU, split))
    exact = pairs_of(all_pairs(vectors, 0.85, CPU))
    between = {(i, j) for i, j in exact if split[i] != split[j]}
    assert found.keys() <= between and len(found) >= 0.98 * len(between)
    assert (450, 500) in exact and len(between) > 150


def test_as_many_lists_are_read_as_the_neighbours_need():
    vectors = with_copies(20_000)
    index = faiss_index.fill_lists(vectors, "Flat", CPU)
    assert index.nlist > 100
    assert probes_for(index, vectors[:100], vectors[:100], 0.99) == 1
    other = np.random.default_rng(1).permutation(20_000)[:100]
    few, many = (probes_for(index, vectors[:100], vectors[other], r) for r in (0.5, 0.99))
    assert 1 < few < many <= index.nlist


def test_the_index_of_a_search_finds_the_nearest_images():
    vectors = with_copies(8000)
    index = build_search_index(vectors, CPU)
    queries = unit(vectors[:50] + 0.05 * np.random.default_rng(2).normal(size=(50, 24)))
    exact = nearest_images(queries, vectors, 10, combine=False)
    found = nearest_images(queries, index, 10, combine=False)
    both = [
        len(np.intersect1d(*rows)) for rows in zip(exact.positions, found.positions, strict=True)
    ]
    assert sum(both) >= 0.99 * exact.positions.size
    np.testing.assert_allclose(found.similarity[:, 0], exact.similarity[:, 0], atol=1e-3)
    all_of_them = nearest_images(queries[:1], index, 9000, combine=False).positions
    assert sorted(all_of_them[0]) == list(range(8000))


def test_the_choice_is_announced_in_one_line(caplog):
    caplog.set_level("INFO", logger="BYOL")
    million = faiss_index.EXACT_UP_TO
    pairs = million * (million - 1) // 2
    assert not uses_faiss("auto", pairs, million) and not uses_faiss("exact", 10**15, 10**8)
    assert not caplog.messages
    assert uses_faiss("auto", pairs + million, million + 1) and uses_faiss("faiss", 1, 2)
    assert [line.split(":")[0] for line in caplog.messages] == ["1,000,001 images", "2 images"]
    assert all("--neighbour-search exact" in line for line in caplog.messages)


def test_without_faiss_a_line_names_the_extra(monkeypatch, caplog):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UserError, match=r"--neighbour-search=faiss needs FAISS.*BYOL\[faiss\]"):
        uses_faiss("faiss", 1, 2)
    assert not uses_faiss("auto", 10**15, 10**8)
    assert "BYOL[faiss]" in caplog.messages[0]


def test_a_gpu_is_used_if_faiss_supports_it(monkeypatch):
    moved = []

    def move(_, number, index):
        moved.append(number)
        return index

    real = importlib.import_module("faiss")
    names = {name: getattr(real, name) for name in ("index_factory", "METRIC_INNER_PRODUCT")}
    gpu = SimpleNamespace(
        **names, StandardGpuResources=object, get_num_gpus=lambda: 2, index_cpu_to_gpu=move
    )
    for module in (candidates, faiss_index):
        monkeypatch.setattr(module, "import_faiss", lambda _: gpu)
    vectors = with_copies(600)
    found = pairs_of(faiss_pairs(vectors, 0.85, torch.device("cuda", 1)))
    exact = pairs_of(all_pairs(vectors, 0.85, CPU))
    assert len(found) >= 0.98 * len(exact) > 150 and moved == [1]


@pytest.mark.parametrize(
    ("given", "faiss", "used"), [(None, False, 0.5), (None, True, 0.7), (0.6, True, 0.6)]
)
def test_the_default_threshold_depends_on_the_engine(monkeypatch, given, faiss, used):
    monkeypatch.setattr(duplicates, "duplicate_groups", lambda *arguments: arguments)
    config = DuplicatesConfig("RUN", threshold=given)
    features = SimpleNamespace(device="cpu")
    assert duplicates._groups("images", config, features, {}, faiss)[1] == used
