# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
# %% [markdown]
# # Questions about BYOL: collapse, the predictor, the target
#
# BYOL has no negative examples. Nothing in its loss forbids that all images get the same
# projection, and yet they do not. Here we switch parts off, one at a time, and look at the loss and
# at what the features are worth. Digits, fifteen epochs, about three minutes on two cores.
# The runs warn of a collapse where there is one; that is the point.

# %%
import csv
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt

import BYOL

place = Path(tempfile.mkdtemp())
VARIANTS = {
    "BYOL": {},
    "no predictor": {"predictor": "none"},
    "target = online network (tau 0)": {"tau": 0.0},
    "target never moves (tau 1)": {"tau": 1.0},
    "optimal linear predictor": {"predictor": "optimal"},
}
results = {
    name: BYOL.pretrain(
        preset="digits", epochs=15, report=False, out=str(place / name.split()[0] / name), **changes
    )
    for name, changes in VARIANTS.items()
}


# %% [markdown]
# ## What each part is worth

# %%
rows = results["BYOL"]["evaluation"]["rows"]
print(f"{'':34}{'20-NN':>8}{'linear':>8}")
for name in ("raw pixels", "untrained"):
    print(f"{name:34}{rows[name]['knn20']['accuracy']:8.3f}{rows[name]['linear']['accuracy']:8.3f}")
for name, result in results.items():
    row = result["evaluation"]["rows"]["trained"]
    print(f"{name:34}{row['knn20']['accuracy']:8.3f}{row['linear']['accuracy']:8.3f}")

# %% [markdown]
# With one seed and 360 test images, differences of one or two points are chance. The untrained
# network is good on digits already, so a collapsed run can look harmless in this table.
#
# ## A low loss is not a good sign
# The loss is 2 − 2·cos for each of two views, added: 0 is perfect agreement, 4 is none. A run
# without predictor reaches nearly 0, because it collapses: all projections point in one direction.
# The standard deviation of the projections (`gauge/std`) shows it: it is 0 if all are alike.


# %%
def curve(result: dict, column: str) -> list[float]:
    """One column of metrics.csv, without empty cells."""
    with (Path(result["run"]) / "logs" / "metrics.csv").open(newline="") as file:
        return [float(row[column]) for row in csv.DictReader(file) if row.get(column)]


with (Path(results["BYOL"]["run"]) / "logs" / "metrics.csv").open(newline="") as file:
    print("columns:", ", ".join(csv.DictReader(file).fieldnames or ()))
figure, axes = plt.subplots(1, 2, figsize=(11, 4))
for axis, column in zip(axes, ("loss", "gauge/std"), strict=True):
    for name, result in results.items():
        axis.plot(curve(result, column), label=name)
    axis.set_title(column)
axes[0].legend()
figure.savefig(place / "curves.png")
print("figure:", place / "curves.png")
