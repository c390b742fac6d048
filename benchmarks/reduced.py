"""Training crops of photographs: from files, and from reduced images in memory.

    python benchmarks/reduced.py --data photos/ --size 64

Prints the processor time per image on one thread, and that of a training step of plain6 at that
size. Also prints how far the crops differ: a reduced image has twice the side of a view, so a small
crop of it has fewer pixels than in the file.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from BYOL._random import fold
from BYOL.byol import BYOL
from BYOL.data.dataset import FileImages
from BYOL.data.reduced import reduced
from BYOL.data.sources import open_images
from BYOL.data.train_loader import CropsDataset
from BYOL.model.loss import criterion
from BYOL.views.config import paper_views
from BYOL.views.pipeline import Views

BATCH = 64
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    files = open_images(args.data).train
    assert isinstance(files, FileImages)
    configs = paper_views(args.size)
    begun = time.process_time()
    kept = reduced(files, args.size, 4 << 30, Path("unused"))
    print(f"decoding once: {(time.process_time() - begun) / len(files) * 1e3:.2f} ms per image")
    batches = list(np.array_split(np.arange(len(files)), len(files) // BATCH))
    views, model = Views(*configs, MEAN, STD), BYOL(128, 512, 128, backend="plain6")
    sets = {"files": CropsDataset(files, 0, configs), "kept": CropsDataset(kept, 0, configs)}
    spent: dict[str, list[float]] = {name: [] for name in (*sets, "step")}
    errors = []
    for epoch in range(args.rounds):
        for ids in batches[:4]:
            made = {}
            for name, crops in sets.items():
                begun = time.process_time()
                made[name] = crops[(epoch, ids)]
                spent[name].append((time.process_time() - begun) / len(ids))
            pair = [made[name].crops[0].float() for name in ("files", "kept")]
            errors.append((pair[0] - pair[1]).square().mean(dim=(1, 2, 3)))
            batch = made["kept"]
            begun = time.process_time()
            x = views(batch.crops, batch.ids, fold(0, epoch))
            online, online1, target, target1 = model(*x)
            criterion(online, target1, online1, target).backward()
            spent["step"].append((time.process_time() - begun) / len(ids))
    for name, seconds in spent.items():
        print(f"{name}: {np.median(seconds) * 1e3:.3f} ms per image")
    step, crop = np.median(spent["step"]), np.median(spent["kept"])
    print(
        f"share of the rate of the step in one process: {step / (step + crop):.3f} reduced, "
        f"{step / (step + np.median(spent['files'])):.3f} from files"
    )
    psnr = 10 * torch.log10(255**2 / torch.cat(errors).clamp_min(1e-3))
    print(f"PSNR of the crops: median {psnr.median():.1f} dB, 10 % below {psnr.quantile(0.1):.1f}")


if __name__ == "__main__":
    main()
