"""The how-to page about Ray: its code runs on a local cluster, and survives a killed actor."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from BYOL.api import embed, export
from tests.conftest import draw_images

PAGE = Path(__file__).resolve().parents[1] / "docs/howto/ray.md"
ray = pytest.importorskip("ray", reason="Ray is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.trains, pytest.mark.filterwarnings("default")]


def code_of_page() -> dict[str, Any]:
    """Return the names that the code of the page defines."""
    names: dict[str, Any] = {"__name__": "embed_with_ray"}
    exec(re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1], names)  # type: ignore[index]
    return names


def test_a_killed_actor_loses_no_row_and_repeats_none(run, tmp_path):
    import pyarrow.dataset

    images = draw_images(tmp_path / "images")
    export(run, to=tmp_path / "backbone.safetensors")
    embed(run, images, out=tmp_path / "expected.npz")
    expected = np.load(tmp_path / "expected.npz")
    names, killed = code_of_page(), tmp_path / "killed"

    class Mortal(names["Embed"]):  # type: ignore[misc]
        def __call__(self, batch):
            if not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(batch)

    names["Embed"] = Mortal
    ray.init(
        num_cpus=4, object_store_memory=100 << 20, include_dashboard=False, log_to_driver=False
    )
    try:
        names["embed"](
            str(images), str(tmp_path / "backbone.safetensors"), str(tmp_path / "out"), batch_size=8
        )
    finally:
        ray.shutdown()
    assert killed.exists()
    table = pyarrow.dataset.dataset(tmp_path / "out").to_table()
    files = [os.path.relpath(name, images) for name in table["file"].to_pylist()]
    assert sorted(files) == sorted(expected["file"].tolist()) and len(set(files)) == len(files)
    order = np.argsort(files)
    found = np.array(table["embedding"].to_pylist(), np.float32).reshape(len(files), -1)[order]
    wanted = expected["embedding"][np.argsort(expected["file"])]
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
