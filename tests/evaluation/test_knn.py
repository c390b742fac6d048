"""k-NN against scikit-learn's, and its edges."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

import BYOL.evaluation.nearest as module
from BYOL.errors import UserError
from BYOL.evaluation.nearest import nearest_neighbours
from BYOL.evaluation.protocols.knn import knn_accuracy, knn_predict


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    x, y = load_digits(return_X_y=True)
    x = (x - x.mean(axis=0)).astype(np.float32)
    return x[:600], y[:600], x[600:900], y[600:900]


@pytest.mark.parametrize("k", [1, 5, 20, 200])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_scores_are_those_of_scikit_learn(k: int, temperature: float) -> None:
    bank, labels, queries, truth = digits()
    peer = KNeighborsClassifier(
        k, metric="cosine", weights=lambda distance: np.exp((1 - distance) / temperature)
    ).fit(bank, labels)
    scores = knn_predict(bank, labels, queries, k=k, temperature=temperature)
    np.testing.assert_allclose(scores, peer.predict_proba(queries), atol=2e-5)
    accuracy = knn_accuracy(bank, labels, queries, truth, k=k, temperature=temperature)
    assert accuracy == pytest.approx(peer.score(queries, truth), abs=1e-6)


@pytest.mark.parametrize("k", [1, 20, 200])
def test_scores_are_those_of_lightly(k: int) -> None:
    peer = pytest.importorskip("lightly.utils.benchmarking.knn", reason="lightly is not installed")
    bank, labels, queries, _ = digits()
    known, asked = (torch.nn.functional.normalize(torch.from_numpy(x)) for x in (bank, queries))
    # lightly answers with the order of the classes, which is that of the scores
    order = peer.knn_predict(asked, known.T, torch.from_numpy(labels), 10, knn_k=k, knn_t=0.1)
    scores = knn_predict(bank, labels, queries, k=k, temperature=0.1)
    ranked = scores.gather(1, order)
    assert (ranked.diff(dim=1) <= 1e-5).all()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bank, labels, queries, _ = digits()
    whole = knn_predict(bank, labels, queries, k=20)
    monkeypatch.setattr(module, "BLOCK_SIZE", 7 * len(bank))
    torch.testing.assert_close(knn_predict(bank, labels, queries, k=20), whole)


def test_more_neighbours_than_the_bank_holds_are_clipped() -> None:
    bank, labels, queries, _ = digits()
    expected = knn_predict(bank[:30], labels[:30], queries, k=30, classes=10)
    torch.testing.assert_close(
        knn_predict(bank[:30], labels[:30], queries, k=10_000, classes=10), expected
    )


def test_a_tiny_temperature_is_the_nearest_neighbour_without_overflow() -> None:
    bank, labels, queries, _ = digits()
    scores = knn_predict(bank, labels, queries, k=20, temperature=1e-6)
    assert scores.isfinite().all()
    nearest = knn_predict(bank, labels, queries, k=1)
    assert (scores.argmax(dim=1) == nearest.argmax(dim=1)).float().mean() > 0.99


def test_a_class_that_the_bank_lacks_gets_a_column_of_zeros() -> None:
    scores = knn_predict(torch.eye(3), torch.tensor([0, 1, 1]), torch.eye(3), k=3, classes=5)
    assert scores.shape == (3, 5)
    assert (scores[:, 2:] == 0).all()


@settings(deadline=None, max_examples=30)
@given(
    n=st.integers(1, 40),
    k=st.integers(1, 50),
    scale=st.floats(1e-3, 1e3),
    seed=st.integers(0, 2**31),
)
def test_every_sample_is_its_own_nearest_and_scale_does_not_matter(
    n: int, k: int, scale: float, seed: int
) -> None:
    features = torch.randn(n, 16, generator=torch.Generator().manual_seed(seed))
    similarities, indices = nearest_neighbours(features, features * scale, k)
    assert similarities.shape == (n, min(n, k))
    assert (indices[:, 0] == torch.arange(n)).all()
    assert (similarities.diff(dim=1) <= 1e-6).all()
    scores = knn_predict(features, torch.arange(n) % 3, features, k=k, classes=3)
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(n))


@pytest.mark.parametrize(
    ("change", "named"),
    [({"k": 0}, "k=0"), ({"temperature": 0.0}, "temperature=0.0"), ({"bank": []}, "empty bank"),
     ({"queries": []}, "no queries")],
)  # fmt: skip
def test_what_makes_no_sense_is_named(change: dict[str, object], named: str) -> None:
    arguments = {"bank": torch.eye(3), "bank_labels": torch.arange(3), "queries": torch.eye(3),
                 "query_labels": torch.arange(3), "k": 1}  # fmt: skip
    with pytest.raises(UserError, match=named):
        knn_accuracy(**(arguments | change))  # type: ignore[arg-type]
