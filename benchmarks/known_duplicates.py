"""Which of the published near-duplicates of CIFAR-10 the pixel criteria confirm.

    python benchmarks/known_duplicates.py --npz cifar10.npz --pairs duplicates_cifar10.csv

The pairs of a test and a training image were found with a trained network and classified by hand
(ciFAIR, Barz and Denzler 2020, arXiv 1902.00423): 0 is an exact duplicate, 1 is the same shot with
other processing, 2 is another image that is very similar. ``cifar10.npz`` has train_images and
test_images (n, 32, 32, 3) in the original order. Random pairs of test images of one class are the
control.
"""

import csv
from pathlib import Path

import numpy as np
import torch
from common import arguments, header, save

from BYOL.evaluation.copies.confirm import agree, confirm_pairs
from BYOL.evaluation.copies.leakage import MIN_CORRELATION
from BYOL.evaluation.copies.look_alikes import LookAlikes
from BYOL.evaluation.copies.thumbnails import thumbnail_correlations, thumbnails_of_vectors

CONTROL = 2000
NAMES = {0: "exact duplicate", 1: "same shot", 2: "very similar, but another image", 3: "one class"}


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Return the grey thumbnails of ``images`` (n, H, W, 3) uint8."""
    parts = (images[start : start + 4096] for start in range(0, len(images), 4096))
    vectors = (x.transpose(0, 3, 1, 2).reshape(len(x), -1).astype(np.float32) / 255 for x in parts)
    return np.concatenate([thumbnails_of_vectors(part, 3) for part in vectors])


def main() -> None:
    args = arguments(__doc__, npz="cifar10.npz", pairs="duplicates_cifar10.csv")
    line = header()
    with np.load(args.npz) as arrays:
        test, train, labels = (
            arrays[key] for key in ("test_images", "train_images", "test_labels")
        )
    with Path(args.pairs).open(newline="") as file:
        # columns: test image, training image, distance, kind
        rows = [(int(row[0]), int(row[1]), int(row[3])) for row in list(csv.reader(file))[1:]]
    images = np.concatenate([test, train])
    pairs = [(a, len(test) + b, kind) for a, b, kind in rows]
    rng = np.random.default_rng(0)
    for a in rng.integers(0, len(test), CONTROL).tolist():
        same = np.flatnonzero(labels == labels[a])
        pairs.append((a, int(rng.choice(same[same != a])), 3))
    table = np.array(pairs)

    def read(i: int) -> torch.Tensor:
        return torch.from_numpy(images[i].copy()).permute(2, 0, 1)

    scores = torch.stack(confirm_pairs(table[:, :2], read, read))
    kept = [agree(*scores).numpy()]
    greys = thumbnails(images)
    near = thumbnail_correlations(*(greys[column] for column in table.T[:2]))
    kept.append(kept[-1] & (near.numpy() >= MIN_CORRELATION))
    look_alikes = LookAlikes(greys, greys, read, read, same=True)
    better = np.zeros(len(table), bool)
    better[kept[-1]] = look_alikes.are_copies(table[kept[-1], :2], *scores[:, kept[-1]])
    kept.append(better)
    counts = {}
    print(f"{'pairs':34s} number  pixels agree  and thumbnails  better than look-alikes")
    for kind, name in NAMES.items():
        of_kind = table[:, 2] == kind
        counts[name] = [int(of_kind.sum()), *(int((of_kind & mask).sum()) for mask in kept)]
        print(f"{name:34s}{'{:7d}{:14d}{:16d}{:25d}'.format(*counts[name])}")
    save(args.json, machine=line, counts=counts)


if __name__ == "__main__":
    main()
