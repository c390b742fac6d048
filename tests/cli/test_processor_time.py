"""What a command imports and builds: processor time before its first image."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from BYOL.evaluation.whitening import shrunk_covariance
from BYOL.runs import build_model as building
from BYOL.runs import open as runs
from BYOL.runs.open import open_run

SLOW_IMPORTS = (
    "torch._dynamo", "sympy", "wandb", "sklearn", "scipy.stats", "matplotlib", "numba",
)  # fmt: skip


# The libraries of all commands are imported once; each command is a forked child of that process.
FORKED = """
import json, os, sys
from BYOL.cli.main import main
from BYOL.cli.commands import embed, report
from BYOL.model.timm_import import import_timm_quickly
import_timm_quickly()
import timm
for argv, slow in json.loads(sys.argv[1]):
    if not os.fork():
        code = main(argv)
        found = [name for name in slow if name in sys.modules]
        print(argv[0], found, file=sys.stderr, flush=True)
        os._exit(code or bool(found))
    assert os.wait()[1] == 0, argv[0]
"""


def test_a_command_on_a_run_imports_no_package_that_it_does_not_use(
    run: Path, tmp_path: Path
) -> None:
    like = ["--like", str(run.parent / "pictures" / "a" / "00.png")]
    commands = {
        "embed": [], "search": like, "report": [], "outliers": [], "duplicates": [],
        "predict": [], "select": [],
    }  # fmt: skip
    used = {"predict": ("sklearn",), "select": ("sklearn", "scipy.stats")}
    cases = []
    for command, words in commands.items():
        out = {"embed": "e.npy", "report": "r.html"}.get(command, f"{command}.csv")
        slow = [name for name in SLOW_IMPORTS if name not in used.get(command, ())]
        cases.append(([command, str(run), "--out", str(tmp_path / out), *words], slow))
    found = subprocess.run(
        [sys.executable, "-c", FORKED, json.dumps(cases)], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr


def test_imports_of_a_command_are_never_searched_for_garbage() -> None:
    program = (
        "import gc, sys; from BYOL.cli.collector import without_collector as without\n"
        "with without():\n    assert not gc.isenabled(); import torch\n"
        "assert gc.isenabled() and gc.get_freeze_count() > 100_000; gc.unfreeze()\n"
        "with without():\n    assert gc.isenabled()\n"
        "assert gc.get_freeze_count() == 0, 'the garbage of this program is kept'"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_compiler_and_torchvision_work_after_timm_was_imported_quickly() -> None:
    program = (
        "import sys; from BYOL.model.timm_import import import_timm_quickly as quick; quick(); "
        "assert 'torch._dynamo' not in sys.modules; import timm, torch, torchvision.ops as ops; "
        "timm.create_model('resnet18'); "
        "assert ops.roi_align(torch.zeros(1, 1, 8, 8), torch.zeros(1, 5), 2).shape[-1] == 2; "
        "import torch._dynamo.utils as real; assert real.__file__"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_opening_a_run_builds_one_backbone_and_no_heads(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    real = building.build_backbone

    def counting(name: str, **settings: object) -> object:
        built.append(name)
        return real(name, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(building, "build_backbone", counting)
    monkeypatch.setattr(building, "BYOL", None)  # heads and a target network would need it
    opened = open_run(run)
    assert built == ["plain5"]
    assert opened.untrained is opened.untrained and opened.start is None
    assert built == ["plain5"] * 2


def test_the_backbone_alone_has_the_weights_of_the_whole_seeded_model(run: Path) -> None:
    config = open_run(run).config
    whole = building.seeded_model(config).onlineNet.backend.state_dict()
    alone = runs.untrained_backbone(config).state_dict()
    assert whole.keys() == alone.keys()
    assert all(bool((whole[name] == alone[name]).all()) for name in whole)


@pytest.mark.parametrize("shape", [(12, 30), (200, 8), (9, 1)])
def test_the_shrunk_covariance_equals_that_of_scikit_learn(shape: tuple[int, int]) -> None:
    from sklearn.covariance import LedoitWolf

    samples = np.random.default_rng(0).normal(size=shape) @ np.diag(np.arange(1.0, shape[1] + 1))
    expected = LedoitWolf().fit(samples).covariance_
    np.testing.assert_allclose(shrunk_covariance(samples), expected, rtol=1e-9, atol=1e-12)
    assert np.all(shrunk_covariance(np.ones(shape)) == 0)
