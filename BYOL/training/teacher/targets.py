"""The targets of a run with a teacher: one vector for every training image."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from BYOL._distributed import first_process
from BYOL._files import write_atomically
from BYOL._hardware import Machine, torch_device
from BYOL._random import evenly_spaced
from BYOL._waiting import waiting
from BYOL.byol import BYOL
from BYOL.config.view_settings import ViewSettings
from BYOL.data.dataset import Images
from BYOL.errors import WeightsError
from BYOL.evaluation.features import extract_features
from BYOL.model.networks import Network
from BYOL.model.teacher_targets import TargetSpace, fit_target_space
from BYOL.model.weights import load_weights, save_tensors
from BYOL.runs.folder import RunFolder
from BYOL.training.teacher.features import TeacherFeatures

LEAST_HELD_OUT = 200  # images of a set from which some are held out
_HELD_OUT_SHARE, _MOST_HELD_OUT = 25, 200
_CHUNK = 4096


@dataclass(eq=False)
class TeacherTargets:
    """The targets of the training images.

    Args:
        features: the teacher's features.
        space: the map from features to targets.
        table: (n, k) float16 targets. Those of held-out images are zero: the loss of such an image
            is constant, so nothing is trained on it.
        held_out: (m,) numbers of training images that are not trained on, or None if there are
            test images.
    """

    features: TeacherFeatures
    space: TargetSpace
    table: Tensor
    held_out: np.ndarray | None

    def __call__(self, ids: Tensor) -> Tensor:
        """Return the targets (B, k) float32 of the images ``ids`` (B,), on their device."""
        if self.table.device != ids.device:
            self.table = self.table.to(ids.device)
        return self.table[ids].float()


def build_targets(
    components: int,
    features: TeacherFeatures,
    train: Images,
    folder: RunFolder,
    *,
    held_out: bool,
    resumed: bool,
) -> TeacherTargets:
    """Compute the features of the training images, and their targets.

    Args:
        components: number of dimensions of a target.
        features: computes the features.
        train: the training images.
        folder: the run folder; a resumed run reads its statistics from it.
        held_out: whether some training images are held out.
        resumed: whether the run is resumed.

    Raises:
        UserError: the features cannot be computed, or the statistics are missing.
    """
    vectors = features.of(train)
    with waiting("computing the targets"):
        space = read_space(folder) if resumed else fit_target_space(vectors, components)
        table = torch.empty(len(vectors), components, dtype=torch.float16)
        for start in range(0, len(vectors), _CHUNK):
            part = torch.from_numpy(np.array(vectors[start : start + _CHUNK]))
            table[start : start + _CHUNK] = space(part)
    chosen = None
    if held_out and len(train) >= LEAST_HELD_OUT:
        chosen = evenly_spaced(len(train), min(len(train) // _HELD_OUT_SHARE, _MOST_HELD_OUT))
        table[chosen] = 0
    return TeacherTargets(features, space, table, chosen)


def save_space(space: TargetSpace, folder: RunFolder) -> None:
    """Write the statistics of the targets into the run folder."""
    if first_process():
        write_atomically(folder.teacher, lambda file: save_tensors(space.state(), file, {}))


def read_space(folder: RunFolder) -> TargetSpace:
    """Read the statistics of the targets from the run folder.

    Raises:
        WeightsError: they are missing or damaged.
    """
    try:
        return TargetSpace.from_state(load_weights(folder.teacher)[0])
    except KeyError as error:
        raise WeightsError(f"{folder.teacher} is damaged: it has no {error}") from error


@waiting("measuring the agreement with the teacher")
def measure_agreement(
    config: ViewSettings,
    targets: TeacherTargets,
    model: BYOL,
    train: Images,
    test: Images | None,
    machine: Machine,
) -> dict[str, float | str]:
    """Return how well the online network predicts the targets of images it was not trained on.

    Args:
        config: resolved settings.
        targets: the targets.
        model: the trained networks.
        train: the training images.
        test: test images, or None; then the held-out training images are used, or all of them if
            none are held out.
        machine: the machine that computes.

    Returns:
        ``agreement``, the mean cosine of prediction and target; ``agreement_images``, the number of
        images; ``agreement_on``: test, held-out or training.
    """
    if test is not None:
        images, kind = test, "test"
    elif targets.held_out is not None:
        images, kind = train.subset(targets.held_out), "held-out"
    else:
        images, kind = train, "training"
    if len(images) > _CHUNK:
        images = images.subset(evenly_spaced(len(images), _CHUNK))
    online = _Predictor(model.onlineNet)
    ids, predictions = extract_features(
        online, images, config.input_spec, device=torch_device(machine.accelerator)
    )
    vectors = targets.features.vectors(images.subset(ids))
    wanted = targets.space(torch.from_numpy(vectors))
    cosines = F.cosine_similarity(torch.from_numpy(predictions), wanted)
    return {
        "agreement": round(float(cosines.mean()), 4),
        "agreement_images": len(ids),
        "agreement_on": kind,
    }


class _Predictor(nn.Module):
    """The whole online network: images (B, C, S, S) → predictions (B, k)."""

    def __init__(self, online: Network):
        super().__init__()
        self.online = online

    def forward(self, x: Tensor) -> Tensor:
        z = self.online(x)
        return z if self.online.predictor is None else self.online.predictor(z)
