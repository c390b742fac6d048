"""Processor time of the commands on a finished run, beyond the import of torch.

    python benchmarks/commands.py RUN --like PHOTO

Every command runs in a process of its own, so the time includes the interpreter and all imports.
The medians of some rounds are printed as a table.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

OUTPUTS = {
    "evaluate": None, "predict": "p.csv", "select": "s.csv", "embed": "e.npy", "search": "n.csv",
    "outliers": "o.csv", "duplicates": "d.csv", "report": "r.html",
}  # fmt: skip


def processor_seconds(argv: list[str]) -> float:
    """Return the user and system time of a process and of its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *argv], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def arguments(command: str, run: str, like: str, folder: Path) -> list[str]:
    """Return the arguments of ``command``, which writes its file to ``folder``."""
    output = OUTPUTS[command]
    return [
        "-m", "BYOL", command, run,
        *(["--like", like] if command == "search" else []),
        *(["--out", str(folder / output)] if output else []),
    ]  # fmt: skip


def main() -> None:
    """Measure all commands in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a finished run with labelled images")
    parser.add_argument("--like", required=True, help="an image for byol search")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    seconds: dict[str, list[float]] = {command: [] for command in OUTPUTS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.rounds):
            torch = processor_seconds(["-c", "import torch"])
            for command, found in seconds.items():
                argv = arguments(command, args.run, args.like, Path(folder))
                found.append(processor_seconds(argv) - torch)
    print("| command | processor seconds beyond importing torch |\n|---|---|")
    for command, found in seconds.items():
        low, high = min(found), max(found)
        print(f"| `byol {command}` | {statistics.median(found):.2f} ({low:.2f} … {high:.2f}) |")


if __name__ == "__main__":
    main()
