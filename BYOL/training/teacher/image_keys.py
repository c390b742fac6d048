"""A short key for every image, which changes if its file or its pixels change."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from BYOL.data.content import content_sample, content_samples
from BYOL.data.dataset import ArrayImages, EncodedImages, FileImages, Images
from BYOL.data.shards.dataset import StreamedImages

_LENGTH = 16  # bytes


def image_keys(images: Images) -> list[bytes]:
    """Return a key for every image.

    Images in memory are identified by their pixels. Files are identified by name, size, time of the
    last change and parts of their content, and images in shards by the same of their shard. The
    channels and the range of values that files are read with are part of the key.
    """
    if isinstance(images, ArrayImages):
        return [_hash(pixels.tobytes()) for pixels in images.data.numpy()]
    assert isinstance(images, EncodedImages)
    read_with = repr((images.channels, images.pixel_range, images.options)).encode()
    return [_hash(read_with, text) for text in _texts(images)]


def set_digest(keys: list[bytes], *more: str) -> str:
    """Return a hash of all keys in their order, and of further texts."""
    return hashlib.blake2b(
        b"".join(keys) + "\0".join(more).encode(), digest_size=_LENGTH
    ).hexdigest()


def _texts(images: EncodedImages) -> Iterator[bytes]:
    if isinstance(images, StreamedImages):
        shards = images.index.shards
        stamps = {s: (_stamp(Path(s)), content_sample(Path(s))) for s in shards}
        about = repr((images.digest, sorted(stamps.items()))).encode("utf-8", "surrogateescape")
        about = _hash(about)  # there may be thousands of shards, and every image hashes this again
        for index in range(len(images)):
            name = images.sample_name(index).encode("utf-8", "surrogateescape")
            yield b"%s\0%s" % (about, name)
        return
    assert isinstance(images, FileImages)
    samples = content_samples(map(images.encoded, range(len(images))))
    for index, sample in enumerate(samples):
        name = images.file_name(index).encode("utf-8", "surrogateescape")
        yield b"%s\0%s" % (name, repr((_stamp(images.encoded(index)), sample)).encode())


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:  # a URL, or a file that is no longer there
        return None
    return status.st_size, status.st_mtime_ns


def _hash(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"\0".join(parts), digest_size=_LENGTH).digest()
