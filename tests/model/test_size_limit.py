"""Networks of other people's files are counted before they are built."""

import pytest

from BYOL.errors import UserError
from BYOL.model import size_limit
from BYOL.model.backbones import build_backbone


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        ("vit_tiny_patch16_224", {"depth": 10**4}, "more than 200 modules"),
        ("resnet18", {"layers": [10**6, 1, 1, 1]}, "more than 200 modules"),
        ("convnext_tiny", {"dims": [2**20, 1, 1, 1]}, "parameters"),
        ("vit_tiny_patch16_224", {"depth": 10**9}, "out of range"),
        ("vit_tiny_patch16_224", {"embed_dim": 1e300}, "out of range"),
        ("resnet18", {"layers": [2] * 1000}, "out of range"),
        ("resnet18", {"drop_rate": float("nan")}, "out of range"),
    ],
)
def test_a_network_that_cannot_be_held_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, arguments: dict[str, object], problem: str
) -> None:
    monkeypatch.setattr(size_limit, "MOST_MODULES", 200)
    with pytest.raises(UserError, match=problem) as caught:
        build_backbone(name, arguments=arguments)
    assert "\n" not in str(caught.value)


def test_counting_leaves_no_hook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_limit, "MOST_PARAMETERS", 10)
    with pytest.raises(UserError, match="more than 10 parameters"):
        build_backbone("plain5")
    monkeypatch.undo()
    assert sum(p.numel() for p in build_backbone("plain5").parameters()) > 10
