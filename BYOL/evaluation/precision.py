"""bf16 for features, where it changes no ranking."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from BYOL._evenly import evenly
from BYOL._hardware import pick_precision, torch_device
from BYOL.data.dataset import Images
from BYOL.data.eval_loader import eval_batches
from BYOL.evaluation.features import evaluating, look
from BYOL.views.config import Sight

NEIGHBOURS = 10
PROBED = 256  # pictures, evenly from the whole set, on which both are tried
TIE = 0.02  # of the spread of all cosines: neighbours nearer to each other than this are even


def settle_precision(
    wanted: str,
    accelerator: str,
    network: nn.Module,
    images: Images,
    sight: Sight,
    say: Callable[[str], None],
) -> str:
    """What features are computed in: as told, or bf16 where it is fast and changes no ranking.

    Args:
        wanted: fp32, bf16, fp16 or auto.
        accelerator: cpu, gpu or mps.
        network: (B, C, size, size) → features; it is put on the accelerator.
        images: some of them are tried in both.
        sight: how the network is shown them.
        say: gets a line where bf16 is given up.

    Returns:
        fp32, bf16 or fp16.
    """
    precision = pick_precision(wanted, accelerator)
    if wanted != "auto" or precision == "fp32":
        return precision
    change = measured_change(network, images, sight, torch_device(accelerator), precision)
    if change <= TIE:
        return precision
    say(
        f"features in fp32: {precision} reorders nearest neighbours that differ by "
        f"{change:.3f} standard deviations of the cosine, more than {TIE}"
    )
    return "fp32"


def measured_change(
    network: nn.Module, images: Images, sight: Sight, device: torch.device, precision: str
) -> float:
    """:func:`ranking_change` on :data:`PROBED` of the pictures."""
    places = evenly(len(images), PROBED)
    network.to(device)
    with evaluating(network), torch.inference_mode():
        for _, pixels in eval_batches(images.subset(places), sight.size, PROBED):
            shown = pixels.to(device)
            exact = look(network, shown, sight)
            return ranking_change(exact, look(network, shown, sight, precision))
    return 0.0  # nothing can be read: whoever reads next says so


def ranking_change(exact: Tensor, rounded: Tensor, neighbours: int = NEIGHBOURS) -> float:
    """By how much rounding reorders the nearest neighbours, in standard deviations of the cosines.

    For every picture its k nearest are looked up by the rounded features, and the exact cosines of
    these are held against the exact k best, place by place: two pictures that swap places count by
    how far they really are apart, so that exact ties may fall either way.

    Args:
        exact: (n, d) features.
        rounded: (n, d) features of the same pictures, computed with less precision.
        neighbours: k; at most n − 1 are looked at.

    Returns:
        The largest such difference over the standard deviation of all cosines; 0: the same order.
        Infinite where the rounded features are not finite.
    """
    if not torch.isfinite(rounded).all():
        return float("inf")
    k = min(neighbours, len(exact) - 1)
    if k < 1:
        return 0.0
    truth, guess = _cosines(exact), _cosines(rounded)
    best = truth.topk(k, dim=1).values
    found = truth.gather(1, guess.topk(k, dim=1).indices)
    spread = truth[~torch.eye(len(truth), dtype=torch.bool, device=truth.device)].std()
    return float((best - found).abs().max() / spread.clamp_min(1e-12))


def _cosines(features: Tensor) -> Tensor:
    """(n, n), with nobody a neighbour of himself."""
    directions = F.normalize(features.flatten(1).double(), dim=1)
    return (directions @ directions.T).fill_diagonal_(-2.0)
