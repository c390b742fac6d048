"""Precision and recall of ``byol duplicates`` on planted copies; AUROC of ``byol outliers``.

    python benchmarks/duplicates.py --run runs/cifar --data cifar/ --strangers photos/

Changed copies of some images of DATA are written next to the originals. Every other pair that is
reported counts as false, although a data set may contain duplicates of its own; ``--grid FILE.png``
draws these pairs, to be inspected. For outliers, images of another kind are planted among the
images of each class folder; without ``--strangers`` this part is left out.
"""

import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import arguments, header, save
from PIL import Image, ImageEnhance, ImageOps

from BYOL.config.curation import DuplicatesConfig
from BYOL.curation.candidates import THRESHOLD
from BYOL.curation.contact_sheet import Tile, save_grid
from BYOL.curation.feature_store import Collection
from BYOL.curation.near_pairs import near_pairs
from BYOL.curation.outliers import outlier_scores
from BYOL.curation.run_features import Features, open_features
from BYOL.data.dataset import FileImages
from BYOL.data.sources import open_images
from BYOL.evaluation.copies.confirm import (
    MIN_DETAIL,
    MIN_OVERALL,
    agree,
    confirm_pairs,
    read_reduced,
)
from BYOL.evaluation.copies.leakage import MIN_CORRELATION
from BYOL.evaluation.copies.look_alikes import LookAlikes

THRESHOLDS = (-1.0, 0.5, 0.6, 0.7, 0.8, 0.9)  # cosines of whitened features; -1: not used
# overall, detail, and whether pairs must agree better than look-alikes
PIXELS = (
    (-1.0, -1.0, False), (0.9, 0.9, False), (MIN_OVERALL, MIN_DETAIL, False), (0.97, 0.95, False),
    (MIN_OVERALL, MIN_DETAIL, True),
)  # fmt: skip
Change = Callable[[Image.Image], Image.Image]


def recompressed(image: Image.Image) -> Image.Image:
    content = io.BytesIO()
    image.save(content, "JPEG", quality=60)
    return Image.open(content).convert("RGB")


def resized(image: Image.Image) -> Image.Image:
    return image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.BICUBIC)


def cropped(image: Image.Image) -> Image.Image:
    """Return the image without 5 % of the length of each side."""
    x, y = (max(round(side * 0.025), 1) for side in image.size)
    return image.crop((x, y, image.width - x, image.height - y))


COPIES: dict[str, Change] = {
    "jpeg": recompressed,
    "resized": resized,
    "mirrored": ImageOps.mirror,
    "cropped": cropped,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
}


def plant(images: FileImages, folder: Path, copied: int) -> None:
    """Write links to all images (NUMBER.SUFFIX) and changed copies of some (KIND-NUMBER.png)."""
    for i in range(len(images)):
        source = (images.root / images.paths[i]).resolve()
        (folder / f"{i:06d}{source.suffix}").symlink_to(source)
    chosen = np.random.default_rng(0).permutation(len(images))[: min(copied, len(images) // 2)]
    for kind, change in COPIES.items():
        for i in chosen.tolist():
            with Image.open(images.root / images.paths[i]) as image:
                change(image.convert("RGB")).save(folder / f"{kind}-{i:06d}.png")


def opened(run: str, folder: Path) -> Features:
    return open_features(DuplicatesConfig(run, str(folder)))


def duplicates(args: Any, images: FileImages) -> list[dict[str, object]]:
    """Return precision and recall for every pair of thresholds."""
    with tempfile.TemporaryDirectory() as name:
        plant(images, Path(name), args.copied)
        features = opened(args.run, Path(name))
        with features.collect() as collection:
            names = [Path(collection.file(i)).stem for i in range(len(collection))]
            pairs = near_pairs(collection, min(THRESHOLDS), MIN_CORRELATION, features.device)

            def read(i: int) -> torch.Tensor | None:
                return read_reduced(*collection.location(i))

            start = time.process_time()
            scores = torch.stack(confirm_pairs(pairs.positions, read, read))
            agreed = agree(*scores).numpy()
            look_alikes = LookAlikes(collection.greys, collection.greys, read, read, same=True)
            better = np.zeros(len(agreed), bool)
            better[agreed] = look_alikes.are_copies(pairs.positions[agreed], *scores[:, agreed])
            seconds = (time.process_time() - start) / max(len(pairs.positions), 1)
            overall, detail = (score.numpy() for score in scores)
            kinds = np.array([n.split("-")[0] if "-" in n else "" for n in names])
            numbers = np.array([int(n.split("-")[-1]) for n in names])
            a, b = pairs.positions.T
            copied = (numbers[a] == numbers[b]) & ((kinds[a] == "") ^ (kinds[b] == ""))
            strange = (numbers[a] != numbers[b]) & (kinds[a] == "") & (kinds[b] == "")
            if args.grid:
                taken = better & (pairs.cosines >= THRESHOLD)
                draw(collection, pairs.positions[strange & taken], args.grid)
    print(f"{len(a):,} candidates, {seconds * 1000:.1f} ms of processor time for each")
    kind = np.where(kinds[a] == "", kinds[b], kinds[a])
    rows = []
    for threshold in THRESHOLDS:
        for least, fine, ratio in PIXELS:
            taken = (pairs.cosines >= threshold) & (overall >= least) & (detail >= fine)
            taken &= better if ratio else True
            recall = {
                k: float((kind[taken & copied] == k).sum() / (kinds == k).sum()) for k in COPIES
            }
            right, strays = int((taken & copied).sum()), int((taken & strange).sum())
            rows.append(
                {
                    "threshold": threshold,
                    "overall": least,
                    "detail": fine,
                    "look-alikes": ratio,
                    "false": strays,
                    "precision": right / max(right + strays, 1),
                    "recall": recall,
                }
            )
    return rows


def draw(collection: Collection, pairs: np.ndarray, path: str) -> None:
    tiles = []
    for pair in pairs[:60].tolist():
        images = [collection.thumbnail(i, 96) for i in pair]
        tiles.append([Tile(x, (str(i),), "good") for i, x in zip(pair, images, strict=True)])  # type: ignore[arg-type]
    save_grid(tiles, Path(path))


def outliers(run: str, images: FileImages, strangers: FileImages) -> dict[str, list[float]]:
    """Return the AUROCs of each method and kind of stranger, one for each of three classes."""
    from sklearn.metrics import roc_auc_score

    labels = images.labels if images.labels is not None else np.zeros(len(images), np.int64)
    side = max(images.size(0) or (224, 224))
    rng = np.random.default_rng(0)
    areas: dict[str, list[float]] = {}
    for label in np.unique(labels)[:3]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            members = np.flatnonzero(labels == label).tolist()
            for i in members:
                source = (images.root / images.paths[i]).resolve()
                (folder / f"own-{i:06d}{source.suffix}").symlink_to(source)
            for k in range(20):
                with Image.open(strangers.root / strangers.paths[k]) as image:
                    stranger = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
                stranger.save(folder / f"photograph-{k}.png")
                noise = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
                Image.fromarray(noise).save(folder / f"noise-{k}.png")
                Image.new("RGB", (side, side), (0, 0, 0)).save(folder / f"black-{k}.png")
                with Image.open(images.root / images.paths[members[k]]) as image:
                    inverted = ImageOps.invert(image.convert("RGB"))
                inverted.save(folder / f"inverted-{k}.png")
            features = opened(run, folder)
            with features.collect() as collection:
                names = [Path(collection.file(i)).stem for i in range(len(collection))]
                kinds = np.array([n.split("-")[0] for n in names])
                scores = {"ours": outlier_scores(collection, features.device).score}
                scores.update(peers(np.array(collection.directions)))
        for method, score in scores.items():
            for kind in ("photograph", "noise", "black", "inverted"):
                both = (kinds == "own") | (kinds == kind)
                area = float(roc_auc_score(kinds[both] == kind, score[both]))
                areas.setdefault(f"{method}: {kind}", []).append(area)
    return areas


def peers(directions: np.ndarray) -> dict[str, np.ndarray]:
    """Return the outlier scores of scikit-learn for the same whitened features."""
    from sklearn.ensemble import IsolationForest
    from sklearn.neighbors import LocalOutlierFactor

    lof = LocalOutlierFactor(n_neighbors=20).fit(directions)
    forest = IsolationForest(random_state=0).fit(directions)
    return {
        "local outlier factor": -lof.negative_outlier_factor_,
        "isolation forest": -forest.score_samples(directions),
    }


def main() -> None:
    args = arguments(
        __doc__, run="runs/cifar", data="cifar", strangers="", most=10_000, copied=200, grid=""
    )
    line = header("scikit-learn", "scipy")
    images = open_images(args.data).train
    assert isinstance(images, FileImages)
    chosen = np.unique(np.linspace(0, len(images) - 1, args.most).astype(int))
    images = images.subset(chosen)
    torch.manual_seed(0)
    rows = duplicates(args, images)
    print(f"\nplanted copies among {len(images):,} images of {args.data}")
    print("cosine  overall  detail  better  precision  false   recall: " + "  ".join(COPIES))
    for row in rows:
        recall = row["recall"]
        assert isinstance(recall, dict)
        cells = "  ".join(f"{recall[k]:.3f}" for k in COPIES)
        better = "yes" if row["look-alikes"] else "no"
        print(f"{row['threshold']:6.2f}{row['overall']:9.2f}{row['detail']:8.2f}{better:>8s}"
              f"{row['precision']:11.3f}{row['false']:7d}   {cells}")  # fmt: skip
    areas = {}
    if args.strangers:
        strangers = open_images(args.strangers).train
        assert isinstance(strangers, FileImages)
        areas = outliers(args.run, images, strangers)
        print("\nAUROC of 20 strangers among a class, for each of three classes")
    for name, values in areas.items():
        print(f"  {name:36s}" + "  ".join(f"{value:.3f}" for value in values))
    save(args.json, machine=line, duplicates=rows, outliers=areas)


if __name__ == "__main__":
    main()
