import pytest
import torch
import torchvision.transforms.v2.functional as tvf
from hypothesis import given, settings
from hypothesis import strategies as st

from BYOL.views.crop_resize import crop_resize, resize_weights
from tests.views.test_ops import image


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 20), st.integers(1, 20)),
    st.integers(1, 40),
)
def test_crop_resize_equals_torchvision(box, size):
    top, left, height, width = box
    x = image(1, size=40)
    expected = tvf.resized_crop(
        x, top, left, height, width, [size, size],
        interpolation=tvf.InterpolationMode.BICUBIC, antialias=True,
    ).clamp(0, 1)  # fmt: skip
    got = crop_resize(x, torch.tensor([box]), size)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4)


def test_large_images_are_cropped_like_small_ones():
    x = (image(2, size=120) * 255).byte()
    box = torch.tensor([[10, 20, 60, 80]])
    expected = tvf.resized_crop(
        x.float() / 255, 10, 20, 60, 80, [32, 32],
        interpolation=tvf.InterpolationMode.BICUBIC, antialias=True,
    ).clamp(0, 1)  # fmt: skip
    torch.testing.assert_close(crop_resize(x, box, 32), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", [30, 60, 120])
def test_mirrored_crops_equal_the_mirror_image_of_the_crops(side):
    """The sizes cover the weight table and the weight matrices."""
    x = (image(3, n=2, size=side) * 255).byte()
    boxes = torch.tensor([[1, 2, 20, 25], [5, 0, 9, 30]])
    plain = crop_resize(x, boxes, 16)
    mirrored = crop_resize(x, boxes, 16, torch.tensor([True, False]))
    torch.testing.assert_close(mirrored[0], plain[0].flip(-1), rtol=0, atol=1e-6)
    torch.testing.assert_close(mirrored[1], plain[1], rtol=0, atol=1e-6)


def test_the_weights_of_every_row_sum_to_one():
    weights = resize_weights(torch.tensor([0, 3]), torch.tensor([10, 4]), 10, 7)
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 7))
    assert (weights[1, :, :3] == 0).all() and (weights[1, :, 7:] == 0).all()
