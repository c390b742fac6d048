"""The contents of a tar archive, from one pass over its headers without reading pixels.

An archive may come from an untrusted source. Its names are labels and never paths. Only regular
files count. A header that requires more memory than any valid header ends the archive.
"""

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from BYOL.data.formats.supported import ARRAYS, ending_of, may_be_dicom, split_ending
from BYOL.data.path_table import PathTable
from BYOL.data.scan_folder import is_image_file
from BYOL.data.shards.labels import NO_LABEL, ShardLabels, labels_of_words
from BYOL.errors import DataError

LARGEST_IMAGE = 1 << 28  # bytes; a larger member is none
_LARGEST_MEMBER = 1 << 36
_LARGEST_HEADER = 1 << 20  # of a long name or of pax attributes
_LARGEST_LABEL = 256
_FIRST_WORD = -2  # words are numbered downwards from here
_HEADERS = frozenset(
    (
        tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
    )
)  # fmt: skip
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)
ORIGINAL = "BYOL.path"  # the attribute of a member that was renamed: its path in the folder


@dataclass
class Contents:
    """The images of one shard, in their order.

    Args:
        names: of the members, or the paths in the folder that they were packed from.
        offsets: (n,) int64 offset of the first byte in the archive; empty for Parquet.
        sizes: (n,) int64 bytes.
        labels: of the images.
        size: bytes of the whole shard; -1: unknown.
        note: a warning about damage, or "".
    """

    names: PathTable
    offsets: np.ndarray
    sizes: np.ndarray
    labels: ShardLabels
    size: int
    note: str = ""


@dataclass
class _Columns:
    names: list[bytes] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)  # the number of the key of each image
    arrays: list[bool] = field(default_factory=list)  # whether the ending is that of an array
    key: bytes = b""
    number: int = 0  # of the current key
    words: dict[str, int] = field(default_factory=dict)  # names of classes, and their numbers
    unused: int = 0  # files of labels that are neither a number nor a word
    since: int = 0  # the first image of the current key

    def start_member(self, name: bytes) -> None:
        """Start a new key if ``name`` has one; a label may come before or after its image."""
        folder, slash, last = name.rpartition(b"/")
        key = folder + slash + last.partition(b".")[0]
        if key != self.key:
            self.key, self.since, self.label = key, len(self.names), NO_LABEL
            self.number += 1

    label: int = NO_LABEL

    def add_image(self, member: tarfile.TarInfo) -> None:
        name = member.pax_headers.get(ORIGINAL) or member.name
        self.names.append(name.encode("utf-8", "surrogateescape"))
        self.offsets.append(member.offset_data)
        self.sizes.append(member.size)
        self.labels.append(self.label)
        self.keys.append(self.number)
        self.arrays.append(ending_of(member.name) in ARRAYS)

    def set_label(self, content: bytes) -> None:
        text = content.strip()
        if text.isdigit():
            self.label = min(int(text), 1 << 62)
        elif (word := text.decode("utf-8", "replace")).isprintable() and "\ufffd" not in word:
            self.label = self.words.setdefault(word, _FIRST_WORD - len(self.words))
            self.label = NO_LABEL if word in ("", "-1") else self.label
        else:
            self.unused += 1
        label = self.label
        self.labels[self.since :] = [label] * (len(self.labels) - self.since)


def scan_tar(file: Any, shard: str) -> Contents:
    """Read all headers of an archive once.

    Args:
        file: open for reading bytes.
        shard: its name, for messages.

    Raises:
        UserError: it is not a tar archive.
    """
    info = _bounded_info()
    columns = _Columns()
    broken, more = "", False
    try:
        with tarfile.open(fileobj=file, mode="r:", tarinfo=info) as tar:  # type: ignore[call-overload]
            for member in _members(tar):
                _add_member(columns, tar, member)
            more = info.ended and _has_data_after_end(tar)
    except tarfile.TarError as error:
        broken = str(error)
    contents = _complete_images(columns, file.seek(0, 2))
    if broken or not info.ended:
        if not len(contents.names):
            raise DataError(f"DATA: {shard} is not a tar archive, or its first member is truncated")
        contents.note = (
            f"{shard} is truncated or damaged: its first {len(contents.names):,} images are used"
        )
    elif columns.unused:
        contents.note = (
            f"{shard}: {columns.unused:,} .cls files are not used, because they hold neither a "
            "number nor a word"
        )
    elif more:
        contents.note = (
            f"{shard} has data after the end of its archive: only the first archive in it is used; "
            "put each archive into its own file and name them with braces"
        )
    return contents


def _has_data_after_end(tar: tarfile.TarFile) -> bool:
    """Whether anything but zeros follows the end marker."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    while rest := tar.fileobj.read(1 << 20):
        if rest.strip(b"\0"):
            return True
    return False


def read_archive_images(file: Any) -> Iterator[bytes]:
    """Yield the images of an archive in order, as long as it can be read."""
    try:
        with tarfile.open(fileobj=file, mode="r|", tarinfo=_bounded_info()) as tar:  # type: ignore[call-overload]
            for member in _members(tar):
                if _is_image_member(member) and (opened := tar.extractfile(member)):
                    yield opened.read()
    except tarfile.TarError:
        return


def _is_image_member(member: tarfile.TarInfo) -> bool:
    regular = member.type in _REGULAR and member.sparse is None
    name = member.name.rpartition("/")[2].encode("utf-8", "surrogateescape")
    fits = 0 < member.size <= LARGEST_IMAGE
    return regular and fits and is_image_file(name) and not _is_hidden(member.name)


def _is_hidden(name: str) -> bool:
    """Whether a member or one of its folders starts with a dot, which a folder would leave out."""
    return any(part.startswith(".") and part not in (".", "..") for part in name.split("/"))


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps all of them otherwise
        yield member


def _add_member(columns: _Columns, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    name = member.name.encode("utf-8", "surrogateescape")
    columns.start_member(name)
    if _is_image_member(member):
        columns.add_image(member)
    elif name.lower().endswith(b".cls") and member.type in _REGULAR and member.size:
        is_small = member.size <= _LARGEST_LABEL
        opened = tar.extractfile(member) if is_small else None  # nothing is written to disk
        if opened:
            columns.set_label(opened.read())
        else:
            columns.unused += 1


def _complete_images(columns: _Columns, size: int) -> Contents:
    offsets, sizes = (np.array(c, dtype=np.int64) for c in (columns.offsets, columns.sizes))
    complete = offsets + sizes <= size  # only the last can be truncated
    keys, arrays = np.array(columns.keys, dtype=np.int64), np.array(columns.arrays, dtype=bool)
    # An array with the key of an image holds its features or labels.
    kept = np.flatnonzero(complete & ~(arrays & np.isin(keys, keys[~arrays])))
    names = PathTable(columns.names[i] for i in kept)
    return Contents(names, offsets[kept], sizes[kept], _labels(columns, kept), size)


def _labels(columns: _Columns, kept: np.ndarray) -> ShardLabels:
    """The labels of the images at ``kept``: numbers, or words if any of them is a word."""
    labels = np.array(columns.labels, dtype=np.int64)[kept]
    if not (labels <= _FIRST_WORD).any():
        return ShardLabels(labels)
    found, numbers = np.unique(labels, return_inverse=True)
    words = list(columns.words)
    texts = ["" if n == NO_LABEL else str(n) if n >= 0 else words[_FIRST_WORD - n] for n in found]
    return labels_of_words(numbers, texts)


def member_key(name: str) -> tuple[str, str]:
    """A key without dots, as WebDataset requires it, and the suffix.

    Args:
        name: the image's path in its folder; the member of an archive is named key + suffix. A
            DICOM file without an ending gets one, because members are recognized by it.
    """
    folder, slash, last = name.replace(os.sep, "/").rpartition("/")
    stem, ending = split_ending(last)
    suffix = last[len(stem) :] + (".dcm" if may_be_dicom(ending) else "")
    return folder + slash + stem.replace(".", "_"), suffix


def _bounded_info() -> Any:
    """A TarInfo class that rejects headers of implausible size and records the end marker."""

    class BoundedInfo(tarfile.TarInfo):
        """Rejects headers of a size that no valid archive has."""

        ended = False  # whether the end marker was read

        @classmethod
        def frombuf(cls, buf: Any, encoding: str, errors: str) -> Any:
            """Parse the header of a member."""
            if buf.count(tarfile.NUL) == tarfile.BLOCKSIZE:
                cls.ended = True
            info = super().frombuf(buf, encoding, errors)
            most = _LARGEST_HEADER if info.type in _HEADERS else _LARGEST_MEMBER
            if not 0 <= info.size <= most or info.type == tarfile.GNUTYPE_SPARSE:
                raise tarfile.HeaderError("a header of implausible size")
            return info

    return BoundedInfo
