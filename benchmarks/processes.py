"""Several processes and hosts: is the result that of one process, what is sent, and how fast is it?

    python benchmarks/processes.py --json processes.json
    python benchmarks/processes.py --parts scaling --rounds 5

``equal``: 2 and 4 processes, started by Lightning and by torchrun, compared with one process with
the same global batch. ``hosts``: the same on two hosts, which are two network namespaces connected
by a pair of virtual interfaces with separate addresses, so that nothing uses the loopback of one
machine; and on a slow connection. ``scaling``: one process and two processes with one thread each,
and one process with two threads.

Every run is ``byol pretrain`` in processes of its own. If namespaces are available (Linux, root),
every run of several processes is in one, and its interface counts the bytes that the run sends. The
bytes of a step are the difference of two runs that differ only in length. They are compared with
the number that ``scale.py`` predicts from the module.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import arguments, header, save
from hosts import Host, NotPossibleError, hosts, slow_down
from traffic import bytes_sent, collectives

from BYOL.config import load_config
from BYOL.runs.build_model import build_model
from BYOL.runs.folder import RunFolder
from BYOL.runs.open import load_checkpoint

SIDE, PORT = 32, "29571"
LAUNCH = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
QUIET = (
    "--no-evaluate", "--no-report", "--knn-every=0", "--gauges-every=0", "--checkpoint-every=1000",
    "--accelerator=cpu", "--precision=fp32", "--optimizer=lars", "--preset=small", "--workers=0",
    "--hidden-size=512", "--output-size=128", "--compile=off", "--warmup-epochs=0", "--lr=0.5",
)  # fmt: skip


@dataclass
class Bench:
    """The folder of the runs and their common flags."""

    folder: Path
    flags: tuple[str, ...]
    count: int = field(default=0)

    def run(
        self,
        launcher: str,
        processes: int = 1,
        *,
        on: list[Host] | None = None,
        threads: int = 1,
        more: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """Run ``byol pretrain``; return its results and ``sent``, the bytes that its hosts sent.

        Args:
            launcher: "lightning" or "torchrun".
            processes: number on every host.
            on: the hosts; None is this machine.
            threads: number of every process.
            more: additional flags.

        Raises:
            RuntimeError: a process failed.
        """
        machines = on or [Host()]
        self.count += 1
        out = self.folder / f"run{self.count}"
        before = sum(host.sent() for host in machines)
        started = []
        for number, host in enumerate(machines):
            words = _words(launcher, processes, number, machines)
            argv = ["pretrain", str(self.folder / "images.npy"), *QUIET, *self.flags, *more]
            if launcher == "lightning":
                argv += [f"--devices={processes}", f"--nodes={len(machines)}"]
            env = _environment(host, number, machines, threads)
            started.append(
                subprocess.Popen(
                    [*host.prefix, sys.executable, "-m", *words, "BYOL", *argv, "--out", str(out)],
                    env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                )
            )  # fmt: skip
        errors = [process.communicate()[1] for process in started]
        if any(process.returncode for process in started):
            raise RuntimeError("\n".join(errors))
        import json

        results = json.loads(RunFolder(out).results.read_text())
        sent = sum(host.sent() for host in machines) - before
        return {**results, "out": out, "sent": sent if machines[0].namespace else None}


def _words(launcher: str, processes: int, number: int, machines: list[Host]) -> list[str]:
    """Return the arguments between ``python -m`` and ``BYOL``."""
    if launcher == "lightning":
        return []
    meet = ["--standalone"]
    if len(machines) > 1:
        meet = [f"--nnodes={len(machines)}", f"--node-rank={number}",
                f"--master-addr={machines[0].address}", f"--master-port={PORT}"]  # fmt: skip
    return ["torch.distributed.run", *meet, f"--nproc-per-node={processes}", "-m"]


def _environment(host: Host, number: int, machines: list[Host], threads: int) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in LAUNCH}
    env |= {"OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)}
    if host.namespace:
        env["GLOO_SOCKET_IFNAME"] = host.interface
    if len(machines) > 1:
        env |= {"MASTER_ADDR": machines[0].address, "MASTER_PORT": PORT, "NODE_RANK": str(number)}
    return env


def seconds(results: dict[str, Any], batch: int) -> float:
    """Return the seconds of training."""
    return float(results["steps"]) * batch / float(results["images_per_second"])


def distance(one: Path, other: Path) -> dict[str, float]:
    """Return the distance of the networks (online, target, running statistics) of two runs.

    Returns:
        ``largest``: the largest difference of two values; ``share``: the distance of the online
        weights, divided by their distance from the initial weights.
    """
    first, second = (load_checkpoint(RunFolder(r).checkpoint)["state_dict"] for r in (one, other))
    begun = build_model(load_config(RunFolder(one).config)).state_dict()
    largest = apart = way = 0.0
    for name, value in first.items():
        if not value.is_floating_point():
            continue
        largest = max(largest, float((value - second[name]).abs().max()))
        if name.startswith("model.onlineNet") and "running" not in name:
            apart += float((value - second[name]).double().square().sum())
            way += float((value - begun[name.removeprefix("model.")]).double().square().sum())
    return {"largest": largest, "share": (apart / way) ** 0.5}


def line(label: str, figures: dict[str, float]) -> None:
    print(
        f"  {label:52s} {figures['largest']:9.1e}   {figures['share']:9.1e} of the way", flush=True
    )


def equal(bench: Bench, whole: Path) -> dict[str, Any]:
    """Measure part ``equal``, and the effects of rounding alone and of no SyncBN."""
    print("\nlargest difference of two values after the last step, from one process, one thread")
    figures = {
        "one process, two threads": distance(whole, bench.run("lightning", threads=2)["out"])
    }
    line(*next(iter(figures.items())))
    runs = [(name, count) for count in (2, 4) for name in ("lightning", "torchrun")]
    for launcher, count in runs:
        label = f"{count} processes, {launcher}"
        figures[label] = distance(whole, bench.run(launcher, count)["out"])
        line(label, figures[label])
    label = "2 processes, --no-sync-batchnorm (must differ)"
    figures[label] = distance(
        whole, bench.run("lightning", 2, more=("--no-sync-batchnorm",))["out"]
    )
    line(label, figures[label])
    return figures


def traffic(
    bench: Bench, whole: Path, on: list[Host], processes: int, batch: int
) -> dict[str, Any]:
    """Return bytes and seconds of a step, from two runs of different length, and the forecast."""
    short = bench.run("torchrun", processes, on=on)
    long = bench.run("torchrun", processes, on=on, more=("--epochs=8",))
    steps = long["steps"] - short["steps"]
    world = processes * len(on)
    parts = collectives(build_model(load_config(RunFolder(whole).config)))
    figures = {
        "hosts": len(on),
        "processes": world,
        "sent": (long["sent"] - short["sent"]) / steps,
        # If a host has several processes, their ring crosses each host's interface once.
        "forecast": bytes_sent(parts, world) * (world if len(on) == 1 else len(on)),
        "seconds": (seconds(long, batch) - seconds(short, batch)) / steps,
        "collectives": sum(part.count for part in parts),
    }
    print(f"  {len(on)} host(s), {world} processes: {figures['sent'] / 1e6:7.3f} MB per step sent, "
          f"{figures['forecast'] / 1e6:7.3f} forecast "
          f"({figures['forecast'] / figures['sent']:.2f}); "
          f"{figures['seconds'] * 1e3:6.1f} ms per step", flush=True)  # fmt: skip
    return figures


def over_hosts(bench: Bench, whole: Path, batch: int, megabits: float) -> dict[str, Any]:
    """Measure part ``hosts`` and the bytes that are sent."""
    figures: dict[str, Any] = {"apart": {}, "traffic": []}
    try:
        print("\ntwo hosts, each a network namespace with an address of its own")
        with hosts(2) as ends:
            for launcher, count in (("torchrun", 1), ("lightning", 1), ("torchrun", 2)):
                label = f"2 hosts × {count} process(es), {launcher}"
                run = bench.run(launcher, count, on=ends)
                figures["apart"][label] = distance(whole, run["out"])
                line(label, figures["apart"][label])
            print("\nbytes and time of a step")
            for count in (1, 2):
                figures["traffic"].append(traffic(bench, whole, ends, count, batch))
            slow_down(ends, megabits)
            print(f"  at {megabits:g} Mbit/s:")
            figures["traffic"].append(
                {"megabits": megabits, **traffic(bench, whole, ends, 1, batch)}
            )
        with hosts(1) as ends:
            for count in (2, 4):
                figures["traffic"].append(traffic(bench, whole, ends, count, batch))
    except NotPossibleError as reason:
        print(f"  skipped: {reason}")
        figures["skipped"] = str(reason)
    return figures


def scaling(bench: Bench, rounds: int) -> dict[str, Any]:
    """Measure part ``scaling``."""
    sides = {
        "1 process, 1 thread": (1, 1),
        "1 process, 2 threads": (1, 2),
        "2 processes, 1 thread each": (2, 1),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):  # in turns, so that a slow minute affects all of them
        for name, (processes, threads) in sides.items():
            run = bench.run("lightning", processes, threads=threads, more=("--epochs=8",))
            rates[name].append(run["images_per_second"])
    base = statistics.median(rates["1 process, 1 thread"])
    print("\nimages/s (min … max)                                efficiency on two cores")
    for name, values in rates.items():
        middle = statistics.median(values)
        share = "" if name == "1 process, 1 thread" else f"{middle / base / 2:6.0%}"
        print(f"  {name:30s} {middle:7,.0f} ({min(values):,.0f} … {max(values):,.0f}) {share}")
    return rates


def main() -> None:
    args = arguments(
        __doc__, parts="equal,hosts,scaling", backbone="plain6", images=1024, batch=128,
        epochs=3, rounds=3, megabits=200.0,
    )  # fmt: skip
    figures: dict[str, Any] = {"machine": header("pytorch-lightning"), "cores": os.cpu_count()}
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (args.images, SIDE, SIDE, 3), dtype=np.uint8)
        np.save(Path(name) / "images.npy", images)
        flags = (f"--backbone={args.backbone}", f"--batch-size={args.batch}",
                 f"--epochs={args.epochs}")  # fmt: skip
        bench = Bench(Path(name), flags)
        parts = args.parts.split(",")
        if "equal" in parts or "hosts" in parts:
            whole = bench.run("lightning")
            print(f"{args.backbone}, {SIDE} px, global batch {args.batch}: {whole['steps']} steps")
        if "equal" in parts:
            figures["equal"] = equal(bench, whole["out"])
        if "hosts" in parts:
            figures["hosts"] = over_hosts(bench, whole["out"], args.batch, args.megabits)
        if "scaling" in parts:
            figures["scaling"] = scaling(bench, args.rounds)
    save(args.json, **figures)


if __name__ == "__main__":
    main()
