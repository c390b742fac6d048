"""What some images of a set show: its channels, the range of its values, and remarks for users."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path

import numpy as np

from BYOL._console import counted, first_of
from BYOL._random import evenly_spaced
from BYOL.data.dataset import EncodedImages
from BYOL.data.decode import BrokenImageError, read_header, read_stored
from BYOL.data.formats.ome_files import missing_parts
from BYOL.data.formats.stored import MODES, Encoded, Header, ReadOptions
from BYOL.data.formats.supported import ending_of
from BYOL.data.formats.tiff import SUFFIXES, parts_of_image
from BYOL.data.path_table import PathTable
from BYOL.data.pipeline import used_bands
from BYOL.errors import SettingsError
from BYOL.views.pixel_range import PixelRange, RangeEstimator, check_pairs

_DEFAULTS = ReadOptions()
PROBED = 64  # files that determine the channels and the range of a folder


@dataclass(frozen=True)
class Probe:
    """Some images of a set, how they are read, and their headers, without what is no image."""

    images: list[tuple[Encoded, ReadOptions]]
    headers: list[Header]
    unread: Counter[str] = field(default_factory=Counter)  # endings of which no file is an image

    @property
    def channels(self) -> int:
        """The band count of most images; without bands 1 if all images are grey, else 3."""
        bands = Counter(None if h.channels in (1, 3) else h.channels for h in self.headers)
        most = bands.most_common(1)[0][0] if bands else None
        if most:
            return most
        others = [h.layout for h in self.headers if h.layout != "bands"]
        return 1 if others and all(layout == "grey" for layout in others) else 3

    @property
    def accepted(self) -> list[int]:
        """The numbers of channels that most images can have."""
        if not self.headers:
            return list(MODES)
        counts = Counter(number for header in self.headers for number in header.accepted)
        most = max(counts.values())
        return sorted(number for number, count in counts.items() if count == most)

    def remarks(self, channels: int) -> list[str]:
        """Lines about what is not read of the images."""
        banded = any(header.layout == "bands" for header in self.headers)
        lines = Counter(
            note
            for header in self.headers
            for note in (
                *header.notes,
                header.left_out(channels),
                _mismatch(header, channels, banded),
            )
            if note
        )
        total = len(self.headers)
        shown = [f"{n} of {total} sampled images: {note}" for note, n in lines.most_common(3)]
        others = len(lines) - len(shown)
        return [*shown, f"{others} further remarks of this kind"] if others else shown


def _mismatch(header: Header, channels: int, banded: bool) -> str | None:
    """A line about an image whose channels are not those of the others, or None.

    Args:
        header: of the image.
        channels: of the set.
        banded: whether some images of the set have bands that are no colours.
    """
    if channels not in header.accepted:
        return f"left out: {header.bands} bands, but the others have {channels}"
    if banded and channels == 4 and header.layout != "bands":
        return "colours without a fourth band: their fourth channel is the opacity"
    return None


def probe(images: Sequence[Encoded], options: Iterable[ReadOptions] = repeat(_DEFAULTS)) -> Probe:
    """Read the headers of ``images``, each with its ``options``."""
    headers = [(pair, read_header(*pair)) for pair in zip(images, options, strict=False)]
    known = [(pair, header) for pair, header in headers if header]
    endings = [(ending_of(i.name), header) for (i, _), header in headers if isinstance(i, Path)]
    read = {ending for ending, header in endings if header}
    unread = Counter(ending for ending, _ in endings if ending not in read)
    return Probe([pair for pair, _ in known], [header for _, header in known], unread)


def with_range(
    images: EncodedImages, pixel_range: PixelRange | None, options: ReadOptions
) -> EncodedImages:
    """Set one range for all images that are not 8-bit, if there are any.

    Args:
        images: the training images.
        pixel_range: as configured, or None.
        options: of all images.

    Raises:
        UserError: the images cannot have their number of channels or the pairs of the range.
    """
    images = replace(images, options=options)
    some = images.probes(PROBED)
    shown = probe([images.encoded(i) for i in some], map(images.options_of, some))
    channels = images.channels
    if channels not in shown.accepted:
        accepted = " or ".join(", ".join(map(str, shown.accepted)).rsplit(", ", 1))
        raise SettingsError(f"--channels={channels} is not for these images: give {accepted}")
    check_pairs(pixel_range, channels)
    remarks = [*images.remarks, *shown.remarks(channels)]
    if shown.images and shown.unread:
        kinds = ", ".join(f"{n} {ending or 'without ending'}" for ending, n in shown.unread.items())
        remarks.append(f"no sampled file of these endings can be read: {kinds}")
    estimator = _estimate(shown, channels)
    estimated = estimator.estimate()
    if estimated is None:
        return replace(images, remarks=tuple(remarks))
    pixel_range = pixel_range or estimated
    if remark := estimator.remark(pixel_range):
        remarks.append(remark)
    return replace(images, pixel_range=pixel_range, remarks=tuple(remarks))


def _estimate(shown: Probe, channels: int) -> RangeEstimator:
    estimator = RangeEstimator()
    for (image, options), header in zip(shown.images, shown.headers, strict=True):
        if not header.deep or channels not in header.accepted:
            continue
        with contextlib.suppress(BrokenImageError):
            used = used_bands(read_stored(image, options), channels)
            colours = used.layout == "rgb" and used.values.shape[2] == 3
            estimator.add(used.values, used.missing, None if colours else 2)
    return estimator


def without_parts(root: Path, files: PathTable) -> tuple[PathTable, list[str]]:
    """Keep one file of every OME-TIFF and Micro-Manager image that consists of several files.

    Args:
        root: the folder.
        files: relative to it.

    Returns:
        The files, and lines about the others and about missing parts.
    """
    probed = evenly_spaced(len(files), PROBED)
    if not any(len(_parts(root, files[i])) > 1 for i in probed):
        return files, []
    kept, sets, dropped = [], {}, 0
    for i in range(len(files)):
        path = root / files[i]
        parts = _parts(root, files[i])
        if len(parts) > 1 and (path.parent, parts) in sets:
            dropped += 1
            continue
        if len(parts) > 1:
            sets[path.parent, parts] = missing_parts(path.parent, parts)
        kept.append(i)
    whole = counted(len(sets), "image")
    remarks = [f"{dropped + len(sets)} files are parts of {whole} in several TIFFs"]
    if missing := [part for missing in sets.values() for part in missing]:
        remarks.append(f"missing parts of images in several TIFFs: {first_of(missing)}")
    return files.take(np.array(kept)), remarks


def _parts(root: Path, name: str) -> frozenset[str]:
    return parts_of_image(root / name) if name.lower().endswith(SUFFIXES) else frozenset()
