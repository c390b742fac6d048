"""The command ``byol shard``."""

from pathlib import Path

from BYOL._console import counted
from BYOL._files import check_new_folder
from BYOL.cli.commands.common import Answer
from BYOL.config.datasets import ShardConfig
from BYOL.data.configured import report_closed_folders
from BYOL.data.dataset import FileImages
from BYOL.data.shards.write import Packing, pack
from BYOL.data.sources import open_images
from BYOL.errors import UserError


def shard_run(config: ShardConfig) -> Answer:
    """Pack a folder of images into tar or Parquet shards.

    Raises:
        UserError: ``data`` is not a folder of images, the output folder is not empty, or the disk
            is full.
    """
    splits = open_images(config.data)
    out = Path(config.out)
    check_new_folder(f"--out={out}", out)
    if not isinstance(splits.train, FileImages):
        raise UserError(f"DATA={config.data} is no folder of images: only folders can be packed")
    report_closed_folders(splits.train)
    # Named as their folders, so that a table of the folder matches the shards.
    sets = {images.prefix.rstrip("/") or name: images for name, images in splits.sets.items()}
    how = Packing(config.bytes, config.format, config.seed if config.shuffle else None)
    answer = pack({k: v for k, v in sets.items() if isinstance(v, FileImages)}, out, how)
    shards, left = answer["shards"], answer["left_out"]
    text = (
        f"{counted(answer['pictures'], 'image')} in {counted(len(shards), 'shard')}, "
        f"{answer['bytes'] / 1e6:,.1f} MB, in {out}"
    )
    return {"out": str(out), **answer}, text + (f"; left out: {left}" if left else "")
