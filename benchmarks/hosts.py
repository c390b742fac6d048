"""Two hosts on one machine: network namespaces with separate addresses. Used by processes.py."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass


class NotPossibleError(Exception):
    """Network namespaces are not available; the message names the reason."""


@dataclass(frozen=True)
class Host:
    """A network namespace (None: this machine itself) and its interface to the others."""

    namespace: str | None = None
    interface: str = "lo"
    address: str = "127.0.0.1"

    @property
    def prefix(self) -> list[str]:
        """Return the words that run a command in the namespace."""
        return ["ip", "netns", "exec", self.namespace] if self.namespace else []

    def sent(self) -> int:
        """Return the bytes that its interface has sent since its creation."""
        counter = f"/sys/class/net/{self.interface}/statistics/tx_bytes"
        return int(command(*self.prefix, "cat", counter))


def command(*words: str) -> str:
    """Run a command that must succeed; return its standard output."""
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise NotPossibleError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


@contextlib.contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """Create one namespace with only its loopback, or two that are connected.

    Raises:
        NotPossibleError: no ``ip``, not root, or a kernel without namespaces.
    """
    if not shutil.which("ip"):
        raise NotPossibleError("there is no ip command (iproute2)")
    if os.geteuid():
        raise NotPossibleError("network namespaces need root")
    tag = f"byol{os.getpid()}"
    names = [f"{tag}{letter}" for letter in "ab"[:count]]
    made: list[str] = []
    try:
        for name in names:
            command("ip", "netns", "add", name)
            made.append(name)
            command("ip", "-n", name, "link", "set", "lo", "up")
        if count == 1:
            yield [Host(names[0])]
            return
        command("ip", "link", "add", "byolv0", "netns", names[0], "type", "veth",
                "peer", "name", "byolv1", "netns", names[1])  # fmt: skip
        ends = [Host(name, f"byolv{k}", f"10.77.0.{k + 1}") for k, name in enumerate(names)]
        for end in ends:
            inside = ("ip", "-n", str(end.namespace))
            command(*inside, "address", "add", f"{end.address}/24", "dev", end.interface)
            command(*inside, "link", "set", end.interface, "up")
        yield ends
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def slow_down(ends: list[Host], megabits: float) -> None:
    """Limit the rate of every interface to ``megabits`` per second."""
    for end in ends:
        command(*end.prefix, "tc", "qdisc", "add", "dev", end.interface, "root", "tbf",
                "rate", f"{megabits}mbit", "burst", "256kb", "latency", "1000ms")  # fmt: skip
