"""Faults that happen to a command while it runs."""

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True)
class Fault:
    """What disturbs a command.

    Args:
        name: its kind.
        before: called in the process of the command before it starts.
        during: called in the watching process with the folder and the process.
        delay: seconds until ``during`` is called.
        number: the signal that is sent, or None.
        disk: bytes that the disk of the folder has free; None for any.
    """

    name: str
    before: Callable[[], object] = lambda: None
    during: Callable[[Path, int], object] | None = None
    delay: float = 0.0
    number: int | None = None
    disk: int | None = None


def make_fault(rng: random.Random) -> Fault:
    """Return a random fault, or in more than half of the cases none."""
    if rng.random() < 0.55:
        return Fault("none")
    return rng.choice(KINDS)(rng)


def _signal(rng: random.Random) -> Fault:
    number = rng.choice(SIGNALS)

    def send(folder: Path, process: int) -> None:
        os.killpg(process, number)  # loader processes receive it, too

    name = signal.Signals(number).name
    return Fault(name, during=send, delay=rng.uniform(0.02, 2.5), number=number)


def _file_size(rng: random.Random) -> Fault:
    most = rng.choice((0, 100, 4096, 65536, 300_000))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    return Fault("full disk", before=limit)


def _small_disk(rng: random.Random) -> Fault:
    return Fault("small disk", disk=rng.choice((0, 4096, 65536, 300_000, 2_000_000)))


def _full_stream(rng: random.Random) -> Fault:
    numbers = rng.choice(((1,), (2,), (1, 2)))
    closed = rng.random() < 0.5

    def replace() -> None:
        for number in numbers:
            if closed:
                os.close(number)
            else:
                os.dup2(os.open("/dev/full", os.O_WRONLY), number)

    return Fault("closed stream" if closed else "full stream", before=replace)


def _input(rng: random.Random) -> Fault:
    seed = rng.random()

    def change(folder: Path, process: int) -> None:
        choice = random.Random(seed)
        image = folder / "images" / choice.choice("ab") / f"0{choice.randrange(8)}.png"
        action = choice.choice(("unlink", "empty", "folder", "all"))
        if action == "all":
            shutil.rmtree(folder / "images", ignore_errors=True)
        elif image.exists():
            image.unlink()
            if action == "empty":
                image.touch()
            elif action == "folder":
                image.mkdir()

    return Fault("input", during=change, delay=rng.uniform(0, 1.5))


def _clock(rng: random.Random) -> Fault:
    seconds = rng.choice((3600.0, 86400.0 * 400, 86400.0 * 20_000))

    def set_back() -> None:
        real = time.time
        time.time = lambda: real() - seconds

    return Fault("clock", before=set_back)


def _memory(rng: random.Random) -> Fault:
    megabytes = rng.choice((30, 80, 200, 500))

    def limit() -> None:
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        most = size + (megabytes << 20)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    return Fault("memory", before=limit)


KINDS = (_signal, _signal, _file_size, _small_disk, _full_stream, _input, _clock, _memory)


@contextlib.contextmanager
def own_disk(folder: Path, free: int | None) -> Iterator[Callable[[], None]]:
    """Make ``folder`` a disk of its own, where the machine permits it; None changes nothing.

    Without the permission, the folder is on an ordinary disk.

    Yields:
        A function that leaves only ``free`` bytes on the disk, for when its files are there.
    """
    command = ["mount", "-t", "tmpfs", "tmpfs", str(folder)]
    mounted = free is not None and subprocess.run(command, capture_output=True).returncode == 0

    def fill() -> None:
        if mounted:
            size = shutil.disk_usage(folder).used + (free or 0)
            option = f"remount,size={max(size, 4096)}"
            subprocess.run(["mount", "-o", option, str(folder)], check=True)

    try:
        yield fill
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)
