# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
# %% [markdown]
# # Is a published backbone better on my images?
#
# Before you train, or after it, compare with a network that somebody has published. All commands
# accept one in the place of a run. The images here are scikit-learn's digits; with the network,
# `PUBLISHED` is a ResNet-18 that was trained on ImageNet. Without one, set it to a folder in timm's
# format (`local-dir:FOLDER`).

# %%
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import BYOL

PUBLISHED = os.environ.get("PUBLISHED", "hf-hub:timm/resnet18.a1_in1k")
place = Path(tempfile.mkdtemp())
values, truth = load_digits(return_X_y=True)
for i, (value, label) in enumerate(zip(values, truth, strict=True)):
    part = "test" if i % 5 == 0 else "train"
    folder = place / "photos" / part / str(label)
    folder.mkdir(parents=True, exist_ok=True)
    pixels = (value.reshape(8, 8) / 16 * 255).astype("uint8")
    Image.fromarray(pixels).resize((16, 16)).save(folder / f"{i:04}.png")


def byol(*arguments: object) -> None:
    """Run a command of BYOL and show what it prints."""
    command = [sys.executable, "-m", "BYOL", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place)
    print(done.stdout or done.stderr)
    done.check_returncode()


# %% [markdown]
# ## A backbone of your own, and the published one, on the same test images

# %%
BYOL.pretrain(place / "photos", minutes=1.0, flip=0.0, report=False, out=str(place / "own"))
own = BYOL.evaluate(place / "own", place / "photos")
published = BYOL.evaluate(PUBLISHED, place / "photos", protocol="knn,linear")
for name, results in (("own", own), ("published", published)):
    for row, measures in results["rows"].items():
        if name == "own" or row not in ("raw pixels", "untrained"):
            line = {key: round(value["accuracy"], 3) for key, value in measures.items()
                    if isinstance(value, dict) and "accuracy" in value}  # fmt: skip
            print(f"{name:10} {row:12} {json.dumps(line)}")

# %% [markdown]
# ## Neighbours
# Which images are most alike for each of the two? `byol search` writes the lists as a table, and as
# an image with `--grid`.

# %%
query = next((place / "photos" / "test" / "3").iterdir())
for name, run in (("own", place / "own"), ("published", PUBLISHED)):
    byol("search", run, "photos", "--like", query, "--count", 8, "--out", f"{name}.csv",
         "--grid", f"{name}.png")  # fmt: skip
figure, axes = plt.subplots(2, 1, figsize=(9, 3))
for axis, name in zip(axes, ("own", "published"), strict=True):
    axis.imshow(plt.imread(place / f"{name}.png"))
    axis.set_title(f"most similar, {name}")
    axis.axis("off")

# %% [markdown]
# ## A map of the features
# Two principal components, coloured by the class that neither of the two has seen.

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 5))
for axis, (name, run) in zip(axes, (("own", place / "own"), ("published", PUBLISHED)), strict=True):
    byol("embed", run, "photos", "--split", "test", "--out", f"{name}.parquet")
    table = pq.read_table(place / f"{name}.parquet")
    vectors = np.stack(table["embedding"].to_pylist())
    points = PCA(2).fit_transform(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    labels = [int(label) for label in table["label"].to_pylist()]
    axis.scatter(*points.T, c=labels, cmap="tab10", s=8)
    axis.set_title(name)
