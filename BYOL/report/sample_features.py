"""The backbone looks at some of the pictures: what neighbours, map and probe are made of."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from BYOL.config.tasks import CLASSES
from BYOL.data.dataset import Images
from BYOL.data.eval_loader import eval_batches
from BYOL.data.open import Splits
from BYOL.evaluation.features import extract_features
from BYOL.evaluation.splits import task_of
from BYOL.runs.open import Run

SMALL = 96  # pixels: the backbone sees small pictures so quickly that it may see more of them
MOST_SMALL = 5000
MOST_LARGE = 1000


@dataclass(frozen=True)
class Looking:
    """How pictures are looked at.

    Args:
        device: where the backbone runs.
        workers: processes that decode files.
        batch_size: pictures at a time.
        most: pictures of each set; None: 5,000 small ones or 1,000 others.
        seed: of every choice.
    """

    device: torch.device
    workers: int = 0
    batch_size: int = 256
    most: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Seen:
    """Pictures and what the backbone makes of them.

    Args:
        images: those that were chosen.
        ids: (n,) places in ``images`` of those that could be read.
        features: (n, d) float32, a row each.
        of: how many pictures there were to choose from.
    """

    images: Images
    ids: np.ndarray
    features: np.ndarray
    of: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> np.ndarray | None:
        """(n,) classes, where there are labels."""
        return None if self.images.labels is None else self.images.labels[self.ids]

    @property
    def groups(self) -> np.ndarray | None:
        """(n,) of patients, cameras or parts, where they are known."""
        return None if self.images.groups is None else self.images.groups[self.ids]

    def name(self, row: int) -> str:
        """What a picture is called; names that are no text are made so."""
        name = self.images.sample_name(int(self.ids[row]))
        return name.encode("utf-8", "replace").decode()

    def class_name(self, row: int) -> str | None:
        """The class of a picture."""
        labels = self.labels
        return None if labels is None else self.images.classes[labels[row]]

    def tiles(self, rows: np.ndarray, side: int) -> Tensor:
        """The pictures of some rows as the backbone is shown them: (r, C, side, side) uint8."""
        part = self.images.subset(self.ids[rows])
        return torch.cat([pixels for _, pixels in eval_batches(part, side, 64)])


@dataclass(frozen=True)
class Samples:
    """Pictures to be found, and pictures to ask with.

    Args:
        bank: training pictures, the labelled ones where only some are.
        queries: of the test set, or the bank itself where there is none.
    """

    bank: Seen
    queries: Seen

    @property
    def same(self) -> bool:
        """Whether pictures ask for their like among themselves."""
        return self.bank is self.queries


def look(run: Run, splits: Splits, how: Looking) -> Samples:
    """Show the backbone a random part of the pictures.

    Raises:
        UserError: not one of them can be read.
    """
    bank = _see(run, _with_classes(splits.labelled or splits.train), how)
    if splits.test is None:
        return Samples(bank, bank)
    return Samples(bank, _see(run, _with_classes(splits.test), how))


def _with_classes(images: Images) -> Images:
    """The same; without labels where these are tags or numbers, by which no picture is named."""
    return images if task_of(images) == CLASSES else replace(images, labels=None, classes=())


def _see(run: Run, images: Images, how: Looking) -> Seen:
    small = run.config.sight.size <= SMALL
    most = how.most or (MOST_SMALL if small else MOST_LARGE)
    chosen = images
    if len(images) > most:
        rows = np.random.default_rng(how.seed).choice(len(images), most, replace=False)
        chosen = images.subset(np.sort(rows))
    ids, features = extract_features(
        run.backbone,
        chosen,
        run.config.sight,
        device=how.device,
        batch_size=how.batch_size,
        workers=0 if small else how.workers,  # starting them takes longer than they save
    )
    return Seen(chosen, ids, features, len(images))
