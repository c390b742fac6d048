"""The signature of a run shows whether this user made it in its place."""

import multiprocessing
import shutil
import stat
from pathlib import Path

import pytest

from BYOL.config import PretrainConfig, save_config
from BYOL.config.data_names import PROTOCOLS, check_named_images
from BYOL.config.paths import check_named_places
from BYOL.config.signing import HOME, key_file, signature_line, user_key
from BYOL.config.yaml_io import read_run_config
from BYOL.errors import UserError
from BYOL.runs.lock import claimed
from tests.conftest import Lines


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(HOME, str(tmp_path / "home"))
    return tmp_path / "home"


def make(results: "multiprocessing.Queue[bytes | None]") -> None:
    results.put(user_key(create=True))


def test_the_key_is_private_and_created_once(home: Path) -> None:
    assert user_key() is None and not home.exists(), "asking makes none"
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[bytes | None] = context.Queue()
    workers = [context.Process(target=make, args=(results,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    keys = {results.get(timeout=60) for _ in workers}
    assert len(keys) == 1 and len(keys.pop() or b"") == 32, "all have the same"
    assert stat.S_IMODE((home / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert [path.name for path in home.iterdir()] == ["key"]


def test_the_path_of_the_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(HOME)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "x"))
    assert key_file() == tmp_path / "x" / "byol" / "key"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert key_file() == tmp_path / ".config" / "byol" / "key"


@pytest.mark.parametrize("fault", ["readable by others", "a link", "short", "no home"])
def test_an_unsafe_key_is_not_used(home: Path, tmp_path: Path, fault: str, lines: Lines) -> None:
    assert user_key(create=True)
    key = home / "key"
    if fault == "readable by others":
        key.chmod(0o644)
    elif fault == "a link":
        key.rename(tmp_path / "elsewhere")
        key.symlink_to(tmp_path / "elsewhere")
    elif fault == "short":
        key.write_bytes(b"x")
    else:
        shutil.rmtree(home)
        home.write_text("a file, so that no folder can be made")
    assert user_key(create=True) is None
    (tmp_path / "run").mkdir()
    save_config(PretrainConfig(data="photos"), tmp_path / "run" / "config.yaml")
    config, own = read_run_config(tmp_path / "run" / "config.yaml")
    assert config.data == "photos" and not own
    remedies = [line for line in lines() if line.endswith(f"chmod 600 {key}")]
    assert len(remedies) == (1 if fault == "readable by others" else 0)


@pytest.mark.parametrize("change", ["data", "labels", "groups", "weights", "backbone", "data_root"])
def test_a_signature_covers_the_places_and_the_folder(tmp_path: Path, change: str) -> None:
    file = tmp_path / "run" / "config.yaml"
    file.parent.mkdir()
    places = {"data": "d", "labels": "l", "groups": "g", "weights": "w", "backbone": "b"}
    save_config(PretrainConfig(**places, data_root="r"), file)
    assert read_run_config(file)[1]
    shutil.copytree(file.parent, tmp_path / "copy")
    assert not read_run_config(tmp_path / "copy" / "config.yaml")[1], "elsewhere"
    text = file.read_text()
    file.write_text(text.replace("epochs: 300", "epochs: 7"))
    assert read_run_config(file)[1], "no place"
    old = places.get(change, "r")
    file.write_text(text.replace(f"{change}: {old}\n", f"{change}: other\n"))
    assert read_run_config(file)[0] != PretrainConfig(**places, data_root="r")
    assert not read_run_config(file)[1]


def test_the_signature_of_an_earlier_version_is_valid(tmp_path: Path) -> None:
    places = {"data": "photos", "out": "run", "weights": None, "wandb": None}
    line = signature_line(places, tmp_path)
    file = tmp_path / "config.yaml"
    file.write_text("epochs: 3\ndata: photos\nout: run\nweights: null\nwandb: null\n" + line)
    assert read_run_config(file)[1]
    file.write_text(file.read_text() + "teacher: local-dir:elsewhere\n")
    config, own = read_run_config(file)
    assert config.teacher == "local-dir:elsewhere" and not own, "a place was added"


def test_another_user_has_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_config(PretrainConfig(data="photos"), tmp_path / "config.yaml")
    monkeypatch.setenv(HOME, str(tmp_path / "other"))
    assert not read_run_config(tmp_path / "config.yaml")[1]
    assert user_key(create=True) and not read_run_config(tmp_path / "config.yaml")[1]


def test_a_file_that_is_not_a_lock_is_not_changed(tmp_path: Path) -> None:
    thesis = tmp_path / "thesis"
    thesis.write_text("my thesis")
    lock = tmp_path / ".lock"
    lock.hardlink_to(thesis)
    with pytest.raises(UserError, match="is not a lock"), claimed(lock):
        pass
    assert thesis.read_text() == "my thesis"
    lock.unlink()
    lock.symlink_to(thesis)
    with pytest.raises(UserError, match="is a link"), claimed(lock):
        pass
    assert thesis.read_text() == "my thesis"
    lock.unlink()
    for _ in range(2):  # a lock of a process that has ended is taken
        with claimed(lock) as mine:
            assert mine and lock.read_text().isdigit()


@pytest.mark.parametrize(
    "data",
    [
        "reference://x.tar", "memory://x.tar", "http://host/x.tar", "ftp://host/x", "zip://a.zip",
        "simplecache::s3://b/x.tar", "{file:,zip:}:file:///x.tar", "{a,reference}://x.tar",
        "file://x.tar::data:application/json;base64,x", "REFERENCE://x.tar", "github://o:r@/x.tar",
    ],
)  # fmt: skip
def test_protocols_that_a_file_may_not_name(data: str) -> None:
    with pytest.raises(UserError, match="no file may name"):
        check_named_images(data, "it")
    with pytest.raises(UserError, match="no file may name"):
        check_named_places(PretrainConfig, {"data": data}, "it", trusted=True)


def test_paths_and_usual_protocols_may_be_named() -> None:
    for data in ("photos", "/data/{000..127}.tar", "~/x.npz", "a{b}c", "x:y.tar"):
        check_named_images(data, "it")
    for protocol in PROTOCOLS:
        check_named_images(f"{protocol}://bucket/{{000..003}}.tar", "it")


@pytest.mark.parametrize("values", [{}, {"data": "digits"}, {"epochs": 3, "backbone": "resnet18"}])
def test_settings_that_name_no_place_need_no_trust(values: dict[str, object]) -> None:
    check_named_places(PretrainConfig, values, "it", trusted=False)


def test_a_place_that_the_command_line_overrides_is_not_checked() -> None:
    check_named_places(PretrainConfig, {"data": "photos"}, "it", trusted=False, overridden={"data"})
    with pytest.raises(UserError, match=r"it names data=photos: .* --trust"):
        check_named_places(PretrainConfig, {"data": "photos"}, "it", trusted=False)
