"""The command ``byol tile``."""

import csv
import logging
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from BYOL._console import first_of
from BYOL._files import check_new_folder, completed_folder, write_json
from BYOL._hardware import own_cores, thread_pool
from BYOL.cli.commands.common import Answer
from BYOL.config.datasets import TileConfig
from BYOL.data.file_list import rows_in_folder
from BYOL.data.formats.stored import ReadOptions
from BYOL.data.formats.supported import SLIDES
from BYOL.data.path_table import PathTable
from BYOL.data.scan_folder import no_images_error, scan_folder, skip_remarks
from BYOL.data.tiling import Cut, Tiling, allow_large_images, tile_image
from BYOL.errors import UserError

log = logging.getLogger(__name__)
_GROUPS, _ABOUT = "groups.csv", "tiles.json"
_SAY_EVERY = 20.0  # seconds
_AHEAD = 4  # images per worker that are started in advance


def tile_run(config: TileConfig) -> Answer:
    """Cut a folder of large images into a folder of tiles, with the source image of every tile.

    Raises:
        UserError: ``data`` is not a folder of images, none of them can be read, the output folder
            is not empty, or the disk is full.
    """
    root, out = Path(config.data).expanduser(), Path(config.out)
    if not root.is_dir():
        raise UserError(f"DATA={root} is no folder of images: only folders can be cut")
    check_new_folder(f"--out={out}", out)
    if root.resolve() in (out.resolve(), *out.resolve().parents):
        raise UserError(f"--out={out} is in DATA={root}: the next call would cut the tiles again")
    passed: Counter[str] = Counter()
    files = scan_folder(root, passed, frozenset(SLIDES))
    if not len(files):
        raise no_images_error(root, passed)
    if taken := next((name for name in (_GROUPS, _ABOUT) if rows_in_folder(files, name)), None):
        raise UserError(
            f"DATA={root}: its subfolder {taken}/ has the name of a file that is written: rename it"
        )
    for remark in skip_remarks(passed):
        log.warning(remark)
    stride = config.stride or config.size
    options = ReadOptions(slice=config.slice, frames=config.frames)
    how = Tiling(config.size, stride, config.blank, config.level, config.mpp, options)
    with completed_folder(out) as made, allow_large_images():
        answer = _cut_all(root, files, made, how, config.workers or len(own_cores()))
    left = answer["left_out"]
    return {"out": str(out), **answer}, (
        f"{answer['tiles']:,} tiles of {answer['pictures']:,} images in {out}; "
        f"{answer['blank']:,} blank ones were left out"
        + (f"; not read: {left:,} ({first_of(answer['not_read'])})" if left else "")
        + f"\ntiles of one image are similar: keep them in one split with --groups {out / _GROUPS}"
    )


def _cut_all(root: Path, files: PathTable, made: Path, how: Tiling, workers: int) -> dict[str, Any]:
    images = tiles = blank = 0
    broken: list[str] = []
    notes: Counter[str] = Counter()
    spoke = time.monotonic()
    with (made / _GROUPS).open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        rows = csv.writer(file)
        rows.writerow(("file", "picture"))
        for cut in _cuts(root, files, made, how, workers):
            rows.writerows((tile, cut.name) for tile in cut.tiles)
            images, tiles = images + (cut.error is None), tiles + len(cut.tiles)
            blank += cut.blank
            notes.update(cut.notes)
            broken += [cut.name] if cut.error else []
            if cut.error and len(broken) == 1:
                log.warning(f"{cut.name} cannot be read: {cut.error}")
            if time.monotonic() - spoke > _SAY_EVERY:
                spoke = time.monotonic()
                log.info(f"{images:,} of {len(files):,} images, {tiles:,} tiles")
    for note, count in notes.most_common(3):
        log.warning(f"{count:,} of {len(files):,} images: {note}")
    if not tiles:
        raise UserError(
            f"DATA={root}: not one tile: {len(broken):,} of {len(files):,} images cannot be "
            f"read, {blank:,} tiles are blank"
        )
    answer = {
        "pictures": images,
        "tiles": tiles,
        "blank": blank,
        "left_out": len(broken),
        "not_read": broken[:100],
        "size": how.size,
        "stride": how.stride,
    }
    write_json(made / _ABOUT, answer)
    return answer


def _cuts(root: Path, files: PathTable, made: Path, how: Tiling, workers: int) -> Iterator[Cut]:
    """Cut the images in parallel, and yield the results in order."""
    pool = thread_pool(workers, "tiles")
    waiting: deque[Future[Cut]] = deque()
    try:
        for index in range(len(files)):
            waiting.append(pool.submit(tile_image, root, files[index], made, how))
            if len(waiting) > _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
