"""The main job on a folder of labelled images, without flags but the time: is the result better?

    python benchmarks/first_run.py --data photos/ --minutes 10

``photos/`` has ``train/`` and ``test/`` with class folders. The script runs ``byol pretrain photos/
--minutes 10`` as a user does, measures the time of the whole process, and prints the results of the
run: every row, and the trained backbone compared with the others on the same test images
(docs/evidence.md). k-NN by the plain cosine is measured afterwards.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import arguments, header

from BYOL.evaluation.bootstrap import point_estimate
from BYOL.evaluation.table import p_text


def show(evaluation: dict[str, Any]) -> None:
    for name, row in evaluation["rows"].items():
        cells = (f"{measure} {point_estimate(m):.3f}" for measure, m in row.items())
        print(f"{name:12} " + "  ".join(cells))
    for name, comparisons in evaluation["comparisons"].items():
        for c in comparisons:
            counts = f", {c['only_first']}:{c['only_second']}" if "only_first" in c else ""
            p = f"{p_text(c['p'])}, Holm {p_text(c['p_holm'])}"
            print(f"trained − {name}, {c['measure']}: {c['difference']:+.3f} ({p}{counts})")


def main() -> None:
    args = arguments(__doc__, data="photos/", minutes=10.0, out="runs/first-run")
    header()
    byol = [sys.executable, "-m", "BYOL"]
    if not Path(args.out).exists():
        start = time.perf_counter()
        command = [*byol, "pretrain", args.data, "--out", args.out, "--minutes", str(args.minutes)]
        subprocess.run(command, check=True)
        taken = (time.perf_counter() - start) / 60
        print(f"requested {args.minutes:g} min, taken {taken:.2f} min", flush=True)
    show(json.loads((Path(args.out) / "results.json").read_text())["evaluation"])
    command = [*byol, "evaluate", args.out, args.data, "--protocol", "knn-cosine", "--json"]
    show(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


if __name__ == "__main__":
    main()
