"""An empty name, such as "$UNSET" in a shell, is a mistake and never the present folder."""

import pytest

import BYOL
from BYOL.cli.main import main
from BYOL.cli.program import COMMANDS, parse
from BYOL.config.fields import fields_of, info_of
from BYOL.errors import UserError
from BYOL.runs.load import open_backbone

NAMES = [
    (command, name)
    for command, about in COMMANDS.items()
    for name, field in fields_of(about.settings).items()
    if info_of(field).place in ("images", "input", "output")
]
REQUIRED = {"run": ["run"], "data": ["images"], "sweep": ["file.yaml"]}


@pytest.mark.parametrize(("command", "name"), NAMES)
def test_every_setting_that_names_a_place_refuses_an_empty_name(command, name):
    fields = fields_of(COMMANDS[command].settings)
    others = [
        word
        for other, values in REQUIRED.items()
        if other in fields and other != name
        for word in (f"--{other}", *values)
    ]
    with pytest.raises(UserError, match=" is empty: give ") as caught:
        parse(command, [*others, f"--{name}", ""])
    called = name.upper() if name in ("data", "folder", "run", "sweep") else f"--{name}"
    assert str(caught.value).startswith(f"{called} is empty: give ")


def test_the_settings_with_places_are_many():
    assert len(NAMES) > 60
    assert {("pretrain", "data"), ("tile", "data"), ("runs", "folder")} <= set(NAMES)


@pytest.mark.parametrize(
    "argv",
    [
        ["pretrain", ""], ["shard", "", "--out", "s"], ["tile", ""], ["embed", "run", ""],
        ["evaluate", "run", ""], ["duplicates", "run", ""], ["evaluate", ""], ["report", "a", ""],
        ["sweep", ""], ["runs", ""], ["pretrain", "x", "--labels="],
        ["pretrain", "x", "--groups", ""],
        ["pretrain", "x", "--out", ""], ["embed", "r", "--out="],
        ["pretrain", "--config", ""], ["embed", "r", "--config="],
    ],
    ids=" ".join,
)  # fmt: skip
def test_an_empty_name_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, capsys, argv):
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert " is empty: give " in said and len(said.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_an_empty_name_in_python_and_in_a_file(tmp_path, capsys):
    with pytest.raises(UserError, match=r"^DATA is empty: give a folder or a file of images, or"):
        BYOL.pretrain("")
    with pytest.raises(UserError, match=r"^RUN is empty: give a file or a folder$"):
        BYOL.embed("", out=tmp_path / "e.npy")
    for load in (BYOL.load_backbone, BYOL.load_classifier):
        with pytest.raises(UserError, match=r"^source is empty: give a run's folder or a"):
            load("")
    with pytest.raises(UserError, match=r"^RUN is empty: give a run's folder or a"):
        open_backbone("")
    (tmp_path / "s.yaml").write_text("settings: {data: ''}")
    assert main(["sweep", str(tmp_path / "s.yaml"), "--trust", "--out", str(tmp_path / "o")]) == 2
    assert "DATA is empty: give" in capsys.readouterr().err
