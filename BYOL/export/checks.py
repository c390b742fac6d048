"""A network that takes pixels, and the proof that an exported one is equal to it."""

import copy
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from BYOL._evenly import evenly
from BYOL.data.dataset import Images
from BYOL.data.eval_loader import eval_batches
from BYOL.data.open import open_images
from BYOL.errors import UserError
from BYOL.export.exportable import Model
from BYOL.model.backbones import pool
from BYOL.model.classifier import Activation, as_module
from BYOL.runs.open import Run
from BYOL.views.config import Sight
from BYOL.views.transforms import normalise, shown_share

CHECKED = 16  # pictures that every exported program is held to
TOLERANCE = 1e-4  # of the largest feature, or of 1 where all are smaller
PIXELS = "float32 (N, C, S, S), pixels from 0 to 1; normalised inside"


class PixelNetwork(nn.Module):
    """A backbone with its normalisation, so that nobody gets mean and deviation wrong.

    Args:
        backbone: (B, C, size, size) normalised → (B, d) or (B, d, h, w).
        sight: how it is shown pictures.
        head: (B, d) → (B, t), what is made of the features; None: they are what is wanted.

    Shapes: (B, C, size, size) float32 in [0, 1] → (B, d) or (B, t).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: nn.Module, sight: Sight, head: nn.Module | None = None):
        super().__init__()
        self.backbone = backbone
        self.head = head or nn.Identity()
        self.register_buffer("mean", torch.tensor(sight.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(sight.std)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, size, size) pixels → (B, d) features, or (B, t)."""
        return self.head(pool(self.backbone((images - self.mean) / self.std)))


def pixel_network(model: Model) -> PixelNetwork:
    """What is exported, from pixels on, in evaluation mode."""
    head = as_module(model.classifier.layer) if model.classifier else None
    return PixelNetwork(model.backbone, model.config.sight, head).eval()


def as_timm_shows(network: nn.Module, model: Model) -> Callable[[Tensor], Tensor]:
    """What timm's network for a model makes of (N, C, size, size) pixels from 0 to 1."""
    sight = model.config.sight
    last = Activation(model.classifier.task) if model.classifier else nn.Identity()
    return lambda images: last(network(normalise(images, sight.mean, sight.std)))


def pixel_metadata(model: Model) -> dict[str, str]:
    """What an exported program says of itself: the weights' words, and what goes in and out."""
    size = model.config.sight.size
    low, high = model.config.pixel_range or (0.0, 255.0)
    scaled = (
        "divide by 255"
        if (low, high) == (0.0, 255.0)
        else f"cut off values below {low:g} and above {high:g}, and scale these two to 0 and 1"
    )
    columns = "a column for each of the classes" if model.classifier else "features"
    return {
        **model.metadata,
        "images": PIXELS,
        model.output: f"float32 (N, d), {columns}",
        "preprocessing": f"resize the shorter side to {round(size / shown_share(size))} px "
        f"(bicubic, antialiased), cut out the centre of {size} px, {scaled}",
    }


def pictures_to_check(run: Run) -> tuple[Tensor, str]:
    """Some of the pictures that the run has learnt from, as ``byol embed`` shows them.

    Returns:
        (n, C, size, size) float32 in [0, 1], at least two, and what they are. Where the pictures
        are gone, noise takes their place: a network is no less defined there.
    """
    config = run.config
    assert config.channels is not None
    try:
        run.check_places()
        images = open_images(
            config.data,
            channels=config.channels,
            pixel_range=config.pixel_range,
            data_root=config.data_root,
        ).train
        pixels = _first_pixels(images, config.sight.size)
    except UserError:
        pixels = torch.empty(0)
    if len(pixels) >= 2 and pixels.shape[1] == config.channels:
        return (
            pixels.float() / 255,
            f"{len(pixels)} pictures of {Path(config.data or 'digits').name}",
        )
    generator = torch.Generator().manual_seed(0)
    shape = (CHECKED, config.channels, config.sight.size, config.sight.size)
    return torch.rand(shape, generator=generator), f"{CHECKED} pictures of noise"


def _first_pixels(images: Images, size: int) -> Tensor:
    chosen = images.subset(evenly(len(images), CHECKED))
    found = next(eval_batches(chosen, size, CHECKED), None)
    return torch.empty(0) if found is None else found[1]


def check_equal(
    path: Path, model: Model, exported: Callable[[Tensor], Tensor], pictures: Tensor
) -> float:
    """Hold an exported program to the network it was made from, at two batch sizes.

    Returns:
        The largest difference between any two numbers that they put out.

    Raises:
        UserError: more than :data:`TOLERANCE`, or another shape.
    """
    network = pixel_network(model)
    worst = 0.0
    for batch in (pictures, pictures[:1]):
        with torch.no_grad():
            expected, found = network(batch), exported(batch)
        if found.shape != expected.shape:
            raise UserError(
                f"--to={path}: the exported program puts out {tuple(found.shape)} where the "
                f"backbone puts out {tuple(expected.shape)}; nothing was written"
            )
        difference = float((found - expected).abs().max())
        allowed = TOLERANCE * max(float(expected.abs().max()), 1.0)
        if not difference <= allowed:  # not a number is no agreement either
            raise UserError(
                f"--to={path}: the exported program differs from the backbone by "
                f"{difference:.1e}, more than {allowed:.0e}; nothing was written"
            )
        worst = max(worst, difference)
    return worst


def traced(model: Model) -> torch.export.ExportedProgram:
    """The network from pixels on as one graph, for any number of pictures at a time.

    Raises:
        UserError: a network that cannot be written down as a graph.
    """
    config = model.config
    assert config.channels is not None
    # A copy without gradients: a program is to be used, and its output goes straight to numpy.
    network = copy.deepcopy(pixel_network(model)).requires_grad_(False)
    example = torch.zeros(2, config.channels, config.sight.size, config.sight.size)
    batch = torch.export.Dim("batch")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's, to itself
            return torch.export.export(network, (example,), dynamic_shapes=({0: batch},))
    except Exception as error:  # the tracer's many ways to give up
        raise UserError(
            f"backbone {config.backbone!r} cannot be exported as a program "
            f"({type(error).__name__}: {str(error).splitlines()[0][:120]}); "
            "use .safetensors"
        ) from error
