"""Settings are plain data of a few levels, in files and on the command line."""

from pathlib import Path

import pytest

from BYOL.cli.main import main
from BYOL.cli.program import parse
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
    assert plain_yaml("a: 0\nb: 0.5\nc: '010'\nd: '1:30'\ne: 0x10") == {
        "a": 0, "b": 0.5, "c": "010", "d": "1:30", "e": 16
    }  # fmt: skip
    assert plain_yaml("<<: {a: 1}\na: 2\nb: [{a: 1}, {a: 2}]") == {
        "a": 2, "b": [{"a": 1}, {"a": 2}]
    }  # fmt: skip
    assert plain_yaml("# nothing") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("lr: 1\nepochs: 5\nepochs: 7", "line 3: epochs is there twice"),
        ("settings:\n  lr: 1\n  'lr': 2", "line 3: lr is there twice"),
        ("backbone_args: {depth: 1, depth: 2}", "line 1: depth is there twice"),
        ("seed: 010", "line 1: YAML reads 010 as another number than it seems"),
        ("lr: 1\nminutes: 1:30", "line 2: YAML reads 1:30 as another number than it seems"),
        ("minutes: 1:30.5", "YAML reads 1:30.5 as another number"),
    ],
)
def test_what_yaml_reads_otherwise_than_a_reader_is_refused(
    tmp_path: Path, text: str, reason: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"c\.yaml cannot be read: .*{reason}"):
        read_settings(path)


def test_on_and_off_are_words_of_a_setting_that_has_them(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    for word in ("on", "off", "auto"):
        path.write_text(f"compile: {word}")
        assert parse("pretrain", ["--config", str(path)]).compile == word


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
