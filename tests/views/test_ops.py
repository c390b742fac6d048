import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from BYOL.views import ops

COLOUR = ("brightness", "contrast", "saturation", "hue", "blur")


def image(seed: int = 0, n: int = 1, size: int = 16, channels: int = 3) -> torch.Tensor:
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def apply(name: str, value: str, x: torch.Tensor) -> torch.Tensor:
    if name == "grayscale":
        return ops.grey(x)
    if name == "flip":
        return ops.flip(x, torch.tensor([True]))
    if name == "solarize":
        return ops.solarize(x, float(value))
    return getattr(ops, name)(x, torch.tensor([float(value)]))


@pytest.mark.parametrize("name", [*COLOUR, "grayscale", "solarize", "flip"])
@pytest.mark.parametrize("kind", ["noise", "photo"])
def test_an_operation_equals_that_of_the_paper_authors(authors, kind, name):
    x = torch.from_numpy(authors[f"augment/{kind}/input"]).permute(2, 0, 1)[None]
    prefix = f"augment/{kind}/{name}"
    cases = [key for key in authors if key == prefix or key.startswith(prefix + "/")]
    assert cases
    for key in cases:
        value = key.removeprefix(prefix).lstrip("/")
        expected = torch.from_numpy(authors[key]).permute(2, 0, 1)[None]
        torch.testing.assert_close(apply(name, value, x.clone()), expected, rtol=0, atol=1e-5)


def test_colour_operations_on_one_pixel_equal_hand_computed_values():
    x = torch.tensor([0.2, 0.4, 0.8]).reshape(1, 3, 1, 1)

    def values(y):
        return y.flatten().tolist()

    one = torch.ones(1)
    assert values(ops.brightness(x, 0.3 * one)) == pytest.approx([0.5, 0.7, 1.0])
    # S = (0.8 − 0.2) / 0.8; halved, the smallest channel is 0.8 · (1 − 0.375)
    assert values(ops.saturation(x, 0.5 * one)) == pytest.approx([0.5, 0.6, 0.8])
    assert values(ops.hue(x, one / 3)) == pytest.approx([0.8, 0.2, 0.4], abs=1e-6)
    assert values(ops.grey(x)) == pytest.approx([0.2989 * 0.2 + 0.587 * 0.4 + 0.114 * 0.8] * 3)
    assert values(ops.solarize(x)) == pytest.approx([0.2, 0.4, 0.2])


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(COLOUR[:4]), st.floats(0.0, 0.4), st.integers(0, 1000))
def test_a_batch_gives_the_same_result_as_single_images(name, strength, seed):
    x = image(seed, n=3)
    values = torch.tensor([strength, -strength, 0.0]) + (name in ("contrast", "saturation"))
    batch = getattr(ops, name)(x, values)
    single = [getattr(ops, name)(x[i : i + 1], values[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(batch, torch.cat(single), rtol=0, atol=1e-6)
    assert batch.min() >= 0 and batch.max() <= 1


def test_neutral_parameters_do_not_change_the_image():
    x = image()
    for name, neutral in (("brightness", 0.0), ("contrast", 1.0), ("saturation", 1.0), ("hue", 0)):
        y = getattr(ops, name)(x, torch.tensor([float(neutral)]))
        torch.testing.assert_close(y, x, rtol=0, atol=1e-6)


def test_flips_mirror_only_the_chosen_images():
    x = image(n=2)
    chosen = torch.tensor([True, False])
    assert torch.equal(ops.flip(x, chosen)[0], x[0].flip(-1))
    assert torch.equal(ops.flip(x, chosen)[1], x[1])
    assert torch.equal(ops.vertical_flip(x, chosen)[0], x[0].flip(-2))


def test_a_rotation_of_90_degrees_is_counter_clockwise():
    x = image()
    turned = ops.rotate(x, torch.tensor([90.0]))
    torch.testing.assert_close(turned, torch.rot90(x, 1, (2, 3)), rtol=0, atol=1e-5)


def test_blur_leaves_small_images_unchanged_and_preserves_the_sum_of_large_ones():
    small = image(size=16)
    assert torch.equal(ops.blur(small, torch.tensor([2.0])), small)
    spot = torch.zeros(1, 1, 60, 60)
    spot[..., 30, 30] = 1
    blurred = ops.blur(spot, torch.tensor([1.0]))
    assert blurred.sum().item() == pytest.approx(1, abs=1e-5)
    middle = blurred[0, 0, 30, 27:34].numpy()
    assert np.all(np.diff(middle[:4]) > 0) and np.allclose(middle, middle[::-1])
