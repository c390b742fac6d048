"""Two finished views of uint8 images: BYOL, lightly, kornia and torchvision on one thread.

    python benchmarks/views.py --size 32 --images 512
    python benchmarks/views.py --size 224 --images 64

All sides receive the same images in memory and create the two views of the paper, normalised.
Sides that process single images receive PIL images, as their loaders do.
"""

import kornia.augmentation as K
import numpy as np
import torch
from common import alternate, arguments, header, report, save
from lightly.transforms.byol_transform import (
    BYOLTransform,
    BYOLView1Transform,
    BYOLView2Transform,
)
from PIL import Image
from torchvision.transforms import v2

from BYOL._random import fold
from BYOL.views.config import paper_views
from BYOL.views.pipeline import Views

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def kornia_view(size: int, blur: float, solarize: float) -> K.AugmentationSequential:
    radius = max(int(0.1 * size) // 2, 1)
    return K.AugmentationSequential(
        K.RandomResizedCrop((size, size), scale=(0.08, 1.0), resample="bicubic"),
        K.RandomHorizontalFlip(),
        K.ColorJitter(0.4, 0.4, 0.2, 0.1, p=0.8),
        K.RandomGrayscale(p=0.2),
        K.RandomGaussianBlur((2 * radius + 1,) * 2, (0.1, 2.0), p=blur),
        K.RandomSolarize(0.0, 0.0, p=solarize),
        K.Normalize(MEAN, STD),
    )


def torchvision_view(size: int, blur: float, solarize: float) -> v2.Compose:
    radius = max(int(0.1 * size) // 2, 1)
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, (0.08, 1.0), interpolation=v2.InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(2 * radius + 1, (0.1, 2.0))], blur),
            v2.RandomSolarize(128, solarize),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )


def main() -> None:
    args = arguments(__doc__, size=32, images=512, rounds=5)
    line = header("lightly", "kornia", "torchvision", "numba")
    size, n = args.size, args.images
    source = round(size * 8 / 7) if size > 64 else size
    coarse = torch.rand(
        n, 3, source // 4, source // 4
    )  # neighbouring pixels are similar, as in images
    images = torch.nn.functional.interpolate(coarse, source, mode="bicubic").clamp_(0, 1)
    images = (images * 255).byte()
    pil_images = [Image.fromarray(np.ascontiguousarray(i.permute(1, 2, 0).numpy())) for i in images]

    ours = Views(*paper_views(size), MEAN, STD)
    ids = torch.arange(n)
    peer = BYOLTransform(BYOLView1Transform(input_size=size), BYOLView2Transform(input_size=size))
    kornia = [kornia_view(size, 1.0, 0.0), kornia_view(size, 0.1, 0.2)]
    vision = [torchvision_view(size, 1.0, 0.0), torchvision_view(size, 0.1, 0.2)]
    epochs = iter(range(1_000))

    def with_ours() -> int:
        ours(images, ids, fold(0, next(epochs)))
        return n

    def with_lightly() -> int:
        made = [peer(image) for image in pil_images]
        for view in (0, 1):
            torch.stack([pair[view] for pair in made])
        return n

    def with_kornia() -> int:
        x = images.float() / 255
        for view in kornia:
            view(x)
        return n

    def with_torchvision() -> int:
        for view in vision:
            torch.stack([view(image) for image in images])
        return n

    sides = {
        "BYOL": with_ours,
        "lightly, per image": with_lightly,
        "kornia, batched": with_kornia,
        "torchvision v2, per image": with_torchvision,
    }
    figures = report(
        f"two views at {size} px from {n} images of {source} px",
        alternate(sides, args.rounds),
    )
    save(args.json, machine=line, **figures)


if __name__ == "__main__":
    main()
