"""Hostile files are read as data or refused. They run no code and cause no traceback."""

import os
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from BYOL.cli.program import parse
from BYOL.config import PretrainConfig, load_config
from BYOL.data.decode import BrokenImageError, ImageFile, read_image
from BYOL.data.sources import open_images
from BYOL.errors import UserError
from BYOL.export import load_weights
from BYOL.runs.checksum import add_checksum
from BYOL.runs.open import load_checkpoint

QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
THOUSANDS = settings(QUICK, max_examples=4000)
FIELDS = sorted(PretrainConfig.__dataclass_fields__)

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
    | st.sampled_from(["auto", "digits", "small", "1e400", "../..", "~", "[", "{}", "\x00"])
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)
documents = st.one_of(
    st.dictionaries(st.sampled_from(FIELDS), values, max_size=4).map(yaml.safe_dump),
    values.map(yaml.safe_dump),
    st.text(max_size=60),
    st.sampled_from(
        [
            "!!python/object/apply:os.mkdir [ran]", "epochs: !!python/name:os.system",
            "&a [*a]", "a: &a {b: *a}", "lr: !!binary x", "<<: 3", "epochs: 1\nepochs: 2",
            "small_scale: null", "accumulate: null",
        ]
    ),
)  # fmt: skip
# A name may look like a data set: then its pictures would be looked for on the network.
flags = st.tuples(
    st.sampled_from([f for f in FIELDS if f not in ("data", "preset")]) | st.text(max_size=6),
    st.text(max_size=10) | scalars.map(str),
).map(lambda pair: f"--{pair[0]}={pair[1]}")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused_or_fine(call, *errors):
    try:
        return call()
    except (UserError, *errors) as error:
        text = str(error)
        assert text
        assert "Traceback" not in text
        return None


def check_configuration(place: Path, text: str) -> None:
    file = place / "settings.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    config = refused_or_fine(lambda: load_config(file))
    assert config is None or isinstance(config, PretrainConfig)
    if "data" not in text and "preset" not in text:
        refused_or_fine(lambda: parse("pretrain", ["--config", str(file)]))
    assert {p.name for p in place.iterdir()} == {"settings.yaml"}


@QUICK
@given(documents)
def test_configuration_is_data(place, text):
    check_configuration(place, text)


@pytest.mark.parametrize("name", ["small_scale", "accumulate", "resume", "seed"])
def test_a_setting_that_needs_a_value_is_not_null(place, name):
    file = place / "settings.yaml"
    file.write_text(f"{name}: null\n")
    for read in (load_config, lambda file: parse("pretrain", ["--config", str(file)])):
        with pytest.raises(UserError, match=f"--{name}=null is not a value"):
            read(file)


@pytest.mark.parametrize("pair", ["[null]", "[0.2]", "[null, 1]", "[0, 1, 0]", "[a, b]", "ab"])
@pytest.mark.parametrize("name", ["pixel_range", "crop_scale", "blur"])
def test_a_pair_is_two_numbers(place, name, pair):
    file = place / "settings.yaml"
    file.write_text(f"{name}: {pair}\n")
    with pytest.raises(UserError, match=f"--{name}: .* is not two numbers"):
        load_config(file)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@THOUSANDS
@given(documents)
def test_configuration_is_data_thousands_of_times(place, text):
    check_configuration(place, text)


@QUICK
@given(st.lists(flags, max_size=4))
def test_arguments_are_parsed_or_refused(place, words):
    refused_or_fine(lambda: parse("pretrain", words))
    assert not list(place.iterdir())


@pytest.mark.slow
@pytest.mark.timeout(1800)
@THOUSANDS
@given(st.lists(flags, max_size=4))
def test_arguments_are_parsed_or_refused_thousands_of_times(place, words):
    refused_or_fine(lambda: parse("pretrain", words))
    assert not list(place.iterdir())


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("ran",)


contents = st.one_of(
    st.binary(max_size=200),
    st.dictionaries(st.sampled_from(["byol_version", "state_dict", "global_step"]), values),
    st.builds(lambda: {"byol_version": "0", "state_dict": Hostile()}),
    st.builds(lambda: {"byol_version": "0", "state_dict": {"w": torch.zeros(3)}}),
)


def check_checkpoint(place: Path, content, change: tuple[int, int], sealed: bool) -> None:
    for name, load in (("last.ckpt", load_checkpoint), ("weights.pth", load_weights)):
        path = place / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            torch.save(content, path)
            body = bytearray(path.read_bytes())
            body[change[0] % len(body)] ^= change[1]
            path.write_bytes(body)
        if sealed and len(path.read_bytes()) > 2:
            add_checksum(path)  # a stranger can compute a checksum too
        refused_or_fine(lambda load=load, path=path: load(path))
        path.rename(place / "weights.safetensors")
        refused_or_fine(lambda: load_weights(place / "weights.safetensors"))
        (place / "weights.safetensors").unlink()
    assert not list(place.iterdir())


CHANGES = st.tuples(st.integers(0, 5000), st.integers(0, 255))


@QUICK
@given(contents, CHANGES, st.booleans())
def test_checkpoints_run_no_code(place, content, change, sealed):
    check_checkpoint(place, content, change, sealed)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@THOUSANDS
@given(contents, CHANGES, st.booleans())
def test_checkpoints_run_no_code_thousands_of_times(place, content, change, sealed):
    check_checkpoint(place, content, change, sealed)


SUFFIXES = ["jpg", "png", "gif", "bmp", "tiff", "webp", "ppm"]


def check_image(place: Path, suffix: str, changes: list[tuple[int, int]], cut: float) -> None:
    from PIL import Image

    path = place / f"picture.{suffix}"
    Image.linear_gradient("L").resize((18, 16)).convert("RGB").save(path)
    content = bytearray(path.read_bytes())
    for where, value in changes:
        content[where % len(content)] = value
    path.write_bytes(content[: int(len(content) * cut)])
    refused_or_fine(lambda: read_image(path, 3), BrokenImageError)
    refused_or_fine(lambda: ImageFile(path, 1).crops([(0, 0, 8, 8)], [8]), BrokenImageError)
    assert refused_or_fine(lambda: open_images(str(place)))
    path.unlink()


PICTURES = (
    st.sampled_from(SUFFIXES),
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=12),
    st.floats(0, 1) | st.just(1.0),
)


@QUICK
@given(*PICTURES)
def test_images_are_read_or_named_in_an_error(place, suffix, changes, cut):
    check_image(place, suffix, changes, cut)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@THOUSANDS
@given(*PICTURES)
def test_images_are_read_or_named_in_an_error_thousands_of_times(place, suffix, changes, cut):
    check_image(place, suffix, changes, cut)


@QUICK
@given(st.binary(max_size=300), st.sampled_from(["npz", "npy"]))
def test_arrays_are_read_or_refused(place, content, suffix):
    magic = {"npy": b"\x93NUMPY\x01\x00", "npz": b"PK\x03\x04"}[suffix]
    for body in (content, magic + content):
        (place / f"set.{suffix}").write_bytes(body)
        refused_or_fine(lambda: open_images(str(place / f"set.{suffix}")))
