"""Packing a folder of images into shards: bytes unchanged, in an order made for streaming."""

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from BYOL import __version__
from BYOL._files import completed_folder, to_json, write_atomically, write_json
from BYOL._random import fold, permutation
from BYOL.data.dataset import FileImages
from BYOL.data.shards.build_index import scan_shard, write_index
from BYOL.data.shards.index import index_from_contents
from BYOL.data.shards.tar import LARGEST_IMAGE, ORIGINAL, Contents, member_key
from BYOL.data.shards.urls import INDEX
from BYOL.errors import DataError

_SHUFFLE = 0x5A4D  # separates the random numbers of the stored order from those of an epoch
_GROUP_BYTES = 1 << 23  # of a Parquet row group, the unit of a read
_GROUP_ROWS = 1000
EncodedImage = tuple[str, bytes, int]  # name, content, label (-1: none)


@dataclass(frozen=True)
class Packing:
    """Parameters of the shards.

    Args:
        size: bytes of a shard.
        format: tar or parquet.
        seed: of the order; None: the order of the folder.
    """

    size: int
    format: str
    seed: int | None


def pack(sets: dict[str, FileImages], out: Path, packing: Packing) -> dict[str, Any]:
    """Write ``NAME-000000.tar`` … for every set, and an index of all shards.

    At most one image of each set, or one row group, is in memory at a time. The files are written
    into a hidden folder next to ``out``, which is renamed when all of them are complete. A set of
    which a part is missing looks like a smaller set.

    Args:
        sets: by name: train, test.
        out: the folder, which must not exist or be empty.
        packing: size, format and order.

    Returns:
        The content of index.json: shards, images, bytes, classes, unreadable files.

    Raises:
        UserError: no image can be read, or a file cannot be written; ``out`` is as it was then.
    """
    left_out: list[str] = []
    sources = {name: _ImageSource(images, packing, left_out) for name, images in sets.items()}
    if not any(source.more() for source in sources.values()):
        raise DataError(
            f"DATA: none of {len(left_out):,} images can be read ({min(left_out)} is empty, "
            "too large or missing)"
        )
    with completed_folder(out) as temporary:
        return _pack_into(temporary, sources, sets, packing, left_out)


def _pack_into(
    out: Path,
    sources: dict[str, "_ImageSource"],
    sets: dict[str, FileImages],
    packing: Packing,
    left_out: list[str],
) -> dict[str, Any]:
    """Write the shards and their index into the folder ``out``, and return index.json."""
    shards: list[dict[str, Any]] = []
    contents: list[Contents] = []
    for name, source in sources.items():
        while source.more():
            path = _write_shard(source, out, name, packing.format)
            size = path.stat().st_size
            shards.append({"file": path.name, "pictures": source.taken, "bytes": size})
            if packing.format == "tar":
                contents.append(_scan_complete(path, source.taken))
    # The classes of test start with those of train; there may be more.
    classes = max((list(images.classes) for images in sets.values()), key=len)
    if contents:
        paths = [str(out / str(shard["file"])) for shard in shards]
        write_index(index_from_contents(paths, "tar", contents, tuple(classes)), out / INDEX)
    answer = {
        "format": packing.format,
        "pictures": sum(shard["pictures"] for shard in shards),
        "bytes": sum(shard["bytes"] for shard in shards),
        "shards": shards,
        "classes": classes,
        "seed": packing.seed,
        "left_out": len(left_out),
        "not_read": left_out[:100],
        "byol_version": __version__,
    }
    write_json(out / "index.json", answer)
    return answer


def _scan_complete(path: Path, written: int) -> Contents:
    """The content of a new archive.

    Raises:
        DataError: it does not have all images that were written.
    """
    content = scan_shard(str(path))
    if len(content.names) != written:
        raise DataError(
            f"--out: {path.name} was written with {written:,} images, of which "
            f"{len(content.names):,} can be read back: use --format parquet, and report this"
        )
    return content


class _ImageSource:
    """Yields the images of a set in order until a shard is full."""

    def __init__(self, images: FileImages, packing: Packing, left_out: list[str]):
        self.images = images
        self.packing = packing
        self.made = 0
        self.taken = 0  # images of the current shard
        n = len(images)
        order = np.arange(n)
        if packing.seed is not None:
            order = permutation(fold(packing.seed, _SHUFFLE), n).numpy()
        self._queue = self._read(order, left_out)
        self._next: EncodedImage | None = next(self._queue, None)

    def more(self) -> bool:
        """Whether any image remains."""
        return self._next is not None

    def shard(self, extra: Callable[[str], int]) -> Iterator[EncodedImage]:
        """Yield the images of the next shard.

        Args:
            extra: returns the bytes that an image of this name needs in addition to its content.
        """
        self.taken = size = 0
        while self._next is not None:
            size += len(self._next[1]) + extra(self._next[0])
            if self.taken and size > self.packing.size:
                return
            yield self._next
            self.taken += 1
            self._next = next(self._queue, None)

    def _read(self, order: np.ndarray, left_out: list[str]) -> Iterator[EncodedImage]:
        labels = self.images.labels
        for index in order:
            name = self.images.sample_name(int(index))
            try:
                path = self.images.encoded(int(index))
                if not 0 < path.stat().st_size <= LARGEST_IMAGE:
                    raise OSError
                content = path.read_bytes()
            except OSError:
                left_out.append(name)
                continue
            yield name, content, -1 if labels is None else int(labels[index])


def _write_shard(source: _ImageSource, out: Path, name: str, format: str) -> Path:
    path = out / f"{name}-{source.made:06d}.{format}"
    write = _write_tar if format == "tar" else _write_table
    write_atomically(path, lambda temporary: write(source, temporary))
    source.made += 1
    return path


def _write_tar(source: _ImageSource, path: Path) -> None:
    with path.open("wb") as file, tarfile.open(fileobj=file, mode="w|") as tar:
        last, taken = "", set()
        for name, content, label in source.shard(_header_bytes):
            key, suffix = plain, _ = member_key(name)
            number = 1
            # a.jpg and a.png need two keys, for one key is one sample; so do a_b.jpg and a.b.jpg
            while key == last or key + suffix in taken:
                number += 1
                key = f"{plain}_{number}"
            last = key
            taken.add(key + suffix)
            _add(tar, key + suffix, content, name.replace(os.sep, "/"))
            if label >= 0:
                _add(tar, f"{key}.cls", str(label).encode())


def _header_bytes(name: str) -> int:
    """The bytes of the headers of an image, its label and, if it has one, its original name."""
    return 2048 if "".join(member_key(name)) == name else 3072


def _add(tar: tarfile.TarFile, name: str, content: bytes, original: str = "") -> None:
    """Add a member. If it is renamed, an attribute, which other readers skip, has its old name."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    if original not in ("", name):
        info.pax_headers = {ORIGINAL: original}
    tar.addfile(info, io.BytesIO(content))
    tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps all of them otherwise


def _write_table(source: _ImageSource, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(source.images.classes if source.images.labels is not None else None)
    with pq.ParquetWriter(path, schema, compression="none") as writer:
        rows: list[dict[str, Any]] = []
        size = 0
        for name, content, label in source.shard(lambda name: 64):
            name = name.encode("utf-8", "replace").decode()
            row: dict[str, Any] = {"image": {"bytes": content, "path": name}}
            rows.append(row | ({"label": label} if label >= 0 else {}))
            size += len(content)
            if size >= _GROUP_BYTES or len(rows) == _GROUP_ROWS:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows, size = [], 0
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _schema(classes: tuple[str, ...] | None) -> Any:
    """The columns, with the metadata that Hugging Face's ``datasets`` expects."""
    import pyarrow as pa

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields: list[Any] = [("image", image)]
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    if classes is not None:
        fields.append(("label", pa.int64()))
        features["label"] = {"names": list(classes), "_type": "ClassLabel"}
    about = to_json({"info": {"features": features}})
    return pa.schema(fields, metadata={"huggingface": about})
