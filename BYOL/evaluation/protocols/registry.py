"""All evaluation protocols, by the names that ``--protocol`` accepts."""

from collections.abc import Callable
from dataclasses import dataclass

from BYOL.config.tasks import CLASSES, NOTHING, TAGS, VALUES
from BYOL.data.dataset import Images, unlabelled_reason
from BYOL.errors import UserError
from BYOL.evaluation.labelled_set import task_of
from BYOL.evaluation.protocols.cluster import cluster
from BYOL.evaluation.protocols.fewshot import fewshot
from BYOL.evaluation.protocols.finetune import count_finetune_images, finetune
from BYOL.evaluation.protocols.knn import knn, knn_cosine
from BYOL.evaluation.protocols.linear import linear
from BYOL.evaluation.protocols.linear_sgd import crops_per_image, linear_sgd
from BYOL.evaluation.protocols.retrieval import retrieval
from BYOL.evaluation.types import FeatureSource, Outcome

DEFAULT = ("fewshot", "knn", "linear")


@dataclass(frozen=True)
class Protocol:
    """An evaluation protocol.

    Args:
        run: function that runs the protocol.
        tasks: kinds of labels that the protocol supports.
        cost: for protocols that train on images, the equivalent number of forward passes of an
            image, where a training step counts as three; None if precomputed features are enough.
    """

    run: Callable[[FeatureSource], Outcome]
    tasks: tuple[str, ...] = (CLASSES,)
    cost: Callable[[FeatureSource], int] | None = None


def _linear_sgd_cost(source: FeatureSource) -> int:
    if source.stored:
        return 0
    return crops_per_image(source.data, source.probe_features[0].shape[1]) * len(source.data.train)


def _finetune_cost(source: FeatureSource) -> int:
    return 3 * count_finetune_images(
        source.data
    )  # forward, backward to the weights, and backward to the inputs


PROTOCOLS = {
    "fewshot": Protocol(fewshot),
    "knn": Protocol(knn, (CLASSES, TAGS, VALUES)),
    "knn-cosine": Protocol(knn_cosine, (CLASSES, TAGS, VALUES)),
    "linear": Protocol(linear, (CLASSES, TAGS, VALUES)),
    "linear-sgd": Protocol(linear_sgd, cost=_linear_sgd_cost),
    "finetune": Protocol(finetune, (CLASSES, TAGS, VALUES), cost=_finetune_cost),
    "cluster": Protocol(cluster, (CLASSES, TAGS, VALUES, NOTHING)),
    "retrieval": Protocol(retrieval),
}


def check_protocols(protocols: tuple[str, ...]) -> None:
    """Raise a UserError if ``protocols`` is empty or has an unknown name."""
    for name in protocols:
        if name not in (*PROTOCOLS, "all"):
            accepted = ", ".join((*PROTOCOLS, "all"))
            raise UserError(f"--protocol={name} is unknown: choose from {accepted}")
    if not protocols:
        raise UserError(f"--protocol is empty: choose from {', '.join(PROTOCOLS)}")


def applicable_protocols(protocols: tuple[str, ...], images: Images) -> tuple[list[str], list[str]]:
    """Return the protocols that support the labels of ``images``, and those that do not."""
    check_protocols(protocols)
    wanted = list(PROTOCOLS) if "all" in protocols else list(dict.fromkeys(protocols))
    task = task_of(images)
    chosen = [name for name in wanted if task in PROTOCOLS[name].tasks]
    if not chosen:
        supported = ", ".join(
            name for name, protocol in PROTOCOLS.items() if task in protocol.tasks
        )
        problem = (
            f"has no labels{unlabelled_reason(images)}: put its images into a folder for each "
            "class, give --labels,"
            if task == NOTHING
            else f"has labels for {task}:"
        )
        raise UserError(f"{images.name} {problem} or choose --protocol from {supported}")
    return chosen, [name for name in wanted if name not in chosen]
