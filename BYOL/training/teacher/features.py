"""The features of the teacher: computed once for every image, and stored next to the runs."""

import contextlib
import errno
import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F

from BYOL._files import write_atomically, write_json
from BYOL._hardware import Machine, pick_workers, torch_device
from BYOL._untrusted import check_file_link
from BYOL._waiting import waiting
from BYOL.data.dataset import Images
from BYOL.data.eval_loader import eval_batches
from BYOL.errors import DataError, MachineError
from BYOL.evaluation.features import compute_features, evaluation_mode, extract_features
from BYOL.runs.lock import claimed
from BYOL.training.teacher.image_keys import image_keys, set_digest
from BYOL.training.teacher.network import Teacher

log = logging.getLogger(__name__)
FOLDER = "teacher-features"  # next to the folders of runs
_BATCH = 64
_SAFE = 0.999  # mean cosine of centred features in bf16 and fp32 from which bf16 is used


@dataclass(eq=False)
class TeacherFeatures:
    """Computes the features of a teacher, or takes them from the file of an earlier run.

    Args:
        teacher: the teacher.
        folder: the folder of the files.
        machine: the machine that computes.
        workers: processes that decode files.

    Attributes:
        seconds: time of all passes over images, those of earlier runs included.
        images: number of images of these passes.
        reused: whether all features were taken from files.
    """

    teacher: Teacher
    folder: Path
    machine: Machine
    workers: int | None = None
    seconds: float = 0.0
    images: int = 0
    reused: bool = True
    _rows: dict[bytes, tuple[np.ndarray, int]] = field(default_factory=dict)
    _keys: WeakKeyDictionary[Images, list[bytes]] = field(default_factory=WeakKeyDictionary)

    def of(self, images: Images) -> np.ndarray:
        """Return (n, d) float16 features, memory-mapped; they are computed if there is no file.

        An unreadable image has the features of the next readable one, as in training.

        Raises:
            UserError: the file cannot be written, or no image can be read.
        """
        known = self._remember(images)
        if known is not None:  # complete, so the folder may be a read-only one
            return known
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MachineError(f"{self.folder} cannot be made: {error.strerror}") from error
        with self._locked():
            features = self._remember(images)
            if features is not None:
                return features
            self._write(self._file(images), images)
        self.reused = False
        features = self._remember(images)
        if features is None:
            raise DataError(
                f"{self._file(images)} cannot be read although it has just been written"
            )
        return features

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the folder, as a context. Other processes of the run, and other runs, wait here."""
        with contextlib.ExitStack() as stack:
            with waiting("waiting for another process that computes features of a teacher"):
                stack.enter_context(claimed(self.folder / ".lock", wait=True))
            yield

    def read(self, *sets: Images | None) -> None:
        """Read the features of the ``sets`` that have a file; nothing is computed."""
        for images in filter(None, sets):
            self._remember(images)

    def vectors(self, images: Images) -> np.ndarray:
        """Return (n, d) float32 features of readable images; known ones are not computed again."""
        known = [self._rows.get(key) for key in self._keys_of(images)]
        if all(known):
            return np.stack([place[0][place[1]] for place in known if place]).astype(np.float32)
        start = time.monotonic()
        device = torch_device(self.machine.accelerator)
        vectors = extract_features(
            self.teacher.folded_network, images, self.teacher.input_spec, device=device,
            workers=pick_workers(self.workers, self.machine.accelerator),
        )[1]  # fmt: skip
        self.seconds += time.monotonic() - start
        self.images, self.reused = self.images + len(images), False
        return vectors

    def _keys_of(self, images: Images) -> list[bytes]:
        """The keys of ``images``, for which parts of every file are read, once."""
        if images not in self._keys:
            self._keys[images] = image_keys(images)
        return self._keys[images]

    def _file(self, images: Images) -> Path:
        digest = set_digest(self._keys_of(images), self.teacher.digest, self._precision_wanted)
        return self.folder / f"{digest}.npy"

    def _remember(self, images: Images) -> np.ndarray | None:
        """Return the stored features, which :meth:`vectors` then knows; None if there are none."""
        file, keys = self._file(images), self._keys_of(images)
        features = _load(file, len(keys))
        if features is not None:
            self.seconds += float(_facts(file).get("seconds", 0.0))
            self.images += len(keys)
            self._rows |= {key: (features, row) for row, key in enumerate(keys)}
        return features

    @property
    def facts(self) -> dict[str, Any]:
        """The teacher, and what its features cost."""
        cost = {"images": self.images, "seconds": round(self.seconds, 1), "reused": self.reused}
        return {**self.teacher.facts, **cost}

    @property
    def _precision_wanted(self) -> str:
        # That of the run, which is recorded: what is faster is measured, and may differ next time.
        return "bf16" if self.machine.precision == "bf16" else "fp32"

    def _write(self, file: Path, images: Images) -> None:
        start = time.monotonic()
        if file.is_file():
            log.warning(f"{file} is damaged and is written again")

        def write(temporary: Path) -> None:
            facts = {
                **self.teacher.facts,
                "precision": self._write_features(temporary, images),
                "images": len(images),
                "seconds": round(time.monotonic() - start, 2),
            }
            write_json(file.with_suffix(".json"), facts)  # the features appear with their facts

        write_atomically(file, write)

    def _write_features(self, file: Path, images: Images) -> str:
        """Write the features of ``images`` to ``file`` and return the precision."""
        shape = len(images), self.teacher.features
        features = np.lib.format.open_memmap(file, "w+", np.float16, shape)
        _reserve(file)
        read = np.zeros(len(images), dtype=bool)
        device = torch_device(self.machine.accelerator)
        network = self.teacher.folded_network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        workers = pick_workers(self.workers, self.machine.accelerator)
        precision = None
        with waiting(f"features of the teacher {self.teacher.name}", len(images)) as work:
            for ids, pixels in eval_batches(images, self.teacher.size, _BATCH, workers):
                pixels = pixels.to(device)
                with evaluation_mode(network), torch.inference_mode():
                    if precision is None:
                        precision = self._safe_precision(pixels)
                    spec = self.teacher.input_spec
                    vectors = compute_features(network, pixels, spec, precision)
                features[ids.numpy()] = vectors.cpu().numpy()
                read[ids.numpy()] = True
                work.done += len(ids)
        _fill_unreadable(features, read, images.name)
        features.flush()
        return precision or "fp32"

    def _safe_precision(self, pixels: torch.Tensor) -> str:
        """Return bf16 if the run has it and the features of a batch hardly differ."""
        wanted, spec = self._precision_wanted, self.teacher.input_spec
        if wanted == "fp32" or len(pixels) < 2:
            return "fp32"
        network = self.teacher.folded_network
        exact = compute_features(network, pixels, spec, "fp32")
        rough = compute_features(network, pixels, spec, wanted)
        mean = exact.mean(dim=0)
        return (
            wanted
            if float(F.cosine_similarity(exact - mean, rough - mean).mean()) > _SAFE
            else "fp32"
        )


def features_of_run(
    out: str | None, workers: int | None, teacher: Teacher, machine: Machine
) -> TeacherFeatures:
    """Return the features of ``teacher``, stored next to the folder of the run."""
    assert out is not None
    return TeacherFeatures(teacher, Path(out).parent / FOLDER, machine, workers)


def _reserve(file: Path) -> None:
    """Reserve the space of a memory-mapped file: a full disk would end the process at a write.

    Raises:
        OSError: there is too little space.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with file.open("rb+") as stream:
        try:
            os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # not on this file system
                raise


def _load(file: Path, images: int) -> np.ndarray | None:
    """Return the features in ``file``; None if there is none, or it is damaged."""
    if not file.is_file():
        return None
    check_file_link(file, "--teacher")
    try:
        features: np.ndarray = np.lib.format.open_memmap(file, mode="r")
    except Exception:  # the kind depends on what is damaged
        return None
    valid = features.ndim == 2 and len(features) == images and features.dtype == np.float16
    return features if valid else None


def _facts(file: Path) -> dict[str, Any]:
    try:
        facts = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _fill_unreadable(features: np.ndarray, read: np.ndarray, name: str) -> None:
    """Give unreadable images the features of the next readable one, cyclically."""
    readable = np.flatnonzero(read)
    if not len(readable):
        raise DataError(f"{name}: none of its images can be read")
    rows = np.flatnonzero(~read)
    features[rows] = features[readable[np.searchsorted(readable, rows) % len(readable)]]
