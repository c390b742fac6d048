"""The expected time of an evaluation."""

import pytest

from BYOL.evaluation.cost import evaluation_seconds


@pytest.mark.parametrize(
    ("train", "test", "classes", "measured"),
    [(720, 180, 10, 1.2), (1651, 411, 10, 3.1), (3453, 864, 5, 10.6)],
)
def test_the_expected_time_is_near_the_measured_one(
    train: int, test: int, classes: int, measured: float
) -> None:
    expected = evaluation_seconds(train, test, classes, features=128, pixels=3072)
    assert expected == pytest.approx(measured, rel=0.2)


def test_few_pixels_need_no_principal_axes_and_wide_features_take_longer() -> None:
    usual = evaluation_seconds(4000, 1000, 10, features=128, pixels=3072)
    assert evaluation_seconds(4000, 1000, 10, features=128, pixels=784) < usual - 4
    assert evaluation_seconds(4000, 1000, 10, features=2048, pixels=3072) > 2 * usual
    assert evaluation_seconds(4000, 1000, 0, features=128, pixels=784) < 4  # no labels to fit
