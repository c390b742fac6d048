"""How long a run takes after its last step: features, evaluation and report."""

import copy
import time

from BYOL._hardware import Machine, torch_device, wait_for
from BYOL._random import evenly_spaced
from BYOL.byol import BYOL
from BYOL.config.evaluation_settings import EvaluationSettings
from BYOL.config.recipe import SMALL_SIDE
from BYOL.data.dataset import Images
from BYOL.evaluation.collapse.feature_metrics import MAX_IMAGES as MAX_METRIC_IMAGES
from BYOL.evaluation.cost import evaluation_seconds
from BYOL.evaluation.features import PIXEL_SIDE, extract_features
from BYOL.evaluation.labelled_set import label_count
from BYOL.report.sample_features import MOST_LARGE, MOST_SMALL
from BYOL.training.prepare import Prepared
from BYOL.views.config import InputSpec

_SAMPLE = 96  # images whose features are timed
_CHECKED = 5000  # images of an online check
# Processor seconds, measured on finished runs: leaving the program, the report's page.
_EXIT, _REPORT = 0.7, 1.5
_PASSES = 2.5  # over the labelled images: untrained, trained, and raw pixels without a network
_HELD_OUT = 0.2  # share of the images that are evaluated where there are no test images


def seconds_after_training(
    config: EvaluationSettings,
    input_spec: InputSpec,
    workers: int,
    prepared: Prepared,
    model: BYOL,
    machine: Machine,
    busy: float,
) -> tuple[float, float]:
    """Seconds that feature metrics, evaluation and report will take; seconds of an online check.

    Args:
        config: what is evaluated.
        input_spec: the input of the backbone.
        workers: number of processes that load images.
        prepared: the images.
        model: the networks.
        machine: that computes.
        busy: how much longer everything takes than its processor time, on a shared machine.
    """
    each, start, features = _feature_seconds(input_spec, workers, prepared.train, model, machine)
    bank = prepared.labelled or prepared.train
    labelled = len(bank) + len(prepared.test or ())
    passes, calls, fixed = 2.0 * min(len(prepared.train), MAX_METRIC_IMAGES), 2, _EXIT
    if bank.labels is not None and config.evaluate:
        passes, calls = passes + _PASSES * labelled, calls + 3
        test = len(prepared.test) if prepared.test else round(_HELD_OUT * labelled)
        pixels = bank.channels * min(input_spec.size, PIXEL_SIDE) ** 2
        if prepared.teacher:  # a further row; two backbones are counted otherwise
            features += prepared.teacher.features // 2
        fixed += evaluation_seconds(labelled - test, test, label_count(bank), features, pixels)
    check = 0.0
    if bank.labels is not None and config.knn_every:
        check = start + each * min(labelled, _CHECKED)
    if config.report:
        most = MOST_SMALL if input_spec.size <= SMALL_SIDE else MOST_LARGE
        passes += min(len(prepared.train), most)
        calls, fixed = calls + 1, fixed + _REPORT
    return passes * each + calls * start + busy * fixed, check


def _feature_seconds(
    input_spec: InputSpec, workers: int, images: Images, model: BYOL, machine: Machine
) -> tuple[float, float, int]:
    """Seconds for the features of an image, and for a call before the first one; their number."""
    backbone = copy.deepcopy(model.onlineNet.backend)
    device = torch_device(machine.accelerator)

    def timed(count: int) -> tuple[float, int]:
        part = images.subset(evenly_spaced(len(images), count))
        start = time.monotonic()
        _, found = extract_features(backbone, part, input_spec, device=device, workers=workers)
        wait_for(device)
        return time.monotonic() - start, found.shape[1]

    few = min(8, len(images))
    many = min(_SAMPLE, len(images))
    start, features = timed(few)
    if many == few:
        return start / many, 0.0, features
    each = max(timed(many)[0] - start, 0.0) / (many - few)
    return each, max(start - few * each, 0.0), features
