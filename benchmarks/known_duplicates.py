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

from BYOL.evaluation.copies.confirm import are_copies, confirm_pairs
from BYOL.evaluation.copies.leakage import MIN_CORRELATION
from BYOL.evaluation.copies.thumbnails import thumbnail_correlations, thumbnails_of_vectors

CONTROL = 2000
NAMES = {0: "exact duplicate", 1: "same shot", 2: "very similar, but another image", 3: "one class"}


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

    confirmed = are_copies(*confirm_pairs(table[:, :2], read, read)).numpy()
    vectors = (
        images[column].transpose(0, 3, 1, 2).reshape(len(table), -1) for column in table.T[:2]
    )
    greys = [thumbnails_of_vectors(v.astype(np.float32) / 255, 3) for v in vectors]
    similar = thumbnail_correlations(*greys).numpy() >= MIN_CORRELATION
    counts = {}
    print(f"{'pairs':34s} number  pixels agree  and thumbnails")
    for kind, name in NAMES.items():
        of_kind = table[:, 2] == kind
        counts[name] = [
            int(m.sum()) for m in (of_kind, of_kind & confirmed, of_kind & confirmed & similar)
        ]
        print(f"{name:34s}{counts[name][0]:7d}{counts[name][1]:14d}{counts[name][2]:16d}")
    save(args.json, machine=line, counts=counts)


if __name__ == "__main__":
    main()
