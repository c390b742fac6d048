"""Run the soak test: ``python -m tests.soak --minutes 40 --seed 1``."""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.soak.cases import Case, make_case, make_template
from tests.soak.checks import KINDS, problems
from tests.soak.child import Child
from tests.soak.faults import Fault, make_fault, own_disk


def main() -> int:
    """Run cases until the time is up, print their counts, and return 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--cases", type=int, default=10**9, help="greatest number of cases")
    parser.add_argument("--keep", type=Path, help="folder for the output of cases that went wrong")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    root = Path(tempfile.mkdtemp(prefix="byol-soak-"))  # whose removal no forked process repeats
    try:
        prepare(root)
        end = time.monotonic() + 60 * options.minutes
        number = options.first
        while time.monotonic() < end and number < options.first + options.cases:
            for kind, text in one_case(options.seed, number, root, counts, options.keep):
                counts[kind] += 1
                print(f"case {number}: {kind}: {text}\n", flush=True)
            number += 1
    finally:
        shutil.rmtree(root, ignore_errors=True)
    seconds = 60 * options.minutes - (end - time.monotonic())
    wrong = sum(counts[kind] for kind in KINDS)
    faults = ", ".join(f"{k[6:]} {n}" for k, n in sorted(counts.items()) if k.startswith("fault "))
    print(f"seed {options.seed}: {counts['cases']} cases in {seconds / 60:.1f} minutes, ", end="")
    print(f"{counts['valid']} of them valid; faults: {faults}")
    print(f"ended by a library that got no memory: {counts['aborts']}")
    print(", ".join(f"{kind}: {counts[kind]}" for kind in KINDS))
    return 1 if wrong else 0


def prepare(root: Path) -> None:
    """Import everything, and make the files that cases start from."""
    os.environ |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    os.environ |= {"BYOL_CONFIG_HOME": str(root / "home"), "XDG_CACHE_HOME": str(root / "cache")}
    import_everything()
    template = root / "template"
    template.mkdir()
    child = Child(lambda: make_template(template), template)
    if child.wait() != 0:
        sys.exit(child.shown)
    child.close()


def import_everything() -> None:
    """Import what commands import, so that forked processes need not."""
    import importlib

    import torch

    from BYOL.cli.program import COMMANDS

    torch.set_num_threads(1)
    for name in COMMANDS:
        importlib.import_module(f"BYOL.cli.commands.{name}")
    for module in (
        "sklearn.linear_model",
        "sklearn.cluster",
        "matplotlib.figure",
        "pyarrow.parquet",
    ):
        importlib.import_module(module)


def one_case(
    seed: int, number: int, root: Path, counts: Counter[str], keep: Path | None
) -> list[tuple[str, str]]:
    """Run case ``number``, and return its problems.

    Args:
        seed: of all cases.
        number: of this case.
        root: the folder with the template.
        counts: counts of cases, valid commands and faults, which are increased.
        keep: folder to which the files of a case with problems are copied.
    """
    rng = random.Random(f"{seed} {number}")
    fault = make_fault(rng)
    folder = root / "case"
    folder.mkdir()
    with own_disk(folder, fault.disk) as fill_disk:
        shutil.copytree(root / "template", folder, dirs_exist_ok=True)
        case = make_case(rng, folder)
        fill_disk()
        counts.update(("cases", f"fault {fault.name}"))
        counts["valid"] += case.valid
        found = run_case(case, fault, folder, counts)
        if found and keep:
            shutil.copytree(folder, keep / f"{seed}-{number}", dirs_exist_ok=True)
    shutil.rmtree(folder)
    return found


def run_case(case: Case, fault: Fault, folder: Path, counts: Counter[str]) -> list[tuple[str, str]]:
    """Run a command with a fault in ``folder``, and return its problems."""
    before = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    def command() -> int:
        from BYOL.cli.main import main

        fault.before()
        return main(list(case.argv))

    child = Child(command, folder)
    during = fault.during
    code = child.wait(during and (lambda process: during(folder, process)), fault.delay)
    child.close()
    about = f"byol {' '.join(case.argv)} ({fault.name} after {fault.delay:.2f} s): "
    if code is None:
        return [("hangs", about + child.shown[-1500:])]
    counts["aborts"] += code == -signal.SIGABRT
    found = problems(case, fault, folder, code, child.shown, before)
    return [(kind, about + text) for kind, text in found]


if __name__ == "__main__":
    sys.exit(main())
