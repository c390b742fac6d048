# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
# %% [markdown]
# # From a folder of images to a classifier with 50 labels
#
# Nobody has labelled these images. We train a backbone on all of them, let BYOL choose 50 images to
# label, label those, and get a classifier for the rest. The images are scikit-learn's handwritten
# digits, written as PNG files; put your own folder in their place. It takes two to four minutes on
# two cores.

# %%
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

import BYOL

place = Path(tempfile.mkdtemp())
images, truth = load_digits(return_X_y=True)
photos = place / "photos"
photos.mkdir()
names = [f"{i:04}.png" for i in range(len(images))]
for name, image in zip(names, images, strict=True):
    pixels = (image.reshape(8, 8) / 16 * 255).astype("uint8")
    Image.fromarray(pixels).resize((16, 16)).save(photos / name)
len(names)

# %% [markdown]
# ## Train without labels
# `BYOL.pretrain` does what `byol pretrain` does. Without `minutes` it would take up to 20 minutes
# on a CPU. Digits must not be mirrored, so `flip=0`.

# %%
run = place / "run"
results = BYOL.pretrain(photos, minutes=1.0, flip=0.0, out=str(run))
{key: results[key] for key in ("steps", "epochs")}

# %% [markdown]
# ## Choose what to label
# `byol select` chooses images that represent the set, and writes a table to fill in.


# %%
def byol(*arguments: object) -> None:
    """Run a command of BYOL and show what it prints."""
    command = [sys.executable, "-m", "BYOL", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place)
    print(done.stdout or done.stderr)
    done.check_returncode()


byol("select", run, photos, "--count", 50, "--out", "labels.csv")

# %% [markdown]
# Here the known digits play the person who labels. You would open `labels.csv` in a spreadsheet.

# %%
with (place / "labels.csv").open(newline="") as file:
    header, *rows = csv.reader(file)
answers = dict(zip(names, truth, strict=True))
with (place / "labels.csv").open("w", newline="") as file:
    csv.writer(file).writerows([header[:2], *([row[0], answers[row[0]]] for row in rows)])
len(rows)

# %% [markdown]
# ## Labels for the rest
# `byol predict` trains a linear classifier on the 50 labels, estimates its accuracy by
# cross-validation, and predicts a label for every image.

# %%
byol("predict", run, photos, "--labels", "labels.csv", "--out", "predictions.csv")
with (place / "predictions.csv").open(newline="") as file:
    predicted = {row["file"]: row for row in csv.DictReader(file)}
column = next(name for name in next(iter(predicted.values())) if name.startswith("predict"))
others = [name for name in names if name not in {row[0] for row in rows}]
correct = sum(int(predicted[name][column]) == answers[name] for name in others)
accuracy = correct / len(others)
print(f"{accuracy:.3f} of the {len(others)} images without a label are right")

# %% [markdown]
# ## The classifier in your code

# %%
byol("export", run, photos, "--classifier", "linear", "--labels", "labels.csv",
     "--to", "digits.safetensors")  # fmt: skip
classifier = BYOL.load_classifier(place / "digits.safetensors")
image = Image.open(photos / names[0])
(probabilities,) = classifier(classifier.transform(image)[None])
print("predicted", classifier.classes[probabilities.argmax()], "right", answers[names[0]])
