"""JSON files can be read by any program."""

import json
import math
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import BYOL
from BYOL._files import to_json, write_json
from BYOL.evaluation.collapse.metrics import collapse_metrics

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def refuse(word: str) -> None:
    raise AssertionError(f"{word} is not JSON")


def same(value: object, read: object) -> bool:
    if isinstance(value, float):
        return value == read if math.isfinite(value) else read is None
    if isinstance(value, dict):
        return value.keys() == read.keys() and all(same(value[k], read[k]) for k in value)
    if isinstance(value, list):
        return len(value) == len(read) and all(map(same, value, read))
    return value == read


@given(plain)
def test_json_follows_the_standard_and_nan_and_infinity_become_null(values):
    assert same(values, json.loads(to_json(values), parse_constant=refuse))


def test_a_file_name_that_is_not_utf8_is_written(tmp_path):
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    write_json(tmp_path / "some.json", {"left_out": [name], "rate": math.nan})
    text = (tmp_path / "some.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse) == {"left_out": [name], "rate": None}


def test_collapse_metrics_of_a_diverged_run_are_json(tmp_path):
    import torch

    diverged = torch.full((8, 4), torch.nan)
    metrics = collapse_metrics(diverged, diverged, diverged)
    assert any(math.isnan(value) for value in metrics.values())
    json.loads(to_json(metrics), parse_constant=refuse)


def test_json_is_written_by_one_module():
    root = Path(BYOL.__file__).parent
    users = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if re.search(r"json\.dumps?\(", path.read_text())
    }
    text_to_sign = {"config/signing.py"}
    assert users == {"_files.py", *text_to_sign}
