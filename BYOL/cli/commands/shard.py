"""``byol shard``."""

from pathlib import Path

from BYOL._console import counted
from BYOL._files import check_new_folder
from BYOL.cli.commands.common import Answer
from BYOL.config.datasets import ShardConfig
from BYOL.data.dataset import FileImages
from BYOL.data.open import open_images
from BYOL.data.shards.write import Packing, pack
from BYOL.errors import UserError


def shard_run(config: ShardConfig) -> Answer:
    """``byol shard``: a folder of pictures as tar or Parquet shards.

    Raises:
        UserError: no folder of pictures, something in the way, or no room.
    """
    splits = open_images(config.data)
    out = Path(config.out)
    check_new_folder(f"--out={out}", out)
    if not isinstance(splits.train, FileImages):
        raise UserError(f"DATA={config.data} is no folder of pictures: only those can be packed")
    sets = {"train": splits.train, "test": splits.test}
    how = Packing(config.bytes, config.format, config.seed if config.shuffle else None)
    answer = pack({k: v for k, v in sets.items() if isinstance(v, FileImages)}, out, how)
    shards, left = answer["shards"], answer["left_out"]
    text = (
        f"{counted(answer['pictures'], 'picture')} in {counted(len(shards), 'shard')}, "
        f"{answer['bytes'] / 1e6:,.1f} MB, in {out}"
    )
    return {"out": str(out), **answer}, text + (f"; left out: {left}" if left else "")
