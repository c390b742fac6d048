"""BYOLEmbedder follows scikit-learn's conventions, and its features equal those of byol embed."""

import pickle

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from BYOL.cli.main import main
from BYOL.errors import UserError
from BYOL.sklearn import BYOLEmbedder
from tests.conftest import draw_images, make_run

pytestmark = pytest.mark.trains

TINY = {"hidden_size": 8, "output_size": 4, "gauges_every": 0}


def tiny(**changes) -> BYOLEmbedder:
    """A BYOLEmbedder that trains in a moment."""
    defaults = {"backbone": "plain5", "epochs": 1, "random_state": 0, "settings": TINY}
    return BYOLEmbedder(**{**defaults, **changes})


# A table needs an image shape: the tables of the checks are images one pixel high. No check is
# left out.
@parametrize_with_checks([tiny(image_shape=(1, -1))])
def test_scikit_learns_checks_pass(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def grey_run(tmp_path_factory):
    root = tmp_path_factory.mktemp("grey")
    np.save(root / "data.npy", np.zeros((4, 8, 8), np.uint8))
    return make_run(root / "run", root / "data.npy", backbone="plain5", channels=1, image_size=8)


def test_a_pipeline_classifies_digits_above_80_percent():
    digits = load_digits()
    X, y = digits.data, digits.target
    embedder = BYOLEmbedder(
        backbone="plain5", preset="digits", epochs=3, random_state=0, settings={"image_size": 8}
    )
    pipeline = make_pipeline(embedder, LogisticRegression(max_iter=2000)).fit(X[:1200], y[:1200])
    assert pipeline.score(X[1200:], y[1200:]) > 0.8
    assert pipeline[:-1].get_feature_names_out()[0] == "byolembedder0"
    assert pipeline[:-1].get_feature_names_out().shape == (128,)


def test_with_a_run_features_equal_those_of_embed(run, tmp_path):
    images = draw_images(tmp_path / "images", side=16)
    assert main(["embed", str(run), str(images), "--out", str(tmp_path / "e.npz")]) == 0
    with np.load(tmp_path / "e.npz") as arrays:
        expected = arrays["embedding"]
    files = sorted(images.rglob("*.png"))
    embedder = BYOLEmbedder(run)
    features = embedder.fit_transform(files)
    assert features.dtype == np.float32 and np.abs(features - expected).max() < 1e-4
    from PIL import Image

    arrays = np.stack([np.asarray(Image.open(file)) for file in files])
    for X in (arrays, arrays.transpose(0, 3, 1, 2), arrays / 255, arrays.astype(float) / 255):
        again = clone(embedder).fit(X).transform(X)
        assert np.abs(again - expected).max() < 1e-4


def test_files_are_trained_on_and_unreadable_ones_are_reported(tmp_path):
    files = [str(f) for f in sorted(draw_images(tmp_path / "images").rglob("*.png"))]
    embedder = tiny(settings={**TINY, "image_size": 16})
    assert embedder.fit_transform(files).shape == (24, 128)
    (tmp_path / "images" / "b" / "03.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"X\[15\].*cannot be read"):
        embedder.transform(files)
    with pytest.raises(UserError, match=r"X\[1\].*not an existing image"):
        embedder.transform([files[0], "missing.png"])


def test_the_same_random_state_gives_the_same_features():
    X = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    first, same, different = (tiny(random_state=seed).fit_transform(X) for seed in (1, 1, 2))
    assert np.array_equal(first, same) and not np.array_equal(first, different)


def test_a_fitted_embedder_survives_pickle_and_joblib(grey_run, tmp_path):
    X = np.random.default_rng(0).random((5, 8, 8))
    embedder = BYOLEmbedder(grey_run).fit(X)
    expected = embedder.transform(X)
    joblib.dump(embedder, tmp_path / "e.joblib")
    for again in (pickle.loads(pickle.dumps(embedder)), joblib.load(tmp_path / "e.joblib")):
        assert np.array_equal(again.transform(X), expected)


def test_the_run_can_be_stored_and_exported(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    X = np.random.default_rng(0).random((12, 8, 8))
    embedder = tiny(out="~/run").fit(X)
    assert main(["export", str(tmp_path / "run"), "--to", str(tmp_path / "b.pth")]) == 0
    weights = torch.load(tmp_path / "b.pth")
    assert all(torch.equal(v, weights[k]) for k, v in embedder.backbone_.state_dict().items())
    assert embedder.results_["steps"] == 1


def test_black_and_white_follow_the_dtype_or_the_argument(grey_run):
    X = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
    expected = BYOLEmbedder(grey_run).fit_transform(X)
    for same, pixel_range in (
        (X / 255, None), (X.astype(np.uint16) * 257, None), (X.astype(int), (0, 255)),
        (X.astype(float), (0.0, 255.0)), (255.0 - X, (255.0, 0.0)),
    ):  # fmt: skip
        embedder = BYOLEmbedder(grey_run, pixel_range=pixel_range)
        if pixel_range and pixel_range[0] > pixel_range[1]:
            with pytest.raises(UserError, match="black, white"):
                embedder.fit(same)
        else:
            assert np.abs(embedder.fit_transform(same) - expected).max() < 1e-4
    stretched = BYOLEmbedder(grey_run).fit(X / 16.0)
    assert stretched.pixel_range_ == (X.min() / 16, X.max() / 16)
    with pytest.raises(UserError, match="another kind"):
        BYOLEmbedder(grey_run).fit(X).transform(X / 255)


@pytest.mark.parametrize(
    ("changes", "X", "named"),
    [
        ({}, np.zeros((9, 5)), "5 features"),
        ({"image_shape": (2, 4)}, np.zeros((9, 9)), "image_shape=(2, 4)"),
        ({}, np.zeros((9, 2, 2, 2, 2)), "shape (9, 2, 2, 2, 2)"),
        ({"preset": "best"}, np.zeros((9, 16)), "preset=best"),
        ({"backbone": "plain7"}, np.zeros((9, 16)), "plain7"),
        ({"settings": {"colour": 1}}, np.zeros((9, 16)), "colour"),
        ({"run": "missing"}, np.zeros((9, 16)), "missing"),
        ({"run": ""}, np.zeros((9, 16)), "run is empty: give a folder"),
        ({"out": ""}, np.zeros((9, 16)), "out is empty: give a folder"),
        ({"epochs": 0}, np.zeros((9, 16)), "epochs=0 is out of range"),
        ({"epochs": "3"}, np.zeros((9, 16)), "epochs='3' is out of range: give a number"),
        ({"batch_size": 0}, np.zeros((9, 16)), "batch_size=0 is out of range"),
        ({"epochs": 1.5}, np.zeros((9, 16)), "epochs: 1.5 is not a whole number"),
        ({"epochs": np.float64(2)}, np.zeros((9, 16)), "epochs: 2.0 is not a whole number"),
        ({"epochs": True}, np.zeros((9, 16)), "epochs=True is out of range: give a number"),
        ({"backbone": torch.nn.Identity()}, np.zeros((9, 16)), "backbone: Identity() is not text"),
        ({"preset": ["small"]}, np.zeros((9, 16)), "preset=['small'] is unknown"),
        ({"settings": {"out": "x"}}, np.zeros((9, 16)), "settings['out'] is not accepted: the arg"),
        ({"settings": {"data": "x"}}, np.zeros((9, 16)), "settings['data'] is not accepted: the i"),
        ({"settings": {"preset": "x"}}, np.zeros((9, 16)), "settings['preset'] is not accepted"),
        ({"settings": {"name": 1}}, np.zeros((9, 16)), "name is no setting of a run"),
        ({"settings": {"batch_size": None}}, np.zeros((9, 16)), "batch_size=None is not a value"),
        ({"settings": ["a"]}, np.zeros((9, 16)), "settings=['a'] is not a table"),
        ({"settings": {1: 2}}, np.zeros((9, 16)), "settings={1: 2} is not a table"),
        ({"pixel_range": (0, np.inf)}, np.zeros((9, 16)), "pixel_range=(0, inf) must be"),
        ({"pixel_range": (0, np.nan)}, np.zeros((9, 16)), "pixel_range=(0, nan) must be"),
        ({"pixel_range": (0, 1, 2)}, np.zeros((9, 16)), "pixel_range=(0, 1, 2) must be"),
        ({"pixel_range": "01"}, np.zeros((9, 16)), "pixel_range=01 must be (black, white)"),
        ({}, ["a.png", None], "X[1]=None is not a file name"),
        ({}, np.zeros((1, 16)), "1 sample"),
        ({}, [], "1D array"),
        ({}, np.full((9, 16), np.nan), "NaN"),
    ],
)
def test_invalid_arguments_and_inputs_are_reported(changes, X, named):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  UserError, or scikit-learn's error
        tiny(**changes).fit(X)
    assert named in str(caught.value)


def test_a_different_number_of_channels_is_rejected(grey_run):
    with pytest.raises(UserError, match="3 channels; the backbone takes 1"):
        BYOLEmbedder(grey_run).fit(np.zeros((4, 8, 8, 3), np.uint8))


def test_numbers_and_arrays_of_numpy_are_settings():
    X = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    settings = {**TINY, "hidden_size": np.int64(8), "lr": np.float32(0.25), "mean": np.array([0.5])}
    embedder = tiny(
        epochs=np.int64(1),
        batch_size=np.int32(4),
        pixel_range=np.array([0, 255]),
        settings={**settings, "std": torch.tensor([0.25]), "channels": np.int64(1)},
    )
    plain = tiny(
        epochs=1,
        batch_size=4,
        settings={**TINY, "lr": 0.25, "mean": [0.5], "std": [0.25], "channels": 1},
    )
    assert np.array_equal(embedder.fit_transform(X), plain.fit_transform(X))
    assert embedder.pixel_range_ == (0, 255)


def test_columns_of_file_names_are_images(run, tmp_path):
    files = [str(f) for f in sorted(draw_images(tmp_path / "images", side=16).rglob("*.png"))]
    expected = BYOLEmbedder(run).fit_transform(files)
    columns = [np.array(files)[:, None], np.array(files, dtype=object)]
    try:
        import pandas as pd
    except ImportError:
        pass
    else:
        columns += [pd.Series(files, index=range(5, 5 + len(files))), pd.DataFrame({"f": files})]
    for X in columns:
        assert np.array_equal(BYOLEmbedder(run).fit(X).transform(X), expected)


def test_tensors_are_images(grey_run):
    X = torch.rand(5, 8, 8)
    expected = BYOLEmbedder(grey_run).fit_transform(X.numpy())
    assert np.array_equal(BYOLEmbedder(grey_run).fit_transform(X.requires_grad_()), expected)
    half = X.detach().bfloat16()
    expected = BYOLEmbedder(grey_run).fit_transform(half.float().numpy())
    assert np.array_equal(BYOLEmbedder(grey_run).fit_transform(half), expected)
