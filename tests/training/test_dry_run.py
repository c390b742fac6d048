import pytest
import torch

from BYOL._hardware import Machine
from BYOL.config.view_configs import input_sizes
from BYOL.config.view_settings import ViewSettings
from BYOL.errors import UserError
from BYOL.runs.build_model import build_model
from BYOL.training.dry_run import check_network, reliable_machine
from BYOL.training.prepare import prepare
from BYOL.training.pretrain import pretrain
from tests.conftest import draw_images, tiny


@pytest.mark.parametrize(
    ("backbone", "sizes", "named"),
    [
        ("convnext_atto", {"image_size": 16}, "--image_size=16"),
        ("vit_tiny_patch16_224", {"image_size": 8}, "--image_size=8"),
        ("convnext_atto", {"image_size": 32, "view_size": 16}, "--view_size=16"),
        ("convnext_atto", {"image_size": 64, "small_views": 1, "small_size": 8}, "--small_size=8"),
    ],
)
def test_a_size_that_the_network_cannot_take_is_one_line(tmp_path, backbone, sizes, named):
    images = draw_images(tmp_path / "pictures", each=4)
    config = tiny(images, tmp_path / "run", backbone=backbone, **sizes)
    with pytest.raises(UserError, match=f"{named} does not fit backbone '{backbone}'") as caught:
        pretrain(config)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_checking_the_sizes_does_not_change_the_network(tmp_path):
    config = prepare(tiny(draw_images(tmp_path / "p", each=4), tmp_path / "run")).config
    model = build_model(config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check_network(model, config.backbone, 3, input_sizes(config.only(ViewSettings)))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "precision"),
    [
        ({"image_size": 16}, "bf16"),
        ({"image_size": 2}, "fp32"),
        ({"image_size": 16, "view_size": 2}, "fp32"),
        ({"image_size": 16, "small_views": 1, "small_size": 2}, "fp32"),
    ],
)
def test_a_cpu_trains_in_fp32_if_a_strided_convolution_has_inputs_one_pixel_wide(
    tmp_path, settings, precision, lines
):
    """Its gradient in bf16 was another one every time: fitting twice gave two backbones."""
    images = draw_images(tmp_path / "pictures", each=4)
    config = prepare(tiny(images, tmp_path / "run", **settings)).config
    sizes = input_sizes(config.only(ViewSettings))
    narrow = check_network(build_model(config), config.backbone, 3, sizes)
    lines.clear()
    fast = Machine("cpu", "bf16")
    assert reliable_machine(narrow, config.precision, fast) == Machine("cpu", precision)
    assert len(lines()) == (precision == "fp32")
    for other in (Machine("gpu", "bf16"), Machine("cpu", "fp32")):
        assert reliable_machine(narrow, config.precision, other) == other
    if precision == "fp32":
        with pytest.raises(UserError, match="--precision=bf16"):
            reliable_machine(narrow, "bf16", fast)
