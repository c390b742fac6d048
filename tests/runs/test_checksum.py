import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from BYOL.errors import UserError
from BYOL.runs.checksum import add_checksum, check_checksum


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    path = tmp_path_factory.mktemp("sealed") / "some.ckpt"
    torch.save({"weights": torch.arange(50.0), "note": "one"}, path)
    add_checksum(path)
    return path


def test_a_sealed_file_is_whole_and_any_reader_reads_it(sealed):
    check_checksum(sealed)
    assert torch.equal(torch.load(sealed, weights_only=True)["weights"], torch.arange(50.0))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_one_changed_byte_one_cut_and_one_more_are_seen(sealed, tmp_path_factory, data):
    content = bytearray(sealed.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    kind = data.draw(st.sampled_from(["changed", "cut", "longer"]))
    if kind == "changed":
        content[place] ^= data.draw(st.integers(1, 255))
    elif kind == "cut":
        content = content[:place]
    else:
        content.insert(place, 0)
    damaged = sealed.with_name("damaged.ckpt")
    damaged.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged\.ckpt is damaged"):
        check_checksum(damaged)
