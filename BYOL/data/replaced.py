"""Outputs that would replace an opened image."""

import os
from collections.abc import Iterator
from pathlib import Path

from BYOL._files import replaces_input
from BYOL.data.dataset import FileImages, Images
from BYOL.data.scan_folder import is_image_file
from BYOL.data.shards.dataset import StreamedImages
from BYOL.data.shards.urls import is_url
from BYOL.data.sources import Splits


def check_not_image(argument: str, out: Path, splits: Splits) -> None:
    """Check that the file ``out`` replaces no image file and no shard of ``splits``.

    Args:
        argument: how the user named the file, for the message: ``--grid=e.png``.
        out: the file to write.
        splits: the images that are read.

    Raises:
        UserError: ``out`` exists and is one of their files.
    """
    if not out.is_file():
        return
    status = out.stat()
    for images in filter(None, (splits.train, splits.test, splits.labelled)):
        for file in _files(images, out.name):
            if _is_same(file, out, status):
                raise replaces_input(argument, file)


def _files(images: Images, name: str) -> Iterator[str]:
    """Yield the local files of ``images`` that a file called ``name`` can be.

    A link to ``name`` may have any name. It is looked for if ``name`` has the suffix of an image.
    """
    if isinstance(images, StreamedImages):
        yield from (shard for shard in images.index.shards if not is_url(shard))
    if isinstance(images, FileImages):
        ending = os.fsencode(name)
        is_any, root = is_image_file(ending), os.fspath(images.root)
        last = None
        for i in range(len(images)):
            path = images.paths.raw(i)
            if path != last and (is_any or path.lower().endswith(ending.lower())):
                yield os.path.join(root, os.fsdecode(path))  # noqa: PTH118, faster for millions
            last = path


def _is_same(file: str, out: Path, status: os.stat_result) -> bool:
    """Whether ``file`` is ``out``, which has this ``status``."""
    try:
        same = os.path.samestat(os.stat(file), status)  # noqa: PTH116, faster for millions
    except OSError:  # the file was deleted, or a list names a file that does not exist
        return False
    # Some network file systems have no inode numbers.
    return same and (status.st_ino != 0 or Path(file).resolve() == out.resolve())
