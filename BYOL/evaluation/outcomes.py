"""Outcomes of a measure: what a paired test needs to compare two backbones on the same images.

They are stored as text in the measure itself, under the key ``outcomes``. For an accuracy without
groups they are one bit per test image, whether it is classified correctly. For every other measure
they are the values of the first :data:`KEPT` bootstrap resamples. The resamples depend only on the
number of test images and on their groups, so those of two backbones are the same samples.
"""

import base64
import hashlib

import numpy as np

from BYOL.config.tasks import Measure, Measures
from BYOL.data.content import content_samples
from BYOL.data.dataset import ArrayImages, FileImages, Images

KEY = "outcomes"
KEPT = 400  # resamples: the standard error of a difference is then known to 3.5 %
_BITS, _VALUES = "bits", "values"


def encode_outcomes(outcomes: np.ndarray) -> str:
    """Return ``outcomes`` as text: (n,) bool of the images, or (r,) values of the resamples."""
    if outcomes.dtype == bool:
        kind, count, content = _BITS, len(outcomes), np.packbits(outcomes)
    else:
        kept = outcomes[:KEPT]
        kind, count, content = _VALUES, len(kept), kept.astype("<f4")
    return f"{kind}:{count}:{base64.b64encode(content.tobytes()).decode('ascii')}"


def decode_outcomes(measure: Measure) -> np.ndarray | None:
    """Return the outcomes of ``measure``, or None if it has none or if they are damaged."""
    try:
        kind, count, text = str(measure[KEY]).split(":")
        content = base64.b64decode(text, validate=True)
        if kind == _BITS:
            bits = np.unpackbits(np.frombuffer(content, np.uint8))
            return bits[: int(count)].astype(bool) if len(bits) >= int(count) > 0 else None
        values = np.frombuffer(content, "<f4").astype(np.float64)
    except (KeyError, ValueError):
        return None
    return values if kind == _VALUES and len(values) == int(count) > 1 else None


def without_outcomes(measures: Measures) -> Measures:
    """Return ``measures`` without their outcomes, for answers that are never compared."""
    return {
        name: {key: value for key, value in measure.items() if key != KEY}
        for name, measure in measures.items()
    }


def digest_of_test_images(test: Images) -> str:
    """Return a hash of the test images: names in order, parts of their content, labels and groups.

    Outcomes of two evaluations can be paired if their digests are equal.
    """
    digest = hashlib.blake2b(test.digest.encode(), digest_size=16)
    if isinstance(test, ArrayImages):
        digest.update(np.ascontiguousarray(test.data.numpy()).data)
    elif isinstance(test, FileImages):
        for sample in content_samples(map(test.encoded, range(len(test)))):
            digest.update(sample)
    for annotation in (test.labels, test.groups):
        if annotation is not None:
            digest.update(np.ascontiguousarray(annotation).tobytes())
    return digest.hexdigest()
