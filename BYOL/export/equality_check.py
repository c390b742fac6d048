"""The check that an exported file computes the same outputs as the network it was made from."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from BYOL._random import evenly_spaced
from BYOL.config.data_names import data_name
from BYOL.config.data_settings import DataSettings
from BYOL.data.configured import open_configured
from BYOL.data.dataset import Images
from BYOL.data.eval_loader import eval_batches
from BYOL.errors import UserError
from BYOL.export.exportable import ExportModel
from BYOL.export.pixel_network import pixel_network
from BYOL.runs.open import Run

CHECKED = 16  # images that every exported file is checked on
TOLERANCE = 1e-4  # relative to the largest output, or to 1 if all outputs are smaller


def images_to_check(run: Run) -> tuple[Tensor, str]:
    """Return images for the equality check, and a description of them.

    They are training images of ``run``, preprocessed as in ``byol embed``. If the training images
    are not available, random noise is used, because the networks are defined for it as well.

    Returns:
        (n, C, size, size) float32 in [0, 1] with n ≥ 2, and the description.
    """
    config = run.config
    assert config.channels is not None
    try:
        run.check_places()
        images = open_configured(config.data, config.only(DataSettings)).train
        pixels = _first_pixels(images, config.input_spec.size)
    except UserError:
        pixels = torch.empty(0)
    if len(pixels) >= 2 and pixels.shape[1] == config.channels:
        return (
            pixels.float() / 255,
            f"{len(pixels)} images of {Path(data_name(config.data)).name}",
        )
    generator = torch.Generator().manual_seed(0)
    shape = (CHECKED, config.channels, config.input_spec.size, config.input_spec.size)
    return torch.rand(shape, generator=generator), f"{CHECKED} images of random noise"


def _first_pixels(images: Images, size: int) -> Tensor:
    chosen = images.subset(evenly_spaced(len(images), CHECKED))
    batch = next(eval_batches(chosen, size, CHECKED), None)
    return torch.empty(0) if batch is None else batch[1]


def check_equal(
    path: Path, model: ExportModel, exported: Callable[[Tensor], Tensor], images: Tensor
) -> float:
    """Check an exported program against the network it was made from, at two batch sizes.

    Args:
        path: the file, for error messages.
        model: the network.
        exported: the exported program as a function of pixels.
        images: (n, C, size, size) float32 in [0, 1].

    Returns:
        The largest absolute difference between the outputs.

    Raises:
        UserError: the difference exceeds :data:`TOLERANCE`, or the shapes differ.
    """
    network = pixel_network(model)
    largest = 0.0
    for batch in (images, images[:1]):
        with torch.no_grad():
            expected, actual = network(batch), exported(batch)
        if actual.shape != expected.shape:
            raise UserError(
                f"--to={path}: the exported program returns shape {tuple(actual.shape)} where the "
                f"backbone returns {tuple(expected.shape)}; nothing was written"
            )
        difference = float((actual - expected).abs().max())
        allowed = TOLERANCE * max(float(expected.abs().max()), 1.0)
        if not difference <= allowed:  # NaN counts as a difference
            raise UserError(
                f"--to={path}: the exported program differs from the backbone by "
                f"{difference:.1e}, more than {allowed:.0e}; nothing was written"
            )
        largest = max(largest, difference)
    return largest
