"""``byol shard`` and ``byol tile`` are killed at the moments at which they change files."""

import signal
from itertools import product
from pathlib import Path

import pytest

from tests.conftest import draw_images
from tests.forked import Kill, run_commands

COMMANDS = {
    "tar": ["shard", "images", "--size=4KB"],
    "parquet": ["shard", "images", "--format=parquet", "--size=4KB"],
    "tiles": ["tile", "images", "--size=10"],
}
# The number of the change of a file or folder at which the signal comes.
MOMENTS = [(signal.SIGKILL, event) for event in (1, 2, 3, 5, 8, 13, 20)]
MOMENTS += [(signal.SIGTERM, event) for event in (2, 7)]


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_command_leaves_all_or_nothing_and_can_be_repeated(
    tmp_path: Path,
) -> None:
    draw_images(tmp_path / "images", each=3)
    (tmp_path / "reference").mkdir()
    reference = [[*words, f"--out=reference/{kind}"] for kind, words in COMMANDS.items()]
    assert [answer.code for answer in run_commands(reference, tmp_path)] == [0] * len(COMMANDS)
    expected = {kind: content(tmp_path / "reference" / kind) for kind in COMMANDS}

    cases = [(kind, *moment) for kind, moment in product(COMMANDS, MOMENTS)]
    outs = [f"made/{kind}-{number}-{event}" for kind, number, event in cases]
    commands = [
        [*COMMANDS[kind], f"--out={out}"] for (kind, *_), out in zip(cases, outs, strict=True)
    ]
    kills = [Kill(number, event) for _, number, event in cases]
    answers = run_commands(commands, tmp_path, kills=kills)
    killed = dict.fromkeys(COMMANDS, 0)
    for (kind, *_), out, answer in zip(cases, outs, answers, strict=True):
        assert "Traceback" not in answer.shown, answer
        killed[kind] += answer.code != 0
        made = tmp_path / out
        assert not made.exists() or content(made) == expected[kind], (out, answer)
    assert min(killed.values()) >= 4, "they end early"

    absent = [k for k, out in enumerate(outs) if not (tmp_path / out).exists()]
    completed = run_commands([commands[k] for k in absent], tmp_path)
    assert [answer.code for answer in completed] == [0] * len(absent)
    for (kind, *_), out in zip(cases, outs, strict=True):
        assert content(tmp_path / out) == expected[kind], out
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == sorted(
        Path(out).name for out in outs
    ), "nothing hidden is left"
