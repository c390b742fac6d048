"""How well quantities without labels rank checkpoints and recipes: rank correlation with a probe.

    python benchmarks/label_free.py --data signs/,texture/,digits --out runs/label-free --json FILE

DATA has ``train/`` and ``test/`` with class folders. Each of six recipes trains once on each set,
without labels, and keeps six checkpoints. Every checkpoint is measured twice: by a linear probe of
its features (ridge regression, 5-fold cross-validation over all images, whose accuracy has a
smaller error than that on a few hundred test images), and by the quantities of :func:`quantities`.
A quantity is useful if it orders the
checkpoints of a run, or the recipes of a set, as the probe does (Spearman's ρ and Kendall's τ_b).
Its regret is what its choice loses: the best accuracy minus the accuracy of what it chooses. Last
checkpoint and random choice are the references. Runs that are in ``--json`` are not
repeated. No further run is started after ``--seconds``.
"""

import itertools
import math
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import arguments, header, load_saved, save
from scipy.stats import kendalltau, spearmanr
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from BYOL.byol import BYOL
from BYOL.config import PretrainConfig, load_config
from BYOL.config.presets import preset_config
from BYOL.config.view_configs import view_configs
from BYOL.data.dataset import ArrayImages, Images
from BYOL.data.eval_loader import eval_batches
from BYOL.data.sources import open_images
from BYOL.evaluation.collapse.metrics import collapse_metrics
from BYOL.evaluation.features import evaluation_mode, extract_features
from BYOL.evaluation.online import RIDGE
from BYOL.runs.build_model import seeded_model
from BYOL.runs.folder import RunFolder
from BYOL.runs.open import load_checkpoint
from BYOL.training.module import batch_loss
from BYOL.training.pretrain import pretrain
from BYOL.views.pipeline import make_view

PASSES = 9_000  # images of one run, repetitions included
CHECKPOINTS = 6
VIEW_IMAGES, VIEWS = 256, 6  # for LiDAR, alignment and the loss
LARS = {"optimizer": "lars", "lr": 3.2, "weight_decay": 1.5e-6}
RECIPES: dict[str, dict[str, Any]] = {
    "preset 32px-minutes": {},
    "learning rate / 10": {"lr": 0.01},
    "learning rate × 10": {"lr": 1.0},
    "LARS": LARS,
    "no colour changes": {"jitter": 0.0, "grey": 0.0, "solarize": (0.0, 0.0)},
    "crops of half the image and more": {"crop_scale": (0.5, 1.0)},
}
# +1: the published claim is that more is better; -1: that less is better
SIGNS = {"rankme": 1, "lidar": 1, "alpha": -1, "alignment": -1, "uniformity": -1, "centred": 1}


def entropy_rank(values: Tensor) -> float:
    """Return exp of the entropy of ``values`` (k,) ≥ 0, normalised to sum 1."""
    p = values / values.sum() + 1e-7
    return float(torch.exp(-(p * p.log()).sum()))


def rankme(features: Tensor) -> float:
    """RankMe (Garrido et al. 2023, arXiv 2210.02885, equation 1): (n, d), not centred."""
    return entropy_rank(torch.linalg.svdvals(features.double()))


def lidar(views: Tensor, delta: float = 1e-4) -> float:
    """LiDAR (Thilak et al. 2024, arXiv 2312.04000): (n, q, d), q views of n images."""
    views = views.double()
    means = views.mean(dim=1)
    within = (views - means[:, None]).flatten(0, 1)
    covariance = within.T @ within / len(within)
    between = (means - means.mean(dim=0)).T @ (means - means.mean(dim=0)) / (len(means) - 1)
    values, axes = torch.linalg.eigh(covariance + delta * torch.eye(len(covariance)))
    root = axes @ torch.diag(values.rsqrt()) @ axes.T
    return entropy_rank(torch.linalg.eigvalsh(root @ between @ root).clamp_min(0))


def alpha_distance(features: Tensor) -> float:
    """|α - 1| of α-ReQ (Agrawal et al. 2022): decay of the eigenvalues of the covariance."""
    centred = features.double() - features.double().mean(dim=0)
    values = torch.linalg.svdvals(centred).square()
    values = values[values > values[0] * 1e-9].numpy()[: features.shape[1] // 2]
    if len(values) < 3:
        return math.inf
    return abs(-np.polyfit(np.log(np.arange(1, len(values) + 1)), np.log(values), 1)[0] - 1)


def of_vectors(name: str, features: Tensor, views: Tensor) -> dict[str, float]:
    """Return the quantities of features or projections; ``name`` says which."""
    known = collapse_metrics(features, None)
    pair = collapse_metrics(views[:, 0], views[:, 1])
    values = {"rankme": rankme(features), "lidar": lidar(views), "alpha": alpha_distance(features),
              "alignment": pair["alignment"], "uniformity": known["uniformity"],
              "centred": known["centred_rank"]}  # fmt: skip
    return {f"{key} of {name}": SIGNS[key] * value for key, value in values.items()}


class Set:
    """The images of a set in memory: all of them, and some at twice the side of the views."""

    def __init__(self, data: str, config: PretrainConfig):
        splits = open_images(data)
        parts = [splits.train, splits.test]
        assert all(part is not None and part.labels is not None for part in parts)
        self.labels = np.concatenate([part.labels for part in parts])
        self.all = in_memory(parts, config.input_spec.size)
        count = len(splits.train)
        self.train = self.all.subset(np.arange(count))
        chosen = np.linspace(0, count - 1, VIEW_IMAGES).astype(int)
        self.some = in_memory([splits.train.subset(chosen)], 2 * view_configs(config)[0].size)

    def probe(self, features: np.ndarray) -> float:
        """Return the cross-validated accuracy of a linear probe."""
        folds = StratifiedKFold(5, shuffle=True, random_state=0)
        probe = make_pipeline(StandardScaler(), RidgeClassifier(RIDGE))
        return float(cross_val_score(probe, features, self.labels, cv=folds).mean())


def in_memory(parts: list[Images], size: int) -> ArrayImages:
    pixels = [x for images in parts for _, x in eval_batches(images, size, 256)]
    data = torch.cat(pixels)
    return ArrayImages("images", data.shape[1], None, (), data)


@torch.no_grad()
def measured(model: BYOL, config: PretrainConfig, images: Set) -> dict[str, float]:
    """Return probe and quantities of a checkpoint; larger means better as published."""
    spec, view = config.input_spec, view_configs(config)
    backbone, projection = model.onlineNet.backend, model.onlineNet.projection
    with evaluation_mode(model):
        features = extract_features(backbone, images.all, spec, device=torch.device("cpu"))[1]
        vectors = torch.from_numpy(features[: len(images.train)])
        projections = projection(vectors)
        pixels, ids = images.some.data, torch.arange(len(images.some))
        views = [make_view(view[k % 2], pixels, ids, k, spec.mean, spec.std) for k in range(VIEWS)]
        of_views = torch.stack([backbone(x) for x in views], dim=1)
        projected = torch.stack([projection(of_views[:, k]) for k in range(VIEWS)], dim=1)
    values = {"probe": images.probe(features), **of_vectors("features", vectors, of_views)}
    values |= of_vectors("projections", projections, projected)
    model.train()  # the loss of training uses the statistics of the batch
    return {**values, "loss": -float(batch_loss(model, views[0], views[1])[0])}


def trained(args: Any, data: str, recipe: str, images: int) -> RunFolder:
    """Train one recipe on one set, and return its folder with the checkpoints."""
    folder = RunFolder(Path(args.out) / f"{Path(data).name}-{list(RECIPES).index(recipe)}")
    epochs = max(round(PASSES / images / CHECKPOINTS), 1) * CHECKPOINTS
    sizes = {"backbone": "plain5"} if data == "digits" else {"image_size": 32}
    if data == "digits":
        sizes |= {"view_size": 16, "flip": 0.0}
    settings = {"batch_size": 64, "hidden_size": 256, "output_size": 128, "precision": "fp32",
                "warmup_epochs": 1.0, "knn_every": 0, "evaluate": False,
                "report": False, "checkpoint_keep": 99, "checkpoint_every": epochs // CHECKPOINTS,
                "accelerator": "cpu"}  # fmt: skip
    if not folder.results.exists():
        shutil.rmtree(folder.path, ignore_errors=True)  # of a run that was stopped
        pretrain(preset_config("32px-minutes", data=data, out=str(folder.path), epochs=epochs,
                               **{**settings, **sizes, **RECIPES[recipe]}))  # fmt: skip
    return folder


def rows_of(args: Any, data: str, recipe: str) -> list[dict[str, Any]]:
    """Return a row for each checkpoint of a run: step, probe and all quantities."""
    folder = trained(args, data, recipe, len(open_images(data).train))
    config = load_config(folder.config)
    images = Set(data, config)
    rows = []
    for path in (*sorted(folder.older_checkpoints()), folder.checkpoint):
        checkpoint = load_checkpoint(path)
        model = seeded_model(config)
        state = {k.removeprefix("model."): v for k, v in checkpoint["state_dict"].items()}
        model.load_state_dict(state)
        row = {"data": data, "recipe": recipe, "step": checkpoint["global_step"]}
        rows.append({**row, **measured(model, config, images)})
    return rows


def correlations(groups: list[list[dict[str, Any]]], name: str) -> list[float]:
    """Return the means over ``groups`` of ρ, τ_b and regret of the order by ``name``."""
    figures = []
    for rows in groups:
        probe, value = np.array([r["probe"] for r in rows]), np.array([r[name] for r in rows])
        chosen = probe[np.nan_to_num(value, nan=-np.inf).argmax()]
        pair = (spearmanr(probe, value)[0], kendalltau(probe, value)[0])
        figures.append((*np.nan_to_num(pair), probe.max() - chosen))
    return [*np.mean(figures, axis=0), min(f[0] for f in figures)]


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print and return how well every quantity orders checkpoints and recipes."""
    runs = grouped(rows, "data", "recipe")
    sets = grouped([max(run, key=lambda row: row["step"]) for run in runs], "data")
    others = ("data", "recipe", "step", "probe")
    names = ["step", *(name for name in rows[0] if name not in others)]
    print(f"\n{len(runs)} runs on {len(sets)} sets")
    print(f"{'':30s} checkpoints of a run          recipes of a set")
    print(f"{'':30s}" + "     ρ     τ  regret  lowest ρ" * 2)
    figures = []
    for name in names:
        both = [correlations(runs, name), correlations(sets, name)]
        figures.append({"quantity": name, "checkpoints": both[0], "recipes": both[1]})
        print(f"{name:30s}" + "".join("{:6.2f}{:6.2f}{:8.3f}{:10.2f}".format(*b) for b in both))
    for title, groups in (("checkpoints", runs), ("recipes", sets)):
        probes = [[row["probe"] for row in group] for group in groups]
        regret = np.mean([max(values) - np.mean(values) for values in probes])
        print(f"random choice of {title}: regret {regret:.3f}")
    return figures


def grouped(rows: list[dict[str, Any]], *names: str) -> list[list[dict[str, Any]]]:
    """Return the rows in groups of equal values of ``names``."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return list(groups.values())


def main() -> None:
    args = arguments(__doc__, data="digits", out="runs/label-free", recipes="", seconds=1e9)
    line = header("scipy", "scikit-learn")
    rows: list[dict[str, Any]] = load_saved(args.json, rows=[])["rows"]
    start = time.monotonic()
    recipes = args.recipes.split(",") if args.recipes else list(RECIPES)
    for data, recipe in itertools.product(args.data.split(","), recipes):
        if time.monotonic() - start > args.seconds:  # the next call continues
            return
        if not any((r["data"], r["recipe"]) == (data, recipe) for r in rows):
            rows += rows_of(args, data, recipe)
            probes = ", ".join(f"{r['probe']:.3f}" for r in rows[-CHECKPOINTS:])
            print(f"{data}, {recipe}: probe of the checkpoints {probes}", flush=True)
            save(args.json, machine=line, rows=rows)
    save(args.json, machine=line, rows=rows, table=table(rows))


if __name__ == "__main__":
    main()
