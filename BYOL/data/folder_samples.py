"""Some images of a folder, and whether there are any, without a complete scan."""

import os
from collections import Counter
from itertools import chain, islice, zip_longest
from pathlib import Path

from BYOL.data.formats.supported import FOLDERS, ending_of
from BYOL.data.scan_folder import images_below, is_folder, is_image_entry
from BYOL.errors import DataError

_MOST_ENTRIES = 10_000  # entries of one folder that are read for samples
_MOST_FOLDERS = 32  # folders that are read for samples


def has_images(folder: Path) -> bool:
    """Whether there is an image below ``folder``, however deep; the search ends at the first."""
    try:
        return next(images_below(folder, Counter(), frozenset()), None) is not None
    except (DataError, OSError):  # a folder that cannot be accessed
        return False


def sample_files(root: Path, most: int) -> list[Path]:
    """At most ``most`` images from several folders below ``root``, without a complete scan."""
    by_folder: list[list[Path]] = []
    pending = [root]
    for _ in range(_MOST_FOLDERS):
        if not pending:
            break
        try:
            with os.scandir(pending.pop(0)) as entries:
                seen = sorted(islice(entries, _MOST_ENTRIES), key=lambda entry: entry.name)
        except OSError:
            continue
        seen = [entry for entry in seen if not entry.name.startswith(".")]
        images = (Path(e.path) for e in seen if is_image_entry(e, ending_of(e.name)))
        by_folder.append(list(islice(images, most)))
        inner = [Path(e.path) for e in seen if ending_of(e.name) not in FOLDERS and is_folder(e)]
        pending = [*inner, *pending]  # images may be in the lowest folders only
    interleaved = chain.from_iterable(zip_longest(*by_folder))
    return list(islice((path for path in interleaved if path), most))
