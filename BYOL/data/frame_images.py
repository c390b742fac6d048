"""Sets in which every frame of a DICOM object and every slice of a volume is an image."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from BYOL._console import counted
from BYOL._hardware import thread_pool
from BYOL._waiting import waiting
from BYOL.data.dataset import FileImages
from BYOL.data.formats.readers import open_source
from BYOL.data.formats.stored import ReadOptions
from BYOL.data.path_table import PathTable

FRAME_MARK = "::"  # between the name of a file and the number of a frame
_WHOLE = -1  # the frame number of a file with one image
_THREADS = 4  # that read headers
_MOST_FRAMES = 1_000_000  # of a file


@dataclass(frozen=True, eq=False)
class FrameImages(FileImages):
    """Frames of files; ``paths`` repeats the file of each frame.

    An image is named ``FILE::NUMBER``, a file with a single image by its path. The frames of a file
    are one group, so that they never fall on both sides of a split.

    Args:
        frames: (n,) number of each frame in its file; -1 for a file with a single image.
    """

    frames: np.ndarray = field(kw_only=True)

    @property
    def digest(self) -> str:
        """A hash of the names."""
        return self.names_table().digest()

    def sample_name(self, index: int) -> str:
        """The path of the file, relative to the root, and the number of the frame."""
        frame = int(self.frames[index])
        return self.paths[index] + ("" if frame == _WHOLE else f"{FRAME_MARK}{frame}")

    def names_table(self) -> PathTable:
        """The names of all frames."""
        return PathTable(self.sample_name(index) for index in range(len(self)))

    @property
    def has_frames(self) -> bool:
        """Whether some images are parts of a file."""
        return bool((self.frames != _WHOLE).any())

    def frame_number(self, index: int) -> int | None:
        """The number of the image at ``index`` in its file; None if it is the only one."""
        frame = int(self.frames[index])
        return None if frame == _WHOLE else frame

    def frames_of_file(self, index: int) -> list[int]:
        """The indices of all frames of the file of the image at ``index``, its first one."""
        file, last = self.paths.raw(index), index
        while last + 1 < len(self) and self.paths.raw(last + 1) == file:
            last += 1
        return list(range(index, last + 1))

    def options_of(self, index: int) -> ReadOptions:
        """``options`` with the number of the frame at ``index``."""
        return replace(self.options, frame=self.frame_number(index))

    def subset(self, indices: np.ndarray) -> "FrameImages":
        """The frames at ``indices``."""
        paths, frames = self.paths.take(indices), self.frames[indices]
        return replace(self, paths=paths, frames=frames, **self._annotations_at(indices))


def with_all_frames(images: FileImages) -> FileImages:
    """Make every frame of the files an image; ``images`` themselves if no file has several.

    Files whose header cannot be read stay one image, which is reported when it is decoded.
    """
    counts = _frame_counts(images)
    if not (counts > 1).any():
        return images
    files = np.repeat(np.arange(len(images)), counts)
    frames = np.concatenate([np.arange(n) if n > 1 else [_WHOLE] for n in counts])
    kept = {f.name: getattr(images, f.name) for f in fields(FileImages)}
    several = int((counts > 1).sum())
    remark = (
        f"{counted(len(files), 'image')} from {counted(len(images), 'file')}: every frame of the "
        f"{counted(several, 'file')} with several is an image, in one group per file (--frames all)"
    )
    labels = None if images.labels is None else images.labels[files]
    kept |= {"paths": images.paths.take(files), "labels": labels, "groups": files}
    return FrameImages(**kept | {"remarks": (*images.remarks, remark)}, frames=frames)


def _frame_counts(images: FileImages) -> np.ndarray:
    """(n,) the number of frames of each file, from its header."""
    counts = np.ones(len(images), dtype=np.int64)
    with (
        waiting("reading the headers of files", len(images)) as work,
        thread_pool(_THREADS) as pool,
    ):
        paths = (images.encoded(index) for index in range(len(images)))
        for index, count in enumerate(pool.map(frame_count, paths)):
            counts[index] = count
            work.done += 1
    return counts


def frame_count(path: Path) -> int:
    """The number of frames of a file; 1 for a file of another kind or without a valid header."""
    try:
        opened = open_source(path, ReadOptions())
    except Exception:  # decoders raise nearly any exception on hostile bytes
        return 1
    opened.close()
    count = int(getattr(opened, "frames", 1))
    most = path.stat().st_size if path.is_file() else _MOST_FRAMES
    return count if count <= min(most, _MOST_FRAMES) else 1  # a header may declare anything
