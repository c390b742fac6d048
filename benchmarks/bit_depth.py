"""Are features better if images of more than 8 bits are not reduced to 8 bits?

    python benchmarks/bit_depth.py --cells MLCP/images/Experiment_1 --json FILE
    python benchmarks/bit_depth.py --scene site-packages/tensorly/datasets/data --json FILE

Two labelled sets of 16-bit values. ``--cells``: single cells in an imaging flow cytometer (Blasi et
al. 2016, github.com/minh-doan/MLCP, values up to 3014), 40 × 40 px, seven phases of the cell cycle,
brightfield and darkfield only: the DNA channel alone would decide most of it. ``--scene``: patches
of 16 px around the labelled pixels of Indian Pines (in the package tensorly 0.10, values up to
9604), every eighth of 200 bands; test pixels lie in other squares of 29 px than training pixels.

The range of values is estimated as ``byol pretrain`` does. Float, 8-bit and, as a control, 3-bit
images are then trained on with equal seeds, batches, initial weights and views; only the rounding
differs. Features are compared by 20-NN and a linear probe on the same test images. The paired
t-test is over seeds: rounding changes a whole training, so that its luck must be part of the error,
which a test over images would leave out.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import arguments, header, save
from torch import Tensor

from BYOL._random import fold, permutation
from BYOL.byol import BYOL
from BYOL.config.presets import preset_config
from BYOL.config.view_configs import view_configs
from BYOL.evaluation.features import evaluation_mode
from BYOL.evaluation.nearest import nearest_neighbours
from BYOL.evaluation.paired import holm, paired_t_test
from BYOL.evaluation.protocols.linear import linear_probe
from BYOL.model.backbones import build_backbone
from BYOL.model.feature_size import feature_size
from BYOL.model.schedules import learning_rate, tau
from BYOL.training.optimizers import build_optimizer, set_learning_rate
from BYOL.utils import criterion
from BYOL.views.pipeline import Views
from BYOL.views.pixel_range import RangeEstimator
from BYOL.views.transforms import normalise

LEVELS = {"float": 0, "8 bits": 255, "3 bits": 7}
TILE, PATCH, BAND_STEP, SQUARE = 40, 16, 8, 29
NEIGHBOURS = 20


def read_cells(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return values (n, 2, 40, 40), phases (n,) and a mask (n,) of test images: every fifth."""
    import tifffile

    images, labels = [], []
    for number, phase in enumerate(sorted(p for p in folder.iterdir() if p.is_dir())):
        montages = [tifffile.imread(next(phase.glob(f"{name}_*.tif"))) for name in ("Ch3", "Ch6")]
        height, width = montages[0].shape
        stack = np.stack(montages).reshape(2, height // TILE, TILE, width // TILE, TILE)
        tiles = stack.transpose(1, 3, 0, 2, 4).reshape(-1, 2, TILE, TILE)
        # the end of a montage is filled with one repeated tile
        _, first, counts = np.unique(
            tiles.reshape(len(tiles), -1), axis=0, return_index=True, return_counts=True
        )
        kept = tiles[np.sort(first[counts <= 2])]
        images.append(kept)
        labels.append(np.full(len(kept), number))
    y = np.concatenate(labels)
    return np.concatenate(images), y, np.arange(len(y)) % 5 == 0


def read_scene(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return patches (n, 25, 16, 16), classes (n,) and the mask (n,) of the test squares."""
    cube = np.load(folder / "Indian_pines_corrected.npy")[:, :, ::BAND_STEP]
    classes = np.load(folder / "Indian_pines_gt.npy")
    half = PATCH // 2
    padded = np.pad(cube, ((half, half), (half, half), (0, 0)), mode="reflect")
    rows, columns = np.nonzero(classes)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (PATCH, PATCH), axis=(0, 1))
    test = (rows // SQUARE + columns // SQUARE) % 3 == 0
    chosen = (rows + columns) % 2 == 0  # half of the pixels: neighbours are nearly equal
    some = rows[chosen], columns[chosen]
    return windows[some], classes[some], test[chosen]


def as_images(values: np.ndarray, known: np.ndarray, levels: int) -> Tensor:
    """Scale ``values`` (n, C, H, W) to [0, 1] by the range of ``known``; round to ``levels``."""
    estimator = RangeEstimator()
    for image in known[:: max(len(known) // 256, 1)]:
        estimator.add(image, axis=0)
    pairs = np.array(estimator.estimate()).reshape(-1, 2)
    low, high = (pairs[:, k, None, None] for k in (0, 1))
    images = ((values - low) / (high - low)).clip(0, 1).astype(np.float32)
    return torch.from_numpy(np.rint(images * levels) / levels if levels else images).float()


def trained(images: Tensor, seed: int, epochs: int) -> tuple[BYOL, Any]:
    """Return the model that was trained on ``images``, and the normalisation."""
    side, channels = images.shape[-1], images.shape[1]
    config = preset_config(
        "many-channel", data="digits", image_size=side, view_size=side * 3 // 4, batch_size=64,
        hidden_size=256, output_size=128, tau=0.98,
    )  # fmt: skip
    mean, std = images.mean((0, 2, 3)).tolist(), images.std((0, 2, 3)).tolist()
    views = Views(*view_configs(config), mean, std)
    torch.manual_seed(seed)
    features = feature_size(build_backbone("plain6", in_channels=channels), channels, side)
    model = BYOL(features, 256, 128, backend="plain6", in_channels=channels)
    optimizer = build_optimizer("lars", model, lr=config.lr, weight_decay=config.weight_decay)
    steps = len(images) // config.batch_size
    for step in range(epochs * steps):
        epoch, k = divmod(step, steps)
        order = permutation(fold(seed, epoch), len(images))
        ids = order[k * config.batch_size : (k + 1) * config.batch_size]
        rate = learning_rate(step, epochs * steps, 5 * steps, config.lr, config.batch_size)
        set_learning_rate(optimizer, rate)
        onlinex, onlinex1, targetx, targetx1 = model(*views(images[ids], ids, fold(seed, epoch)))
        loss = criterion(onlinex, targetx1, onlinex1, targetx)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.updateTargetNetwork(tau(step, epochs * steps, config.tau))
    return model, (mean, std)


@torch.no_grad()
def features_of(model: BYOL, images: Tensor, normalisation: Any) -> np.ndarray:
    backbone = model.onlineNet.backend
    with evaluation_mode(backbone):
        parts = [backbone(normalise(part.clone(), *normalisation)) for part in images.split(256)]
    return torch.cat(parts).flatten(1).numpy()


def correct(bank: np.ndarray, queries: np.ndarray, known: np.ndarray, truth: np.ndarray) -> Any:
    """Return which queries are right: (n,) bool for 20-NN and for the linear probe."""
    _, near = nearest_neighbours(bank, queries, NEIGHBOURS, center=bank.mean(axis=0))
    votes = np.stack([(known[near.numpy()] == c).sum(axis=1) for c in range(known.max() + 1)])
    probe = linear_probe(bank, known, queries)
    return {"20-NN": votes.argmax(axis=0) == truth, "linear": probe.predictions == truth}


def main() -> None:
    args = arguments(__doc__.splitlines()[0], cells="", scene="", epochs=20, seeds=6)
    line = header()
    values, y, test = read_cells(Path(args.cells)) if args.cells else read_scene(Path(args.scene))
    print(f"{(~test).sum():,} training and {test.sum():,} test images {values.shape[1:]}, "
          f"{len(np.unique(y))} classes, values {values.min()} to {values.max()}")  # fmt: skip
    hits: dict[str, dict[str, list[np.ndarray]]] = {}
    for name, levels in LEVELS.items():
        start, images = time.perf_counter(), as_images(values, values[~test], levels)
        used = len(torch.unique(images[::50]))
        sides = images[~test], images[test]
        for seed in range(args.seeds):
            model, normalisation = trained(sides[0], seed, args.epochs)
            pair = (features_of(model, part, normalisation) for part in sides)
            for probe, right in correct(*pair, y[~test], y[test]).items():
                hits.setdefault(probe, {}).setdefault(name, []).append(right)
        shown = "  ".join(
            f"{probe} {np.mean(means):.3f} ± {np.std(means):.3f}"
            for probe, means in ((p, np.mean(rows[name], axis=1)) for p, rows in hits.items())
        )
        print(
            f"{name:8} {used:8,} values  {shown}  {time.perf_counter() - start:.0f} s", flush=True
        )
    tests = {
        (probe, name): paired_t_test(np.mean(rows["float"], axis=1) - np.mean(rows[name], axis=1))
        for probe, rows in hits.items()
        for name in list(LEVELS)[1:]
    }
    adjusted = holm({key: found.p for key, found in tests.items()})
    for (probe, name), found in tests.items():
        texts = f"{found.difference:+.4f}", f"p {found.p:.2g}", f"Holm {adjusted[probe, name]:.2g}"
        print(f"float - {name}, {probe}:", *texts)
    accuracy = {p: {n: np.mean(h, axis=1).tolist() for n, h in r.items()} for p, r in hits.items()}
    save(
        args.json, machine=line, accuracy=accuracy, tests=[[*k, vars(v)] for k, v in tests.items()]
    )


if __name__ == "__main__":
    main()
