"""A probe as one layer has the outputs of scikit-learn's pipeline."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from BYOL.evaluation.cross_val_predict import _fit
from BYOL.evaluation.labelled_set import LabelledFeatures
from BYOL.model.linear_head import layer_of_classes, layer_of_tags, layer_of_values

# features far from zero, of very different scales, one of them constant
SCALES = np.array([1e-3, 1.0, 50.0, 1.0])


def drawn(seed, n=40):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 4)) * SCALES + [5, -3, 200, 0]
    features[:, 3] = 7
    return rng, features


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.booleans())
def test_classes(seed, count, with_std):
    rng, features = drawn(seed)
    labels = rng.integers(0, count, len(features))
    labels[:2] = 0, 1
    model = make_pipeline(StandardScaler(with_std=with_std), LogisticRegression(max_iter=10_000))
    model.fit(features, labels)
    outputs = layer_of_classes(model, count + 1)(features)  # with a class without samples
    assert outputs.shape == (40, count + 1) and not outputs[:, count].any()
    np.testing.assert_allclose(outputs[:, model.classes_], model.predict_proba(features), atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
@pytest.mark.filterwarnings("ignore:Label")
def test_tags_of_some_samples_of_all_and_of_none(seed):
    rng, features = drawn(seed)
    tags = rng.integers(0, 2, (len(features), 4))
    tags[:, 1], tags[:, 2] = 1, 0
    model = make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression()))
    model.fit(features, tags)
    outputs = layer_of_tags(model, 3)(features)
    np.testing.assert_allclose(outputs, model.predict_proba(features)[:, :3], atol=1e-9)
    assert (outputs[:, 1] == 1).all() and (outputs[:, 2] == 0).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_values(seed, count):
    rng, features = drawn(seed)
    values = features @ rng.normal(size=(4, count)) + 100
    model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 2, 5)))
    model.fit(features, values)
    np.testing.assert_allclose(
        layer_of_values(model)(features), model.predict(features).reshape(40, -1), rtol=1e-9
    )


def test_with_one_class_left_the_layer_always_predicts_it():
    known = LabelledFeatures(np.array([0, 2, 2, 2]), features=np.ones((4, 2), np.float32))
    layer = _fit(known.subset(np.array([1, 2, 3])), 0, 3)
    assert layer(np.zeros((2, 2))).tolist() == [[0, 0, 1], [0, 0, 1]]
