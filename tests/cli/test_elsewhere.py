"""Files from another person execute nothing, contact no host, and read, change and quote nothing.

Every field of every file that the program reads, and every entry of a run's folder, is replaced by
values that attack. What they execute, contact, open, change or have quoted is counted: zero.
"""

import contextlib
import dataclasses
import json
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from BYOL.cli.main import main
from BYOL.cli.program import COMMANDS, parse
from BYOL.cli.sweep.spec import read_sweep
from BYOL.config import PretrainConfig
from BYOL.config.fields import names_where
from BYOL.curation.run_images import open_run_images
from BYOL.data.annotations import annotate_splits
from BYOL.data.shards.write import Packing, pack
from BYOL.data.sources import open_images
from BYOL.errors import UserError
from BYOL.export.equality_check import images_to_check
from BYOL.model.initial_weights import read_start
from BYOL.runs.checksum import add_checksum
from BYOL.runs.folder import RunFolder
from BYOL.runs.load import load_backbone, open_backbone
from BYOL.runs.open import load_checkpoint, open_run
from BYOL.training.pretrain import pretrain
from BYOL.training.resume import find_start
from tests.conftest import draw_images, make_run, tiny
from tests.hostile_files import (
    INJECTED,
    KINDS,
    SECRET,
    Canaries,
    Tally,
    attacks,
    make_canaries,
    quoted_in,
    watched,
)

FIELDS = [field.name for field in dataclasses.fields(PretrainConfig)]
# what needs a run, and words that each command must have besides
RUN_COMMANDS = {
    "evaluate": [], "embed": ["--out=o.npy"], "duplicates": ["--out=o.csv"],
    "outliers": ["--out=o.csv"], "search": ["--like=images/a/00.png", "--out=o.csv"],
    "select": ["--out=o.csv"], "predict": ["--out=o.csv"], "report": ["--out=o.html"],
    "export": ["--classifier=linear", "--to=o.safetensors"],
}  # fmt: skip
ENTRIES = (
    "config.yaml", ".lock", "views.png", "results.json", "evaluation.json", "report.html",
    "backbone.safetensors", "start.safetensors", "checkpoints", "checkpoints/last.ckpt",
    "checkpoints/best.ckpt", "checkpoints/step-000000001.ckpt", "logs", "logs/metrics.csv",
    "logs/spectrum.csv", "logs/wandb.json", "logs/events.out.tfevents.1", ".report.1.tmp.html",
    "checkpoints/.last.1.tmp.ckpt",
)  # fmt: skip
# Settings whose value names what is read, written or contacted, of all commands. Named here once
# more, so that a new setting that lacks its ``place`` is noticed.
NAMING = {
    "backbone", "data", "data_root", "features", "folder", "grid", "groups", "index", "kept",
    "labelled", "labels", "like", "logger", "out",
    "pretrained", "project", "reference", "run", "sweep", "teacher", "to", "values", "weights",
}  # fmt: skip


def test_every_setting_that_names_a_place_has_metadata() -> None:
    marked = (names_where(c.settings, lambda i: i.place is not None) for c in COMMANDS.values())
    assert {name for names in marked for name in names} == NAMING


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, a run that is signed, and a hub folder; tests work on copies."""
    root = tmp_path_factory.mktemp("elsewhere")
    images = draw_images(root / "images", each=5)
    run = make_run(root / "run", images, backbone="plain5", image_size=16)
    rows = {"trained": {"knn20": {"accuracy": 0.5}}, "untrained": {"knn20": {"accuracy": 0.4}}}
    evaluation = {
        "rows": rows, "pictures": {"learn": 8, "judge": 2}, "classes": 2, "task": "classification",
        "data": "x", "run": "x",
    }  # fmt: skip
    results = {
        "run": "x", "epochs": 1, "steps": 3, "alarm": "text", "evaluation": evaluation,
        "pictures": 10, "pictures_left_out": ["a"], "machine": {"accelerator": "cpu"},
        "versions": {"BYOL": "0", "torch": "2"}, "images_per_second": 1.0, "gauges": {"std": 0.5},
    }  # fmt: skip
    (run / "results.json").write_text(json.dumps(results))
    (run / "evaluation.json").write_text(json.dumps(evaluation))
    assert main(["export", str(run), "--to", f"{root}/hub/"]) == 0
    return root


@pytest.fixture
def place(tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(template, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    return tmp_path / "w"


@pytest.fixture
def canaries(tmp_path: Path) -> Canaries:
    return make_canaries(tmp_path)


@pytest.fixture
def tally() -> Iterator[Tally]:
    found = Tally()
    yield found
    counts = ", ".join(f"{kind} {found.found[kind]}" for kind in KINDS)
    print(f"{found.tried} attacks: {counts}")
    assert found.tried and not found.found, found.what[:5]


def quietly(*calls: Callable[[], Any]) -> None:
    """Call all of them; a refusal, or a file that is not understood, is as good as none."""
    for call in calls:
        with contextlib.suppress(UserError, Exception):
            call()


def with_value(run: Path, name: str, value: Any) -> None:
    """Change one setting of a run's config.yaml, and leave the signature that it had."""
    text = (run / "config.yaml").read_text()
    signature = text[text.index("# places") :]
    values = {**yaml.safe_load(text), name: value}
    (run / "config.yaml").write_text(yaml.safe_dump(values) + signature)


def test_the_tally_counts_reads_writes_and_connections(
    canaries: Canaries, capsys: pytest.CaptureFixture[str]
) -> None:
    tally = Tally()
    with watched(tally, canaries, capsys):
        print(canaries.file.read_text())
        subprocess.run(["true"], check=True)
        with pytest.raises(OSError, match="no network"):
            socket.getaddrinfo("canary.invalid", 80)
        canaries.file.write_text("")
    assert set(KINDS) == set(tally.found)


def test_a_trusted_run_opens_the_places_that_it_names(place: Path, canaries: Canaries) -> None:
    with_value(place / "run", "data", str(canaries.root))
    tally = Tally()
    with watched(tally, canaries):
        assert main(["embed", "run", "--trust", "--workers=0", "--out=o.npy"]) == 0
    assert tally.found["opened"]


def test_every_setting_of_a_run(place: Path, canaries: Canaries, tally: Tally) -> None:
    original = (place / "run" / "config.yaml").read_text()
    values = attacks(canaries)
    for name in FIELDS:
        for what, value in values.items():
            if name not in NAMING and what not in ("url", "path"):
                continue
            with_value(place / "run", name, value)
            with watched(tally, canaries):
                quietly(lambda: open_and_use(place / "run"), lambda: load_backbone("run"))
            (place / "run" / "config.yaml").write_text(original)


def open_and_use(folder: Path) -> None:
    run = open_run(folder)
    quietly(lambda: open_run_images(run, None, "root"), lambda: images_to_check(run))
    assert run.config.labels is None or run.elsewhere is None


@pytest.mark.parametrize("command", RUN_COMMANDS)
def test_every_command_on_a_run(
    place: Path, canaries: Canaries, tally: Tally, command: str, capsys: Any
) -> None:
    values = attacks(canaries)
    for what in ("command in braces", "url", "template", "path"):
        for name in ("data", "labels", "groups"):
            with_value(place / "run", name, values[what])
        with watched(tally, canaries, capsys):
            code = main([command, "run", *RUN_COMMANDS[command]])
        assert code == 0 if command == "report" else code == 2
        quoted_in(tally, place)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_place_in_a_file_of_settings(
    place: Path, canaries: Canaries, tally: Tally, command: str, capsys: Any
) -> None:
    names = NAMING & {field.name for field in dataclasses.fields(COMMANDS[command].settings)}
    for name in sorted(names):
        for value in attacks(canaries).values():
            if name == "backbone" and not value.startswith(("hf-hub:", "local-dir:")):
                continue  # a name that no network has
            several = name == "run" and command == "report"
            text = yaml.safe_dump({name: [value] if several else value})
            (place / "c.yaml").write_text(text)
            with watched(tally, canaries, capsys):
                assert main([command, "--config=c.yaml"]) == 2
    for key in (*INJECTED, *(() if "lr" in vars(COMMANDS[command].settings) else ("trust",))):
        (place / "c.yaml").write_text(yaml.safe_dump({key: "x"}))
        with watched(tally, canaries, capsys):
            assert main([command, "--config=c.yaml"]) == 2


def test_every_other_setting_in_a_file(place: Path, canaries: Canaries, tally: Tally) -> None:
    values = attacks(canaries)
    for name in sorted({*FIELDS} - NAMING):
        (place / "c.yaml").write_text(yaml.safe_dump({name: values["path"]}))
        with watched(tally, canaries):
            quietly(lambda: parse("pretrain", ["--config=c.yaml"]))


def test_every_part_of_a_sweep(place: Path, canaries: Canaries, tally: Tally) -> None:
    for value in attacks(canaries).values():
        for name in sorted(NAMING & {*FIELDS}):
            if name == "backbone" and not value.startswith(("hf-hub:", "local-dir:")):
                continue
            for parts in (
                {"settings": {name: value}}, {"rows": {"a": {name: value}}},
                {"grid": {name: [value]}}, {"settings": {f"{name}={value}": 1}},
                {f"{name}={value}": {}}, {"seeds": [value]},
            ):  # fmt: skip
                (place / "s.yaml").write_text(yaml.safe_dump(parts))
                with watched(tally, canaries), pytest.raises(UserError, match=r"^SWEEP="):
                    read_sweep("s.yaml", "out")
    for key in (*INJECTED, "trust=1"):
        (place / "s.yaml").write_text(yaml.safe_dump({"settings": {key: 1}}))
        with watched(tally, canaries), pytest.raises(UserError):
            read_sweep("s.yaml", "out")
    assert not (place / "out").exists()


def leaves(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in tables and lists, and one to a new key of every table."""
    if isinstance(values, dict):
        yield (*path, "url")
        yield (*path, "file")
    for key, value in (
        values.items()
        if isinstance(values, dict)
        else enumerate(values)
        if isinstance(values, list)
        else ()
    ):
        yield (*path, key)
        yield from leaves(value, (*path, key))


def replaced(values: Any, path: tuple[Any, ...], value: Any) -> Any:
    copy = json.loads(json.dumps(values))
    part = copy
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return copy


def test_every_field_of_a_hub_folder(place: Path, canaries: Canaries, tally: Tally) -> None:
    known = json.loads((place / "hub" / "config.json").read_text())
    save_file(load_file(place / "hub" / "model.safetensors"), place / "hub" / "model.safetensors")
    values = attacks(canaries)
    for path in leaves(known):
        for what in ("command", "url", "hub", "path", "local model"):
            text = json.dumps(replaced(known, path, values[what]))
            (place / "hub" / "config.json").write_text(text)
            with watched(tally, canaries):
                quietly(lambda: open_backbone("hub"), lambda: read_start("hub"))


def test_every_field_that_weights_carry(place: Path, canaries: Canaries, tally: Tally) -> None:
    from BYOL.export import load_weights

    weights, about = load_weights(place / "run" / "backbone.safetensors")
    for name in (*about, "backbone_args", "classes", "task", "classifier", "pixel_range", "norm"):
        for value in attacks(canaries).values():
            save_file(weights, place / "w.safetensors", {**about, name: value})
            with watched(tally, canaries):
                quietly(lambda: load_backbone("w.safetensors"))
    for name in ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
        arguments = json.dumps({name: str(canaries.file)})
        save_file(weights, place / "w.safetensors", {**about, "backbone_args": arguments})
        with watched(tally, canaries), pytest.raises(UserError, match=name):
            load_backbone("w.safetensors")


@pytest.mark.parametrize("name", ["results.json", "evaluation.json"])
def test_every_field_of_the_results(
    place: Path, canaries: Canaries, tally: Tally, name: str
) -> None:
    from BYOL.report.run_summary import read_run_summary
    from BYOL.report.verdict import verdict

    known = json.loads((place / "run" / name).read_text())
    opened = open_run("run")
    for path in leaves(known):
        for value in attacks(canaries).values():
            (place / "run" / name).write_text(json.dumps(replaced(known, path, value)))
            with watched(tally, canaries):
                quietly(lambda: verdict(read_run_summary(opened.folder, opened.config), None))


def test_every_field_of_an_index_of_shards(place: Path, canaries: Canaries, tally: Tally) -> None:
    import pyarrow.parquet as pq

    pack({"train": open_images("images").train}, place / "set", Packing(10_000, "tar", 0))
    table = pq.read_table(place / "set" / "index.parquet")
    about = json.loads(table.schema.metadata[b"byol"])
    for path in leaves(about):
        for value in attacks(canaries).values():
            text = json.dumps(replaced(about, path, value))
            changed = table.replace_schema_metadata({"byol": text})
            pq.write_table(changed, place / "set" / "index.parquet")
            with watched(tally, canaries):
                quietly(lambda: open_images("set", data_root="root").train.read(0))


def test_every_field_of_a_checkpoint(place: Path, canaries: Canaries, tally: Tally) -> None:
    folder = RunFolder(place / "run")
    folder.create()
    known = {
        "byol_version": "0", "global_step": 1, "state_dict": {}, "byol_facts": {"pictures": 10},
        "byol_config": dict.fromkeys(sorted(NAMING & {*FIELDS}), "x") | {"epochs": 1},
    }  # fmt: skip
    for path in leaves({k: v for k, v in known.items() if k != "state_dict"}):
        for what in ("command", "url", "path"):
            torch.save(replaced(known, path, attacks(canaries)[what]), folder.checkpoint)
            add_checksum(folder.checkpoint)
            with watched(tally, canaries):
                quietly(
                    lambda: load_checkpoint(folder.checkpoint),
                    lambda: find_start(folder, "auto", 2),
                )


def test_every_cell_of_a_table_and_every_line_of_a_list(
    place: Path, canaries: Canaries, tally: Tally
) -> None:
    splits = open_images("images")
    for what, value in attacks(canaries).items():
        for row in (("a/00.png", value), (value, "b")):
            (place / "l.csv").write_text(f'file,label\na/01.png,x\n"{row[0]}","{row[1]}"\n')
            with watched(tally, canaries):
                quietly(lambda: annotate_splits(splits, "l.csv", "auto", None))
                quietly(lambda: annotate_splits(splits, None, "auto", "l.csv"))
        if what in ("path", "folder", "relative"):
            continue  # a list is how the user names files
        (place / "l.txt").write_text(f"images/a/00.png\n{value}\n")
        with watched(tally, canaries):
            quietly(lambda: [open_images("l.txt").train.read(i) for i in range(2)])


def replace_entry(entry: Path, kind: str, canaries: Canaries) -> None:
    entry.parent.mkdir(exist_ok=True)
    if entry.is_dir():
        shutil.rmtree(entry)
    entry.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(entry)
    elif kind == "dangling":
        entry.symlink_to(canaries.root / "new")
    else:
        entry.symlink_to(canaries.root if entry.name in ("logs", "checkpoints") else canaries.file)


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe"])
@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_of_a_run_folder(
    place: Path, canaries: Canaries, tally: Tally, entry: str, kind: str
) -> None:
    replace_entry(place / "run" / entry, kind, canaries)
    config = tiny(place / "images", place / "run", epochs=1, resume="auto")
    for use in (
        lambda: open_run("run"), lambda: load_backbone("run"), lambda: read_start("run"),
        lambda: pretrain(config),
    ):  # fmt: skip
        with watched(tally, canaries):
            if use.__code__.co_names[0] == "read_start" and entry != "backbone.safetensors":
                continue  # it looks at that file alone
            with pytest.raises(UserError) as refused:
                use()
        assert SECRET not in str(refused.value) and "\n" not in str(refused.value)
    quoted_in(tally, place)


def test_links_out_of_a_hub_folder_and_of_a_sweep(
    place: Path, canaries: Canaries, tally: Tally
) -> None:
    for name in ("model.safetensors", "config.json"):
        replace_entry(place / "hub" / name, "link", canaries)
        with watched(tally, canaries), pytest.raises(UserError, match="leads out of its folder"):
            open_backbone("hub")
    (place / "s.yaml").write_text("settings: {data: digits}\n")
    for name in ("run", "run/.seed-0.lock", "run/seed-0", "run/seed-0.log", "table.md"):
        (place / "sw" / "run").mkdir(parents=True)
        replace_entry(place / "sw" / name, "link", canaries)
        with watched(tally, canaries):
            assert main(["sweep", "s.yaml", "--out=sw"]) == 2
        shutil.rmtree(place / "sw")


def test_links_that_stay_in_the_folder_are_followed(place: Path) -> None:
    (place / "run" / "backbone.safetensors").rename(place / "run" / "kept.safetensors")
    (place / "run" / "backbone.safetensors").symlink_to("kept.safetensors")
    weights = open_run("run").backbone.state_dict()
    (place / "named").symlink_to("run")  # the user names the run by a link
    again = open_run("named").backbone.state_dict()
    assert all(torch.equal(weights[name], again[name]) for name in weights)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_random_combinations_of_values(place: Path, canaries: Canaries, tally: Tally) -> None:
    chance = random.Random(0)
    parts = [*attacks(canaries).values(), "::", "{", "}", ",", "://", "~", "\n", " ", "reference"]
    for _ in range(4000):
        value = "".join(chance.choices(parts, k=chance.randint(1, 4)))
        name = chance.choice([*sorted(NAMING & {*FIELDS}), *FIELDS])
        with_value(place / "run", name, value)
        (place / "c.yaml").write_text(yaml.safe_dump({name: value}))
        with watched(tally, canaries):
            quietly(lambda: open_and_use(place / "run"))
            quietly(lambda: parse("pretrain", ["--config=c.yaml"]))
