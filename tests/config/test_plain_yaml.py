"""Settings are plain data of a few levels, in files and on the command line."""

from pathlib import Path

import pytest

from BYOL.cli.main import main
from BYOL.config.plain_yaml import plain_yaml
from BYOL.config.yaml_io import read_settings
from BYOL.errors import UserError

DEEP = {
    "lists": "[" * 100_000,
    "tables": "{a: " * 100_000,
    "blocks": "- " * 100_000,
    "lines": "\n".join(" " * i + "a:" for i in range(1000)),
    "alias": "a: &x [1]\nb: *x",
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_endless_settings_are_one_line(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"c\.yaml cannot be read: it (has an alias|is nested)"):
        read_settings(path)
    for command in (["embed", "run", "--out=e.npy", f"--config={path}"], ["sweep", str(path)]):
        assert main(command) == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("argument", ["--backbone-args", "--backbone-args.depth"])
def test_a_value_of_the_command_line_is_bounded_too(
    argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pretrain", f"{argument}={'[' * 50_000}"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_plain_values_are_read() -> None:
    assert plain_yaml("a: [1, {b: null}]") == {"a": [1, {"b": None}]}


@pytest.mark.parametrize(
    "recipe", [{"specified": 3}, {"specified": [3]}, {"reasons": "x"}, {"facts": []}]
)
def test_the_record_of_a_recipe_has_its_form(recipe: dict[str, object]) -> None:
    from BYOL.config import PretrainConfig

    with pytest.raises(UserError, match="--recipe"):
        PretrainConfig(recipe=recipe)


@pytest.mark.parametrize("values", [{"mean": [1e300]}, {"std": [1e-30]}, {"std": [1e300]}])
def test_statistics_that_float32_cannot_use_are_refused(values: dict[str, list[float]]) -> None:
    from BYOL.config import PretrainConfig

    with pytest.raises(UserError, match="is out of range: give numbers between"):
        PretrainConfig(**values)  # type: ignore[arg-type]
