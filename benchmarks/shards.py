"""Images per second of a loader from shards and from files: ``python benchmarks/shards.py DATA``.

One worker decodes images and cuts two views. On both sides, the operating system caches the files.
"""

import sys
import tempfile
from pathlib import Path

import torch
from common import alternate, arguments, report

from BYOL.data.dataset import FileImages
from BYOL.data.sampler import epoch_sampler
from BYOL.data.shards.order import Streams
from BYOL.data.shards.write import Packing, pack
from BYOL.data.sources import open_images
from BYOL.data.train_loader import train_loader
from BYOL.views.config import paper_views

CPU = torch.device("cpu")


def main() -> None:
    data = sys.argv.pop(1)
    args = arguments(__doc__.splitlines()[0], size=224, batch=64, most=4096, rounds=3, workers=1)
    files = open_images(data).train
    assert isinstance(files, FileImages)
    files = files.subset(
        torch.linspace(0, len(files) - 1, min(args.most, len(files))).long().numpy()
    )
    with tempfile.TemporaryDirectory() as folder:
        sets = {"files": files}
        for kind in ("tar", "parquet"):
            out = Path(folder, kind)
            pack({"train": files}, out, Packing(64_000_000, kind, 0))
            sets[kind] = open_images(str(out), data_root=folder).train  # type: ignore[assignment]

        def work(images: FileImages) -> int:
            sampler = epoch_sampler(
                images, args.batch, buffer=2048, streams=Streams(1, args.workers, 1)
            )
            loader = train_loader(
                images, sampler, views=paper_views(args.size), workers=args.workers, device=CPU
            )
            return sum(len(batch) for batch in loader)

        sides = {name: lambda images=images: work(images) for name, images in sets.items()}
        report(f"{len(files)} images of {data}", alternate(sides, args.rounds), ours="tar")


if __name__ == "__main__":
    main()
