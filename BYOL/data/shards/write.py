"""A folder of pictures becomes shards: their bytes unchanged, in an order made for streaming."""

import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from BYOL import __version__
from BYOL._files import to_json, write_atomically, write_json
from BYOL._random import fold, permutation
from BYOL.data.dataset import FileImages
from BYOL.data.shards.build_index import scan
from BYOL.data.shards.index import from_contents
from BYOL.data.shards.index_file import write_index
from BYOL.data.shards.tar import LARGEST_PICTURE, Contents
from BYOL.data.shards.urls import INDEX
from BYOL.errors import UserError

_SHUFFLE = 0x5A4D  # keeps the stored order's random numbers apart from an epoch's
_GROUP_BYTES = 1 << 23  # of a Parquet row group: what a reader takes at once
_GROUP_ROWS = 1000
Picture = tuple[str, bytes, int]  # name, content, label (-1: none)


@dataclass(frozen=True)
class Packing:
    """How shards are made.

    Args:
        size: bytes of a shard.
        format: tar or parquet.
        seed: of the order; None: that of the folder.
    """

    size: int
    format: str
    seed: int | None


def pack(sets: dict[str, FileImages], out: Path, how: Packing) -> dict[str, Any]:
    """Write ``NAME-000000.tar`` … for every set, and an index of them all.

    No more than one picture of each set, or one row group, is held at a time. Every shard is there
    whole or not at all; the index comes last.

    Args:
        sets: by name: train, test.
        out: the folder; made if it is not there.
        how: size, format and order.

    Returns:
        What index.json holds: shards, pictures, bytes, classes, files that could not be read.

    Raises:
        UserError: not one picture can be read, or a file cannot be written.
    """
    left_out: list[str] = []
    sources = {name: _Source(images, how, left_out) for name, images in sets.items()}
    if not any(source.more() for source in sources.values()):
        raise UserError(
            f"DATA: not one of {len(left_out):,} pictures can be read ({min(left_out)} is empty, "
            "too large or not there)"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out={out} cannot be made: {error.strerror}") from error
    shards: list[dict[str, Any]] = []
    contents: list[Contents] = []
    for name, source in sources.items():
        while source.more():
            path = out / f"{name}-{source.made:06d}.{how.format}"
            write = _write_tar if how.format == "tar" else _write_table
            write_atomically(path, lambda temporary, s=source, w=write: w(s, temporary))  # type: ignore[misc]
            source.made += 1
            size = path.stat().st_size
            shards.append({"file": path.name, "pictures": source.taken, "bytes": size})
            if how.format == "tar":
                contents.append(scan(str(path)))
    # Those of test begin with those of train, and may be more.
    classes = max((list(images.classes) for images in sets.values()), key=len)
    if contents:
        paths = [str(out / str(shard["file"])) for shard in shards]
        write_index(from_contents(paths, "tar", contents, tuple(classes)), out / INDEX)
    answer = {
        "format": how.format,
        "pictures": sum(shard["pictures"] for shard in shards),
        "bytes": sum(shard["bytes"] for shard in shards),
        "shards": shards,
        "classes": classes,
        "seed": how.seed,
        "left_out": len(left_out),
        "not_read": left_out[:100],
        "byol_version": __version__,
    }
    write_json(out / "index.json", answer)
    return answer


class _Source:
    """Hands out the pictures of a set, in their order, until a shard is full."""

    def __init__(self, images: FileImages, how: Packing, left_out: list[str]):
        self.images = images
        self.how = how
        self.made = 0
        self.taken = 0  # by the current shard
        n = len(images)
        order = np.arange(n)
        if how.seed is not None:
            order = permutation(fold(how.seed, _SHUFFLE), n).numpy()
        self._pictures = self._read(order, left_out)
        self._next: Picture | None = next(self._pictures, None)

    def more(self) -> bool:
        """Whether there is a picture left."""
        return self._next is not None

    def shard(self, extra: int) -> Iterator[Picture]:
        """The pictures of the next shard; ``extra`` bytes are counted for each beside its own."""
        self.taken = size = 0
        while self._next is not None:
            size += len(self._next[1]) + extra
            if self.taken and size > self.how.size:
                return
            yield self._next
            self.taken += 1
            self._next = next(self._pictures, None)

    def _read(self, order: np.ndarray, left_out: list[str]) -> Iterator[Picture]:
        labels = self.images.labels
        for index in order:
            name = self.images.sample_name(int(index))
            try:
                path = self.images.encoded(int(index))
                if not 0 < path.stat().st_size <= LARGEST_PICTURE:
                    raise OSError
                content = path.read_bytes()
            except OSError:
                left_out.append(name)
                continue
            yield name, content, -1 if labels is None else int(labels[index])


def _write_tar(source: _Source, path: Path) -> None:
    with path.open("wb") as file, tarfile.open(fileobj=file, mode="w|") as tar:
        last, taken = "", set()
        for name, content, label in source.shard(extra=2048):
            key, suffix = plain, _ = member_key(name)
            number = 1
            # a.jpg beside a.png: one key is one sample; a_b.jpg and a.b.jpg: two files, not one
            while key == last or key + suffix in taken:
                number += 1
                key = f"{plain}_{number}"
            last = key
            taken.add(key + suffix)
            _add(tar, key + suffix, content)
            if label >= 0:
                _add(tar, f"{key}.cls", str(label).encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
    tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all


def member_key(name: str) -> tuple[str, str]:
    """A key that ends at its first dot, as WebDataset reads it, and the ending.

    Args:
        name: the picture's path in its folder; its member of an archive is named key + ending.
    """
    stem, suffix = os.path.splitext(name.replace(os.sep, "/"))  # noqa: PTH122
    folder, slash, last = stem.rpartition("/")
    return folder + slash + last.replace(".", "_"), suffix.lower()


def _write_table(source: _Source, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema(source.images.classes if source.images.labels is not None else None)
    with pq.ParquetWriter(path, schema, compression="none") as writer:
        rows: list[dict[str, Any]] = []
        size = 0
        for name, content, label in source.shard(extra=len("path") * 16):
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
    """The columns, with what Hugging Face's ``datasets`` wants to be told of them."""
    import pyarrow as pa

    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields: list[Any] = [("image", image)]
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    if classes is not None:
        fields.append(("label", pa.int64()))
        features["label"] = {"names": list(classes), "_type": "ClassLabel"}
    about = to_json({"info": {"features": features}})
    return pa.schema(fields, metadata={"huggingface": about})
