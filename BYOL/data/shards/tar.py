"""What is in a tar archive: one pass over its headers, and no pixel read.

An archive may come from a stranger. Its names are labels and never paths, nothing but plain files
counts, and a header that asks for more memory than headers need ends the archive.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from BYOL.data.path_table import PathTable
from BYOL.data.scan_folder import is_picture
from BYOL.errors import UserError

LARGEST_PICTURE = 1 << 28  # bytes; a larger member is none
_LARGEST_MEMBER = 1 << 36
_LARGEST_HEADER = 1 << 20  # of a long name or of pax attributes
_LARGEST_LABEL = 32
_HEADERS = frozenset(
    (
        tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
    )
)  # fmt: skip
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE)
NO_LABEL = -1


@dataclass
class Contents:
    """The pictures of one shard, in their order.

    Args:
        names: of the members.
        offsets: (n,) int64 of the first byte in the archive; empty for Parquet.
        sizes: (n,) int64 bytes.
        labels: (n,) int64, -1 for none.
        size: bytes of the whole shard; -1: not known.
        note: what is wrong with it, or "".
    """

    names: PathTable
    offsets: np.ndarray
    sizes: np.ndarray
    labels: np.ndarray
    size: int
    note: str = ""


@dataclass
class _Columns:
    names: list[bytes] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    key: bytes = b""
    since: int = 0  # the first picture of the current key

    def turn_to(self, name: bytes) -> None:
        """Members of one key stand together, a label before or after its picture."""
        folder, slash, last = name.rpartition(b"/")
        key = folder + slash + last.partition(b".")[0]
        if key != self.key:
            self.key, self.since, self.label = key, len(self.names), NO_LABEL

    label: int = NO_LABEL

    def picture(self, name: bytes, offset: int, size: int) -> None:
        self.names.append(name)
        self.offsets.append(offset)
        self.sizes.append(size)
        self.labels.append(self.label)

    def labelled(self, label: int) -> None:
        self.label = label
        self.labels[self.since :] = [label] * (len(self.labels) - self.since)


def scan_tar(file: Any, shard: str) -> Contents:
    """One pass over the headers of an archive.

    Args:
        file: open for reading bytes.
        shard: its name, for messages.

    Raises:
        UserError: it is no tar archive.
    """
    info = _bounded_info()
    columns = _Columns()
    broken, more = "", False
    try:
        with tarfile.open(fileobj=file, mode="r:", tarinfo=info) as tar:  # type: ignore[call-overload]
            for member in _members(tar):
                _note(columns, tar, member)
            more = info.ended and _goes_on(tar)
    except tarfile.TarError as error:
        broken = str(error)
    contents = _whole_ones(columns, file.seek(0, 2))
    if broken or not info.ended:
        if not len(contents.names):
            raise UserError(f"DATA: {shard} is no tar archive, or its first member is cut short")
        contents.note = (
            f"{shard} ends in mid-file, or is damaged: its first {len(contents.names):,} pictures "
            "are used"
        )
    elif more:
        contents.note = (
            f"{shard} goes on after its archive's end: only the first archive in it is used; name "
            "each by itself, with braces"
        )
    return contents


def _goes_on(tar: tarfile.TarFile) -> bool:
    """Whether anything but zeros comes after the mark of the end."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    while rest := tar.fileobj.read(1 << 20):
        if rest.strip(b"\0"):
            return True
    return False


def read_pictures(file: Any) -> Iterator[bytes]:
    """The pictures of an archive one after the other, as long as it can be read."""
    try:
        with tarfile.open(fileobj=file, mode="r|", tarinfo=_bounded_info()) as tar:  # type: ignore[call-overload]
            for member in _members(tar):
                if _is_picture(member) and (opened := tar.extractfile(member)):
                    yield opened.read()
    except tarfile.TarError:
        return


def _is_picture(member: tarfile.TarInfo) -> bool:
    plain = member.type in _PLAIN and member.sparse is None
    name = member.name.rpartition("/")[2].encode("utf-8", "surrogateescape")
    fits = 0 < member.size <= LARGEST_PICTURE
    return plain and fits and not name.startswith(b".") and is_picture(name)


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all
        yield member


def _note(columns: _Columns, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
    name = member.name.encode("utf-8", "surrogateescape")
    columns.turn_to(name)
    if _is_picture(member):
        columns.picture(name, member.offset_data, member.size)
    elif (
        name.lower().endswith(b".cls")
        and member.type in _PLAIN
        and 0 < member.size <= _LARGEST_LABEL
    ):
        opened = tar.extractfile(member)  # a view of the archive: nothing is written
        text = opened.read() if opened else b""
        if text.strip().isdigit():
            columns.labelled(min(int(text), 1 << 62))


def _whole_ones(columns: _Columns, size: int) -> Contents:
    offsets, sizes = (np.array(c, dtype=np.int64) for c in (columns.offsets, columns.sizes))
    whole = int((offsets + sizes <= size).sum())  # only the last can be cut short
    names = PathTable(columns.names[:whole])
    labels = np.array(columns.labels[:whole], dtype=np.int64)
    return Contents(names, offsets[:whole], sizes[:whole], labels, size)


def _bounded_info() -> Any:
    class BoundedInfo(tarfile.TarInfo):
        """Refuses headers of a size that no honest archive has."""

        ended = False  # whether the mark of an archive's end was seen

        @classmethod
        def frombuf(cls, buf: Any, encoding: str, errors: str) -> Any:
            """A member's header."""
            if buf.count(tarfile.NUL) == tarfile.BLOCKSIZE:
                cls.ended = True
            found = super().frombuf(buf, encoding, errors)
            most = _LARGEST_HEADER if found.type in _HEADERS else _LARGEST_MEMBER
            if not 0 <= found.size <= most or found.type == tarfile.GNUTYPE_SPARSE:
                raise tarfile.HeaderError("a header of a size that no archive needs")
            return found

    return BoundedInfo
