import dataclasses
import io
import math
import os

import numpy as np
import pytest
import torch
from PIL import Image

from BYOL._random import fold
from BYOL.errors import UserError
from BYOL.utils import MultiViewDataInjector, get_byol_transforms
from BYOL.views import cpu as fused
from BYOL.views import ops
from BYOL.views.config import ViewConfig, paper_views
from BYOL.views.cpu import cpu_view
from BYOL.views.cpu_kernels import compiled
from BYOL.views.crop_resize import crop_resize
from BYOL.views.pipeline import Views, _jitter, augment_appearance, make_view
from BYOL.views.preview import save_preview
from BYOL.views.sample_params import sample_appearance, sample_crops

NO_NORMALISATION = {"mean": [0.0] * 3, "std": [1.0] * 3}
OFF = {"flip": 0.0, "jitter": 0.0, "grey": 0.0, "blur": 0.0}


def random_images(n: int = 12, size: int = 32, channels: int = 3) -> torch.Tensor:
    return torch.randint(0, 256, (n, channels, size, size), dtype=torch.uint8)


def paper_pair(size: int = 32) -> Views:
    return Views(*paper_views(size), mean=[0.5] * 3, std=[0.25] * 3)


def test_a_view_depends_only_on_seed_epoch_and_sample():
    images, ids = random_images(), torch.arange(12)
    whole = paper_pair()(images, ids, key=5)
    half = paper_pair()(images[6:], ids[6:], key=5)
    for a, b in zip(whole, half, strict=True):
        torch.testing.assert_close(a[6:], b, rtol=0, atol=1e-5)
    assert not torch.allclose(whole[0], paper_pair()(images, ids, key=6)[0])
    assert not torch.allclose(whole[0], whole[1])


def test_precomputed_crops_give_the_same_views():
    images, ids, key = random_images(), torch.arange(12), 9
    views = paper_pair()
    expected = views(images, ids, key)
    side = torch.tensor(32)
    cut = [
        crop_resize(images, sample_crops(config, fold(key, v), ids, side, side), 32)
        for v, config in enumerate(views.configs)
    ]
    got = views(cut, ids, key)
    for a, b in zip(expected, got, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_identical_images_of_a_batch_get_different_views():
    views = paper_pair()(random_images(1).expand(6, -1, -1, -1), torch.arange(6), 0)[0]
    distances = torch.cdist(views.flatten(1), views.flatten(1)) + torch.eye(6) * 1e9
    assert distances.min() > 0.1


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_any_number_of_channels(channels):
    views = Views(*paper_views(32), mean=[0.5] * channels, std=[0.25] * channels)
    x, x1 = views(random_images(4, channels=channels), torch.arange(4), 0)
    assert x.shape == x1.shape == (4, channels, 32, 32)
    assert x.isfinite().all()


def test_jitter_uses_the_order_drawn_for_each_image():
    config = ViewConfig(16)
    x = torch.rand(64, 3, 16, 16)
    draw = sample_appearance(config, 4, torch.arange(64))
    together = _jitter(config, x.clone(), draw)
    one_by_one = x.clone()
    names = ("brightness", "contrast", "saturation", "hue")
    for i in range(64):
        if draw.jitter[i]:
            for position in range(4):
                name = names[draw.order[i].tolist().index(position)]
                value = getattr(draw, name)[i : i + 1]
                one_by_one[i : i + 1] = getattr(ops, name)(one_by_one[i : i + 1], value)
    torch.testing.assert_close(together, one_by_one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["uint8", "float"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    ("side", "size", "cutout"), [(32, 32, None), (50, 24, (0.2, 0.6)), (24, 48, None)]
)
def test_the_cpu_kernels_equal_the_batched_operations(kind, channels, side, size, cutout):
    """The compiled loop over images equals the chain of tensor operations used on a GPU."""
    config = ViewConfig(
        size, vertical_flip=0.3, rotate=30.0, blur=0.5, solarize=0.4, grey=0.3, jitter=0.9,
        cutout=cutout,
    )  # fmt: skip
    images = random_images(40, side, channels)
    images = images if kind == "uint8" else images / 255
    mean, std, ids = [0.4] * channels, [0.3] * channels, torch.arange(40)
    draw = sample_appearance(config, 3, ids)
    boxes = sample_crops(config, 3, ids, torch.tensor(side), torch.tensor(side))
    crops = crop_resize(images, boxes, size, draw.flip)
    expected = augment_appearance(config, crops, draw, mean, std)
    got = cpu_view(config, images, boxes, draw, mean, std)
    assert got.is_contiguous(memory_format=torch.channels_last)
    # Rounding alone may move a pixel across a boundary of hue or solarize.
    assert ((got - expected).abs() > 2e-5).float().mean() < 1e-4
    uncut = cpu_view(config, crops, None, dataclasses.replace(draw, flip=draw.flip & False),
                       mean, std)  # fmt: skip
    assert ((uncut - expected).abs() > 2e-5).float().mean() < 1e-4


def test_the_number_of_threads_does_not_change_the_views():
    images, ids = random_images(13), torch.arange(13)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one_thread = paper_pair()(images, ids, 2)
        torch.set_num_threads(3)
        three_threads = paper_pair()(images, ids, 2)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one_thread[0], three_threads[0])
    assert torch.equal(one_thread[1], three_threads[1])


def test_without_augmentations_a_view_is_the_crop():
    config = ViewConfig(32, crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0), **OFF)
    images = random_images()
    view = make_view(config, images, torch.arange(12), 0, **NO_NORMALISATION)
    torch.testing.assert_close(view, images / 255, rtol=0, atol=1e-5)


def test_a_cutout_is_filled_with_the_mean_and_the_rest_is_the_view_without():
    mean, std, ids = [0.2, 0.4, 0.6], [0.5, 0.25, 0.2], torch.arange(200)
    images, plain = random_images(200), ViewConfig(32, **OFF)
    config = dataclasses.replace(plain, cutout=(0.2, 0.6))
    view = make_view(config, images, ids, 5, mean, std)
    without = make_view(plain, images, ids, 5, mean, std)
    changed = (view != without).any(dim=1)
    filled = view.movedim(1, -1)[changed]
    torch.testing.assert_close(filled, torch.zeros_like(filled), rtol=0, atol=1e-6)
    rows, columns = changed.any(dim=2).sum(dim=1), changed.any(dim=1).sum(dim=1)
    assert torch.equal(changed.sum(dim=(1, 2)), rows * columns)  # one rectangle
    area, ratio = rows * columns / 32**2, columns / rows
    assert 0.17 < area.min() < 0.25 and 0.55 < area.max() < 0.63
    assert 0.7 < ratio.min() < 0.8 and 1.25 < ratio.max() < 1.42
    top = changed.any(dim=2).to(torch.uint8).argmax(dim=1)
    assert top.min() == 0 and (top + rows).max() == 32


def test_a_cutout_is_filled_before_the_colour_operations():
    off = {**OFF, "jitter": 1.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    config, ids = ViewConfig(16, cutout=(0.5, 0.5), **off), torch.arange(8)
    x, mean = torch.rand(8, 3, 16, 16), [0.3, 0.5, 0.7]
    draw = sample_appearance(config, 1, ids)
    got = make_view(config, x.clone(), ids, 1, mean, [1.0] * 3, cropped=True)
    expected = ops.brightness(ops.cutout(x, draw.cutout, mean), draw.brightness)
    torch.testing.assert_close(got, expected - ops.per_channel(mean, x), rtol=0, atol=1e-5)


def test_the_order_is_grey_before_blur_before_solarize():
    config = ViewConfig(32, flip=0.0, jitter=0.0, grey=1.0, blur=1.0, solarize=1.0)
    x = torch.rand(2, 3, 32, 32)
    sigma = sample_appearance(config, 0, torch.arange(2)).sigma
    expected = ops.solarize(ops.blur(ops.grey(x).contiguous(), sigma))
    got = make_view(config, x.clone(), torch.arange(2), 0, **NO_NORMALISATION, cropped=True)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["PIL", "CHW", "BCHW", "float CHW", "float BCHW"])
def test_the_specified_transforms_accept_every_kind_of_image(kind):
    t, t1, eval_t = get_byol_transforms(24, [0.5] * 3, [0.25] * 3)
    batch = random_images(3, size=40)
    image = {
        "PIL": Image.fromarray(batch[0].permute(1, 2, 0).numpy()),
        "CHW": batch[0],
        "BCHW": batch,
        "float CHW": batch[0] / 255,
        "float BCHW": batch / 255,
    }[kind]
    shape = (3, 3, 24, 24) if "BCHW" in kind else (3, 24, 24)
    for transform in (t, t1, eval_t):
        out = transform(image)
        assert out.shape == shape and out.dtype == torch.float32 and out.isfinite().all()
    assert torch.equal(eval_t(image), eval_t(image))
    assert not torch.equal(t(image), t(image))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_specified_transforms_accept_pil_images_of_every_mode(mode, channels):
    values = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    if mode in ("I;16", "F"):
        image = Image.fromarray(values.astype({"I;16": np.uint16, "F": np.float32}[mode]) * 4)
    else:
        image = Image.fromarray(values).convert("RGB").convert(mode)
    for transform in get_byol_transforms(32, [0.0] * channels, [1.0] * channels):
        out = transform(image)
        assert out.shape == (channels, 32, 32) and out.isfinite().all()
    # ``out`` is the result of the last transform, that of evaluation.
    expected = torch.linspace(0, 1, 32).expand(channels, 32, 32)
    assert (out - expected).abs().mean() < (0.3 if mode == "1" else 0.06)


def test_a_pil_image_with_an_exif_orientation_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    lines = torch.zeros(40, 60, 3, dtype=torch.uint8)
    lines[:20] = 255
    Image.fromarray(lines.numpy()).save(file, "png", exif=exif)
    _, _, eval_t = get_byol_transforms(20, [0.0] * 3, [1.0] * 3)
    shown = eval_t(Image.open(file))
    assert shown[:, :, 12:].mean() > 0.9 and shown[:, :, :8].mean() < 0.1


def test_manual_seed_determines_the_specified_transforms():
    t, _, _ = get_byol_transforms(16, [0.5] * 3, [0.25] * 3)
    images = random_images()
    torch.manual_seed(3)
    first = t(images)
    torch.manual_seed(3)
    assert torch.equal(first, t(images))


def test_the_specified_transforms_apply_the_passed_changes():
    t, t1, _ = get_byol_transforms(
        np.int64(16), np.full(3, 0.5), torch.full((3,), 0.25), hue=0, blur=0.5, solarize=(0.1, 0.3)
    )
    paper, paper1 = paper_views(16)
    assert t.config == dataclasses.replace(paper, hue=0, blur=0.5, solarize=0.1)
    assert t1.config == dataclasses.replace(paper1, hue=0, blur=0.5, solarize=0.3)
    assert t(random_images(2)).shape == (2, 3, 16, 16)


def test_the_specified_transforms_take_numbers_and_arrays_of_numpy():
    images = random_images(2)
    kinds = (
        (16, [0.5] * 3, [0.25] * 3, {"crop_scale": (0.25, 1), "blur": (0.5, 0)}),
        (
            np.array([16, 16]),
            np.full(3, 0.5, np.float32),
            torch.full((3,), 0.25),
            {"crop_scale": np.array([0.25, 1]), "blur": np.array([0.5, 0])},
        ),
    )
    results = []
    for size, mean, std, changes in kinds:
        torch.manual_seed(0)
        transforms = get_byol_transforms(size, mean, std, **changes)
        results.append([transform(images) for transform in transforms])
    assert all(map(torch.equal, *results))


def test_a_forked_process_does_not_use_the_thread_pool_of_its_parent():
    fused._pool(2)
    child = os.fork()
    if not child:
        os._exit(fused._pool.cache_info().currsize)
    assert os.waitpid(child, 0)[1] == 0
    assert fused._pool.cache_info().currsize == 1


def test_kernels_are_compiled_without_a_writable_cache_folder():
    namespace = {}
    exec("def doubled(x): return 2 * x", namespace)
    assert compiled(namespace["doubled"])(21) == 42


def test_floats_up_to_255_raise_a_warning_and_noise_around_0_to_1_does_not(monkeypatch, lines):
    transforms = get_byol_transforms(8, [0.5] * 3, [0.25] * 3)
    image = torch.rand(2, 3, 16, 16)
    for transform in transforms:
        monkeypatch.setattr("BYOL.views.transforms._Reported.floats", False)
        transform(image), transform(torch.randn(2, 3, 16, 16)), transform((image * 255).byte())
        assert not any(line.startswith("warning: ") for line in lines())
        transform(image * 255), transform(image * 255)  # once per process
        (line,) = [line for line in lines() if line.startswith("warning: ")]
        assert "read as 0 to 1: give uint8, or divide by 255" in line
        lines.clear()


def test_the_injector_returns_one_result_per_transform():
    injector = MultiViewDataInjector([lambda x: x + 1, lambda x: x * 2])
    assert injector(5) == [6, 10]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: get_byol_transforms(0, [0.5], [0.5]), "size"),
        (lambda: get_byol_transforms((8, 9), [0.5], [0.5]), "size"),
        (lambda: get_byol_transforms(8, [0.5], [0.0]), "std"),
        (lambda: get_byol_transforms(8, [0.5], [0.5, 0.5]), "mean"),
        (
            lambda: get_byol_transforms(32.0, [0.5], [0.5]),
            "size=32.0 is out of range: give",
        ),
        (lambda: get_byol_transforms("32", [0.5], [0.5]), "size='32' is out of range"),
        (lambda: get_byol_transforms((), [0.5], [0.5]), r"size=\(\) is not square"),
        (lambda: get_byol_transforms(8, [0.5], [math.nan]), r"std=\[nan\] must have a finite num"),
        (lambda: get_byol_transforms(8, [0.5], [math.inf]), r"std=\[inf\] must have a finite num"),
        (lambda: get_byol_transforms(8, [math.nan], [0.5]), r"mean=\[nan\] must have a finite"),
        (lambda: get_byol_transforms(8, ["a"], [0.5]), r"mean=\['a'\] must have a finite number"),
        (lambda: get_byol_transforms(8, [123.7], [58.4]), r"mean=\[123.7\].* 0 to 1 .*by 255"),
        (lambda: get_byol_transforms(8, [0], [255]), r"std=\[255\] is out of range.*1e-06 to 1"),
        (lambda: get_byol_transforms(8, [0.5], [0.5], crop_scale=0.5), "crop_scale=0.5 is out of"),
        (lambda: get_byol_transforms(8, [0.5], [0.5], blur=(0, 1, 1)), r"blur=\(0, 1, 1\) is out"),
        (lambda: get_byol_transforms(8, [0.5], [0.5], solarize="a"), "solarize='a' is out of ran"),
        (lambda: get_byol_transforms(8, [0.5], [0.5])[0](torch.zeros(2, 1, 0, 0)), "of 0 × 0 px"),
        (lambda: get_byol_transforms(8, [0.5], [0.5])[1](torch.zeros(1, 3, 0)), "of 0 × 3 px"),
        (lambda: get_byol_transforms(8, [0.5], [0.5])[2](torch.zeros(2, 1, 0, 5)), "of 5 × 0 px"),
        (lambda: get_byol_transforms(8, [0.5], [0.5])[2](Image.new("L", (0, 4))), "of 0 × 4 px"),
        (lambda: get_byol_transforms(8, [0.5], [0.5])[0](Image.new("L", (0, 4))), "of 0 × 4 px"),
        (lambda: get_byol_transforms(8, 0.5, 0.5), "mean"),
        (lambda: get_byol_transforms(8, [0.5], [0.5], hues=1), "hues= is unknown.*hue"),
        (lambda: get_byol_transforms(8, [0.5], [0.5], hue=2), "hue=2 is out of range"),
        (lambda: get_byol_transforms(8, [0.5], [0.5])[0](random_images(2)), "3 channels"),
        (lambda: get_byol_transforms(8, [0.5], [0.5])[0]("a.png"), "PIL"),
        (lambda: get_byol_transforms(8, [0.5], [0.5])[2](torch.zeros(8, 8)), "shape"),
    ],
)
def test_an_error_names_the_wrong_argument(call, named):
    with pytest.raises(UserError, match=named):
        call()


def test_the_preview_shows_every_image_and_its_draws(tmp_path):
    images = [random_images(1, size=s)[0] for s in (20, 50)]
    path = save_preview(images, paper_views(48), tmp_path / "views.png", key=1, draws=2)
    with Image.open(path) as preview:
        tile = 48 * 2 + 4
        assert preview.size == (5 * tile, 2 * tile)


def test_the_preview_shows_small_views_and_cutouts_filled_with_the_mean(tmp_path):
    off = {**OFF, "crop_scale": (1.0, 1.0), "crop_ratio": (1.0, 1.0)}
    configs = (
        ViewConfig(96, **off),
        ViewConfig(48, **off),
        ViewConfig(96, cutout=(0.3, 0.5), **off),
    )
    white = torch.full((3, 96, 96), 255, dtype=torch.uint8)
    path = save_preview([white], configs, tmp_path / "v.png", key=1, draws=1, mean=[0.2, 0.4, 0.6])
    with Image.open(path) as preview:
        pixels = np.asarray(preview)
    assert pixels.shape == (100, 400, 3)
    colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    assert colours.tolist() == [[51, 102, 153], [255, 255, 255]]
    assert 0.25 < counts[0] / 96**2 < 0.55


def test_compiled_batched_operations_give_the_same_views():
    """Here the compiler targets the CPU; it fuses the same operations as on a GPU."""
    config = ViewConfig(40, blur=0.5, solarize=0.5)
    crops, draw = torch.rand(6, 3, 40, 40), sample_appearance(config, 0, torch.arange(6))
    expected = augment_appearance(config, crops, draw, **NO_NORMALISATION)
    fused = torch.compile(augment_appearance, dynamic=False)(
        config, crops, draw, **NO_NORMALISATION
    )
    torch.testing.assert_close(fused, expected, rtol=0, atol=1e-5)
