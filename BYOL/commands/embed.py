"""``byol embed``."""

from collections.abc import Iterator

import numpy as np

from BYOL.commands.common import Answer, pictures_for
from BYOL.config.commands import EmbedConfig
from BYOL.data.images import Images
from BYOL.embeddings import write_embeddings
from BYOL.errors import UserError
from BYOL.evaluation.features import feature_batches
from BYOL.hardware import pick_accelerator, pick_workers, torch_device
from BYOL.runs import open_run


def embed_run(config: EmbedConfig) -> Answer:
    """``byol embed``: a feature vector for every picture, with its name.

    Raises:
        UserError: no run, no pictures, an unknown ending, a file that cannot be written.
    """
    accelerator = pick_accelerator(config.accelerator)
    run = open_run(config.run)
    splits = pictures_for(run, config.data, config.data_root)
    parts = {"train": splits.train, "test": splits.test}
    chosen = list(parts) if config.split == "all" else [config.split]
    sets = {name: parts[name] for name in chosen if parts.get(name) is not None}
    if not sets:
        raise UserError(f"--split={config.split} is not in DATA: it has only train")

    def batches() -> Iterator[tuple[str, Images, np.ndarray, np.ndarray]]:
        for name, images in sets.items():
            assert images is not None
            found = feature_batches(
                run.backbone,
                images,
                run.config.sight,
                device=torch_device(accelerator),
                workers=pick_workers(None, accelerator),
                batch_size=config.batch_size,
            )
            for ids, vectors in found:
                yield name, images, ids, vectors

    path, count, dimensions = write_embeddings(config.out, batches())
    total = sum(len(images) for images in sets.values() if images is not None)
    answer = {"out": str(path), "pictures": count, "left_out": total - count, "size": dimensions}
    left = f" ({total - count} could not be read)" if total > count else ""
    return answer, f"{count:,} pictures{left}, {dimensions} numbers each, in {path}"
