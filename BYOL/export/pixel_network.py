"""A network that takes pixels in [0, 1]: what ONNX and torch.export files contain."""

import copy
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from BYOL.errors import UserError, first_line
from BYOL.export.exportable import ExportModel
from BYOL.model.classifier import Activation, as_module
from BYOL.model.feature_size import pool
from BYOL.views.centre_crop import shorter_side
from BYOL.views.config import InputSpec
from BYOL.views.pixel_range import PixelRange, band_ranges
from BYOL.views.transforms import normalise

PIXELS = "float32 (N, C, S, S), pixels from 0 to 1; normalised inside"


class PixelNetwork(nn.Module):
    """A backbone that includes the normalisation of its input.

    Args:
        backbone: (B, C, size, size) normalised → (B, d) or (B, d, h, w).
        input_spec: the input specification of the backbone.
        head: (B, d) → (B, t), applied to the features. If None, the features are the output.

    Shapes: (B, C, size, size) float32 in [0, 1] → (B, d) or (B, t).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, input_spec: InputSpec, head: nn.Module | None = None):
        super().__init__()
        self.backbone = backbone
        self.head = head or nn.Identity()
        self.register_buffer("mean", torch.tensor(input_spec.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(input_spec.std)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, d) or head outputs (B, t) of ``images``, (B, C, size, size)."""
        return self.head(pool(self.backbone((images - self.mean) / self.std)))


def pixel_network(model: ExportModel) -> PixelNetwork:
    """Return ``model`` as a network that takes pixels, in evaluation mode."""
    head = as_module(model.classifier.layer) if model.classifier else None
    return PixelNetwork(model.backbone, model.config.input_spec, head).eval()


def timm_forward(network: nn.Module, model: ExportModel) -> Callable[[Tensor], Tensor]:
    """Return a function that applies timm's ``network`` to (N, C, size, size) pixels in [0, 1].

    The function normalises the pixels as ``model`` specifies, and applies the activation of the
    classifier if ``model`` has one.
    """
    input_spec = model.config.input_spec
    activation = Activation(model.classifier.task) if model.classifier else nn.Identity()
    return lambda images: activation(network(normalise(images, input_spec.mean, input_spec.std)))


def pixel_metadata(model: ExportModel) -> dict[str, str]:
    """Return the metadata of an exported program: that of the weights, its inputs and outputs."""
    size = model.config.input_spec.size
    pixel_range = model.config.pixel_range or (0.0, 255.0)
    scaling = (
        "divide by 255"
        if pixel_range == (0.0, 255.0)
        else f"clip to {_intervals(pixel_range)} and scale this range to [0, 1]"
    )
    columns = "a column for each of the classes" if model.classifier else "features"
    shorter = shorter_side(size)
    return {
        **model.metadata,
        "images": PIXELS,
        model.output: f"float32 (N, d), {columns}",
        "preprocessing": f"resize the shorter side to {shorter} px (bicubic, antialiased), "
        f"crop the centre of {size} px, {scaling}",
    }


def _intervals(pixel_range: PixelRange) -> str:
    pairs = [f"[{low:g}, {high:g}]" for low, high in band_ranges(pixel_range)]
    return pairs[0] if len(pairs) == 1 else f"{', '.join(pairs)} per channel"


def export_graph(model: ExportModel) -> torch.export.ExportedProgram:
    """Return the pixel network of ``model`` as a graph with a dynamic batch size.

    Raises:
        UserError: the network cannot be traced as a graph.
    """
    config = model.config
    assert config.channels is not None
    # The copy needs no gradients, so that its outputs can be converted to numpy directly.
    network = copy.deepcopy(pixel_network(model)).requires_grad_(False)
    example = torch.zeros(2, config.channels, config.input_spec.size, config.input_spec.size)
    batch = torch.export.Dim("batch")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's warnings about its own internals
            return torch.export.export(network, (example,), dynamic_shapes=({0: batch},))
    except Exception as error:  # the tracer raises many kinds of exceptions
        raise UserError(
            f"backbone {config.backbone!r} cannot be exported as a program "
            f"({type(error).__name__}: {first_line(error, 120)}); "
            "use .safetensors"
        ) from error
