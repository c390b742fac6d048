"""Files are whole, and what they say can be read by any program."""

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
def test_json_is_read_by_any_program_and_numbers_that_are_none_are_null(values):
    assert same(values, json.loads(to_json(values), parse_constant=refuse))


def test_a_file_name_that_is_no_text_is_written_too(tmp_path):
    name = b"caf\xe9.png".decode("utf-8", "surrogateescape")
    write_json(tmp_path / "some.json", {"left_out": [name], "rate": math.nan})
    text = (tmp_path / "some.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse) == {"left_out": [name], "rate": None}


def test_gauges_of_a_run_that_broke_are_json(tmp_path):
    import torch

    broken = torch.full((8, 4), torch.nan)
    gauges = collapse_metrics(broken, broken, broken)
    assert any(math.isnan(value) for value in gauges.values())
    json.loads(to_json(gauges), parse_constant=refuse)


def test_json_is_written_in_one_place():
    root = Path(BYOL.__file__).parent
    users = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if re.search(r"json\.dumps?\(", path.read_text())
    }
    words_of_flags = {"arguments.py", "sweeps/reading.py"}
    assert users == {"files.py", *words_of_flags}
