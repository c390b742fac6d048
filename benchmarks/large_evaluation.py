"""k-NN and linear probe on stored features of the size of ImageNet: time and memory.

    python benchmarks/large_evaluation.py --share 16 --parts knn
    python benchmarks/large_evaluation.py --share 1 --queries 768 --parts knn
    python benchmarks/large_evaluation.py --share 64 --parts linear-sgd --epochs 1

1,281,167 × 2,048 float16 features of 1,000 classes are written to a file (5.2 GB), or one of
``--share`` parts of them, and 50,000 test images, or the same part. The protocols of
``byol evaluate`` then read the file memory-mapped. Times are processor seconds of one thread;
memory is what the process itself holds, without the file. Operations are counted: two for each
multiplication of a similarity, and four for each weight and image of an epoch, because the forward
pass and the gradient of the weights are matrix products.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import arguments, header, save
from neighbours import anonymous_memory, peak_memory
from torch import nn

from BYOL.data.dataset import ArrayImages
from BYOL.evaluation.protocols.knn import knn
from BYOL.evaluation.protocols.linear import linear
from BYOL.evaluation.protocols.linear_sgd import EPOCHS, LEARNING_RATES, linear_sgd
from BYOL.evaluation.types import EvaluationData, FeatureSource
from BYOL.views.config import InputSpec, ViewConfig

IMAGES, TEST, CLASSES = 1_281_167, 50_000, 1000
SPREAD = 0.35  # of the centres of classes, relative to that of the features around them
_CHUNK = 1 << 14
PROTOCOLS = {"knn": knn, "linear": linear, "linear-sgd": linear_sgd}


def generate(n: int, size: int, seed: int, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write (n, size) float16 features to ``file``; return them and their classes (n,)."""
    centres = np.random.default_rng(0).standard_normal((CLASSES, size), dtype=np.float32) * SPREAD
    scale = np.arange(1, size + 1, dtype=np.float32) ** -0.5
    rng = np.random.default_rng(seed)
    labels = rng.integers(CLASSES, size=n)
    features = np.lib.format.open_memmap(file, "w+", np.float16, (n, size))
    for start in range(0, n, _CHUNK):
        some = labels[start : start + _CHUNK]
        noise = rng.standard_normal((len(some), size), dtype=np.float32)
        features[start : start + _CHUNK] = (centres[some] + noise) * scale
    features.flush()
    return np.load(file, mmap_mode="r"), labels


def images(labels: np.ndarray) -> ArrayImages:
    names = tuple(str(k) for k in range(CLASSES))
    pixels = torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8)
    return ArrayImages("generated", 1, labels, names, pixels)


def operations(part: str, n: int, queries: int, size: int, epochs: int) -> float:
    """Return the counted operations of a protocol; 0 for the iterations of scikit-learn."""
    if part == "knn":
        return 2.0 * n * queries * size
    if part == "linear-sgd":
        return 4.0 * n * (size + 1) * 2 * len(LEARNING_RATES) * CLASSES * epochs
    return 0.0


def main() -> None:
    args = arguments(
        __doc__.splitlines()[0], share=16, queries=0, size=2048, parts="knn,linear", epochs=EPOCHS,
    )  # fmt: skip
    line = header("scikit-learn")
    n, queries = IMAGES // args.share, args.queries or TEST // args.share
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        bank, labels = generate(n, args.size, 1, Path(name) / "bank.npy")
        test, truth = generate(queries, args.size, 2, Path(name) / "test.npy")
        train_images, test_images = images(labels), images(truth)
        data = EvaluationData(
            train_images, test_images, ViewConfig(32), torch.device("cpu"), epochs=args.epochs
        )
        source = FeatureSource(
            "generated",
            nn.Identity(),
            InputSpec(32, (0.5,), (0.5,)),
            data,
            lambda part: bank if part is train_images else test,
            stored=True,
        )
        print(f"{n:,} × {args.size} features of {CLASSES} classes, {queries:,} test images; "
              f"{anonymous_memory():,.0f} MB before")  # fmt: skip
        for part in args.parts.split(","):
            with peak_memory() as peak:
                start = time.process_time()
                outcome = PROTOCOLS[part](source)
                seconds = time.process_time() - start
                counted = operations(part, n, queries, args.size, args.epochs)
                rows[part] = {"seconds": seconds, "peak_mb": peak(), "operations": counted}
            accuracy = {key: round(m["accuracy"], 4) for key, m in outcome.measures.items()
                        if "accuracy" in m}  # fmt: skip
            print(f"  {part}: {seconds:,.1f} s, peak {rows[part]['peak_mb']:+,.0f} MB, "
                  f"{counted:.2e} operations, {accuracy}", flush=True)  # fmt: skip
    save(args.json, machine=line, images=n, queries=queries, size=args.size, rows=rows)


if __name__ == "__main__":
    main()
