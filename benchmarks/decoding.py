"""Decoding of ordinary JPEG and PNG folders: this checkout compared with another one.

    python benchmarks/decoding.py --data photos/ --other ../another-checkout

Each checkout runs in its own process; both decode the same folder in turns. The processor time is
measured, because other programs change the elapsed time.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import arguments, header, report, save
from PIL import Image

from BYOL.data.formats.jpeg import has_other_colours

WORKER = """
import json, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from BYOL.data.decode import ImageFile, read_image
for line in sys.stdin:
    task = json.loads(line)
    paths = [Path(name) for name in task["paths"]]
    start = time.process_time()
    for path in paths:
        if task["crops"]:
            file = ImageFile(path, 3)
            side = min(file.size)
            file.crops([(0, 0, side, side), (0, 0, side // 2, side // 2)], [task["crops"]] * 2)
        else:
            read_image(path, 3)
    print(time.process_time() - start, flush=True)
"""


def main() -> None:
    args = arguments(__doc__, data="photos", other="", rounds=9, images=100)
    line = header("pillow", "simplejpeg")
    endings = (".jpg", ".jpeg")
    found = sorted(p for p in Path(args.data).rglob("*") if p.suffix.lower() in endings)
    # Colours of a wide gamut are converted, which is further work.
    photos = [path for path in found if not has_other_colours(path.read_bytes())]
    here = str(Path(__file__).parents[1])
    with tempfile.TemporaryDirectory() as folder:
        sets = make_sets(photos[: args.images], folder)
        workers = {"BYOL": start(here), "the other checkout": start(args.other)}
        figures = []
        for title, paths, crops in sets:
            task = json.dumps({"paths": [str(p) for p in paths], "crops": crops}) + "\n"
            rates: dict[str, list[float]] = {name: [] for name in workers}
            for turn in range(args.rounds + 1):
                for name, worker in workers.items():
                    seconds = ask(worker, task)
                    if turn:
                        rates[name].append(len(paths) / seconds)
            figures.append(report(title, rates))
        for worker in workers.values():
            worker.stdin.close()
            worker.wait()
    save(args.json, header=line, figures=figures)


def make_sets(photos: list[Path], folder: str) -> list[tuple[str, list[Path], int]]:
    """Title, files and crop size (0: whole images) of every measured set."""
    sides = {"large": None, "small": 32}
    made: dict[str, list[Path]] = {}
    for name, side in sides.items():
        for kind in ("png", "jpg"):
            paths = made.setdefault(f"{name} {kind}", [])
            for i, photo in enumerate(photos if side else photos[:20]):
                image = Image.open(photo).convert("RGB")
                path = Path(folder) / f"{name}-{i}.{kind}"
                small = image.resize((side, side)) if side else image.reduce(2)
                small.save(path, **({"compress_level": 1} if kind == "png" else {}))
                paths.append(path)
    return [
        ("photographs, whole", photos, 0),
        ("photographs, two crops to 224 px", photos, 224),
        ("PNG photographs of half size, whole", made["large png"], 0),
        ("JPEG of 32 px", made["small jpg"] * 40, 0),
        ("PNG of 32 px", made["small png"] * 5, 0),
        ("PNG of 32 px, two crops", made["small png"], 32),
    ]


def start(checkout: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": checkout, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", WORKER], env=environment, cwd=checkout, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def ask(worker: Any, task: str) -> float:
    worker.stdin.write(task)
    worker.stdin.flush()
    return float(worker.stdout.readline())


if __name__ == "__main__":
    main()
