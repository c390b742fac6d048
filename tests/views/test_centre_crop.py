"""Files, PIL images, arrays and tensors have the same evaluation crop, that of timm."""

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import create_transform

from BYOL.data.dataset import ArrayImages, FileImages
from BYOL.data.eval_loader import eval_batches
from BYOL.data.path_table import PathTable
from BYOL.utils import get_byol_transforms
from BYOL.views.centre_crop import centre_crop_box, centre_crop_fraction, shorter_side
from BYOL.views.config import paper_views
from BYOL.views.crop_resize import crop_resize
from BYOL.views.pipeline import augment_appearance
from BYOL.views.sample_params import sample_appearance

SHAPES = [
    (64, 65), (65, 64), (33, 47), (7, 5), (300, 200), (101, 64), (256, 256), (64, 64), (1, 400),
    (500, 3), (1, 1), (130, 513),
]  # fmt: skip


def image(height: int, width: int, channels: int, kind: str) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    if kind == "stripes":
        plane = ((columns // 2 + rows // 2) % 2 * 255).astype(np.uint8)
        return np.repeat(plane[..., None], channels, 2)
    generator = np.random.default_rng(height * width)
    return generator.integers(0, 256, (height, width, channels), dtype=np.uint8)


def levels(one: torch.Tensor, other: torch.Tensor) -> float:
    """Return the largest difference in levels of 255."""
    return float((one - other).abs().max()) * 255


@pytest.mark.parametrize("kind", ["stripes", "noise"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [24, 64, 97, 112])
def test_an_image_of_any_form_has_the_same_crop(size, channels, kind, tmp_path):
    transform = get_byol_transforms(size, [0] * channels, [1] * channels)[2]
    for number, shape in enumerate(SHAPES):
        pixels = image(*shape, channels, kind)
        pil = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        pil.save(tmp_path / f"{number:02}.png")
        tensor = torch.from_numpy(pixels).permute(2, 0, 1)
        expected = transform(pil)
        for form in (tensor, tensor / 255, tensor.double() / 255, (tensor / 255).half()):
            for out in (transform(form), transform(torch.stack([form, form]))[1]):
                assert out.shape == (channels, size, size) and out.dtype == torch.float32
                assert levels(out, expected) < 1.01, shape
        data = ArrayImages("x", channels, None, (), tensor[None])
        ((_, array),) = eval_batches(data, size, 4)
        assert levels(array[0] / 255, expected) < 1.01
        # timm resizes images that are more than twice as high as wide in another order
        if channels != 4 and shape[0] <= 2 * shape[1]:
            timm = create_transform(
                (channels, size, size), interpolation="bicubic", mean=(0,) * channels,
                std=(1,) * channels, crop_pct=centre_crop_fraction(size),
            )  # fmt: skip
            assert levels(timm(pil), expected) < 1.01, shape
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    files = FileImages("x", channels, None, (), tmp_path, PathTable(names))
    for ids, batch in eval_batches(files, size, 64):
        for i, crop in zip(ids.tolist(), batch, strict=True):
            assert levels(crop / 255, transform(Image.open(tmp_path / names[i]))) < 1e-3


def test_five_bands_are_cropped_like_one():
    pixels = torch.from_numpy(image(50, 70, 1, "noise")).permute(2, 0, 1)
    one = get_byol_transforms(32, [0], [1])[2](pixels)
    five = get_byol_transforms(32, [0] * 5, [1] * 5)[2](pixels.expand(5, -1, -1))
    assert torch.equal(five, one.expand(5, -1, -1))


def test_floats_between_levels_are_not_rounded():
    transform = get_byol_transforms(24, [0], [1])[2]
    dark = torch.rand(1, 40, 40) / 255  # an image of less than one level
    out = transform(dark)
    assert len(out.unique()) > 500 and out.std() > 0
    batch = transform(torch.stack([dark, (dark * 255 * 255).round() / 255]))
    assert torch.equal(batch[0], out)  # an image does not depend on the others of its batch


def test_the_box_is_that_of_resize_and_centre_crop():
    assert shorter_side(224) == 256 and shorter_side(32) == 32 and shorter_side(100) == 114
    assert centre_crop_box(256, 256, 224) == (16, 16, 224, 224)
    top, left, height, width = centre_crop_box(480, 640, 224)
    assert (top, height, left) == (30.0, 420.0, round((341 - 224) / 2) * 640 / 341)
    assert width == 224 * 640 / 341


def test_features_of_files_and_of_the_same_array_are_equal(tmp_path):
    pixels = np.stack([image(48, 61, 3, "noise") // (i + 1) for i in range(5)])
    (tmp_path / "files").mkdir()
    for i, one in enumerate(pixels):
        Image.fromarray(one).save(tmp_path / "files" / f"{i}.png")
    table = PathTable([f"{i}.png" for i in range(5)])
    files = FileImages("x", 3, None, (), tmp_path / "files", table)
    array = ArrayImages("x", 3, None, (), torch.from_numpy(pixels).permute(0, 3, 1, 2))
    crops = [next(eval_batches(images, 32, 8))[1].int() for images in (files, array)]
    assert (crops[0] - crops[1]).abs().max() <= 1


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_transforms_return_float32_under_any_default_type(dtype):
    transforms = get_byol_transforms(16, [0.5] * 3, [0.25] * 3, rotate=20.0)
    batch = torch.from_numpy(image(20, 24, 3, "noise")).permute(2, 0, 1)[None]
    torch.manual_seed(0)
    expected = [transform(batch) for transform in transforms]
    torch.set_default_dtype(dtype)
    try:
        torch.manual_seed(0)
        for transform, right in zip(transforms, expected, strict=True):
            out = transform(batch)
            assert out.dtype == torch.float32 and torch.equal(out, right)
        view = paper_views(16, rotate=20.0, vertical_flip=0.5)[1]  # the operations of a GPU
        draw = sample_appearance(view, 0, torch.arange(1))
        crops = crop_resize(batch, torch.tensor([[1, 2, 15, 20]]), 16, draw.flip)
        out = augment_appearance(view, crops, draw, [0.5] * 3, [0.25] * 3)
        assert crops.dtype == out.dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
