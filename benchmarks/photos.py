"""Photographs in files → crops, and → finished views: BYOL compared with lightly on one thread.

    python benchmarks/photos.py --data photos/

BYOL decodes a JPEG file and cuts both crops to uint8, as a loader worker does, and then finishes
the batch. lightly decodes with Pillow, as its data set does, and creates both views image by image.
"""

from pathlib import Path

import numpy as np
import torch
from common import alternate, arguments, header, report, save
from lightly.transforms.byol_transform import BYOLTransform, BYOLView1Transform, BYOLView2Transform
from PIL import Image

from BYOL._random import fold
from BYOL.data.formats.jpeg import decode_jpeg
from BYOL.data.sources import open_images
from BYOL.data.train_loader import CropsDataset
from BYOL.views.config import paper_views
from BYOL.views.pipeline import Views

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
BATCH = 50


def main() -> None:
    args = arguments(__doc__, data="photos", size=224, rounds=5)
    line = header("lightly", "simplejpeg", "pillow", "numba")
    size = args.size
    images = open_images(args.data).train
    files = [Path(images.root) / images.paths[i] for i in range(len(images))]
    crops, views = CropsDataset(images, 0, paper_views(size)), Views(*paper_views(size), MEAN, STD)
    peer = BYOLTransform(BYOLView1Transform(input_size=size), BYOLView2Transform(input_size=size))
    batches = np.array_split(np.arange(len(files)), max(len(files) // BATCH, 1))
    epochs = iter(range(1_000))

    def ours(finish: bool) -> int:
        epoch = next(epochs)
        for indices in batches:
            batch = crops[(epoch, indices)]
            if finish:
                views(batch.crops, batch.ids, fold(0, epoch))
        return len(files)

    def lightly() -> int:
        for indices in batches:
            made = [peer(Image.open(files[i]).convert("RGB")) for i in indices]
            for view in (0, 1):
                torch.stack([pair[view] for pair in made])
        return len(files)

    def decoder() -> int:
        for file in files:
            decode_jpeg(file.read_bytes(), 3)
        return len(files)

    def pillow() -> int:
        for file in files:
            Image.open(file).convert("RGB").load()
        return len(files)

    rates = alternate(
        {
            "decode, two crops to uint8": lambda: ours(False),
            "BYOL, two finished views": lambda: ours(True),
            "lightly, two finished views": lightly,
            "limit: decoding alone (simplejpeg)": decoder,
            "decoding alone (Pillow)": pillow,
        },
        args.rounds,
    )
    title = f"{len(files)} photographs to {size} px"
    save(
        args.json,
        machine=line,
        crops=report(f"{title}: decode and two crops", rates, "decode, two crops to uint8"),
        views=report(f"{title}: from files to two views", rates, "BYOL, two finished views"),
    )


if __name__ == "__main__":
    main()
