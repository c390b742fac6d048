"""The parts of a folder of features: consecutive images that one file holds.

The parts are a function of the number of images alone, so that processes that do not communicate
agree about them, and a restarted job with another number of processes finds what is missing.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from BYOL._random import fold, permutation

_NAME = re.compile(r"part-\d+-(\d+)\.parquet")  # the rank of the process, the number of the part
_IMAGES = 8192  # most images of a part
_BYTES = 1 << 28  # most bytes of features in a part, which are in memory
_SHARE = 4  # least number of parts per process, where there are enough images


@dataclass(frozen=True)
class Part:
    """The images ``first`` … ``end`` - 1 of a split.

    Args:
        number: number of the part, in the order of the images.
        split: name of the split.
        first: its first image.
        end: the image after its last one.
    """

    number: int
    split: str
    first: int
    end: int

    def file_name(self, rank: int) -> str:
        """Return the name of its file if the process ``rank`` writes it."""
        return f"part-{rank:05d}-{self.number:08d}.parquet"


def choose_part_size(images: int, row_bytes: int, batch_size: int, processes: int) -> int:
    """Return the number of images of a part: a multiple of the batch size.

    Batches then contain the same images whatever the number of processes, and equal batches give
    equal bits.

    Args:
        images: number of all images.
        row_bytes: bytes of the features of an image.
        batch_size: images per batch.
        processes: number of processes.
    """
    fair = images // (_SHARE * processes)
    return max(min(_IMAGES, _BYTES // row_bytes, fair) // batch_size, 1) * batch_size


@dataclass(frozen=True)
class PartPlan:
    """All parts of a set of images.

    Args:
        counts: number of images by split.
        size: number of images of a part; the last part of a split may have fewer.
    """

    counts: Mapping[str, int]
    size: int

    @cached_property
    def parts(self) -> list[Part]:
        """The parts in order."""
        spans = [
            (split, first, min(first + self.size, count))
            for split, count in self.counts.items()
            for first in range(0, count, self.size)
        ]
        return [Part(number, *span) for number, span in enumerate(spans)]

    def part_of(self, split: str, image: int) -> Part:
        """Return the part of an image."""
        return self._by_place[split, image // self.size]

    @cached_property
    def _by_place(self) -> dict[tuple[str, int], Part]:
        return {(part.split, part.first // self.size): part for part in self.parts}


def assign_parts(parts: list[Part], rank: int, processes: int) -> list[Part]:
    """Return the parts of the process ``rank``: all processes together have every part once.

    The assignment is random, with another order for every number of processes. So the parts that a
    killed process has left are spread over the processes of a restarted job.
    """
    order = permutation(fold(processes), len(parts)).tolist()
    return [parts[k] for k in sorted(order[rank::processes])]


def finished_parts(names: Iterable[str]) -> dict[int, str]:
    """Return the file of every part that is complete, by its number, in order."""
    found = {int(match[1]): name for name in names if (match := _NAME.fullmatch(name))}
    return dict(sorted(found.items()))
