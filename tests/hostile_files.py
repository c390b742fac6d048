"""What the tests of files from elsewhere share: canaries, a watcher, and values that attack."""

import base64
import contextlib
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECRET = "SECRETcanary"
KINDS = ("executed", "contacted", "opened", "changed", "quoted")
_EXECUTING = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn")
_CONTACTING = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
_OPENING = ("open", "os.listdir", "os.scandir")


@dataclass
class Canaries:
    """Files of the user's that no file from elsewhere may touch."""

    root: Path
    ran: Path

    @property
    def file(self) -> Path:
        """A private table."""
        return self.root / "private.csv"

    def digest(self) -> str:
        """Of all names, contents and kinds below the folder."""
        found = hashlib.sha256()
        for path in sorted(self.root.rglob("*")):
            found.update(str(path).encode() + str(path.lstat().st_mode).encode())
            found.update(path.read_bytes() if path.is_file() else b"")
        return found.hexdigest()


@dataclass
class Tally:
    """How many attacks were tried, and what they did."""

    tried: int = 0
    found: Counter[str] = field(default_factory=Counter)
    what: list[str] = field(default_factory=list)

    def note(self, kind: str, text: str) -> None:
        """Count one effect."""
        self.found[kind] += 1
        self.what.append(f"{kind}: {text}"[:300])


_watching: tuple[Tally, Canaries] | None = None
_hooked = False


def make_canaries(place: Path) -> Canaries:
    """A private folder with a table, an image, and files that cleaning a run would delete."""
    from PIL import Image

    root = place / "private"
    (root / "deep").mkdir(parents=True)
    for name in ("private.csv", ".x.1.tmp.csv", "step-000000001.ckpt", "config.yaml", "last.ckpt"):
        (root / name).write_text(f"file,label\n{SECRET}a,{SECRET}b\n")
    Image.new("RGB", (20, 20), (1, 2, 3)).save(root / "private.png")
    Image.new("RGB", (20, 20), (3, 2, 1)).save(root / "deep" / "other.png")
    return Canaries(root, place / "RAN")


def attacks(canaries: Canaries) -> dict[str, str]:
    """Values that a stranger may write where a setting stands, by what they attempt."""
    ran, root = canaries.ran, canaries.root
    template = {"version": 1, "templates": {"u": f"{{{{c('touch {ran}')}}}}"}, "refs": {}}
    data = base64.b64encode(json.dumps(template).encode()).decode()
    return {
        "command": f"pipe:touch {ran} #",
        "command in braces": f"{{pipe:touch {ran} #,pipe:true #}}.tar",
        "shell": f"$(touch {ran}).tar",
        "object": f"!!python/object/apply:os.system ['touch {ran}']",
        "url": "https://canary.invalid/set-{0..3}.tar",
        "plain url": "http://canary.invalid/x.tar",
        "bucket": "s3://canary-bucket/x.tar",
        "hub": "hf-hub:canary/none",
        "chain": f"simplecache::file://{canaries.file}",
        "chain in braces": f"{{file:,zip:}}:file://{canaries.file}.tar",
        "template": f"reference://x.tar::data:application/json;base64,{data}",
        "path": str(canaries.file),
        "folder": str(root),
        "relative": os.path.relpath(canaries.file),
        "local model": f"local-dir:{root}",
        "flag": f"x --data={root}",
    }


INJECTED = (
    "data=pipe:touch RAN #", "--data", "--trust", "trust ", "data ", "config", "--config=x", "json",
    "__class__", "backbone_args.x y", "data\n", "backbone_args.", "help", "class_path", "init_args",
)  # fmt: skip


@contextlib.contextmanager
def watched(tally: Tally, canaries: Canaries, capsys: Any = None) -> Iterator[None]:
    """Count what happens meanwhile. Connections are refused: nothing leaves this machine."""
    global _watching, _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    before, past = canaries.digest(), canaries.ran.exists()
    if capsys:
        capsys.readouterr()
    _watching = (tally, canaries)
    tally.tried += 1
    try:
        yield
    finally:
        _watching = None
        if canaries.digest() != before:
            tally.note("changed", "a canary")
        if canaries.ran.exists() != past:
            tally.note("executed", "the marker is there")
        if capsys:
            said = "".join(capsys.readouterr())
            if SECRET in said:
                tally.note("quoted", said)


def quoted_in(tally: Tally, folder: Path) -> None:
    """Count the files of a folder that quote a canary."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and SECRET.encode() in path.read_bytes():
            tally.note("quoted", str(path))


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if _watching is None:
        return
    tally, canaries = _watching
    if event in _EXECUTING:
        tally.note("executed", f"{event} {args[:2]}")
    elif event in _CONTACTING:
        if event == "socket.connect" and not isinstance(args[1], tuple):
            return  # a socket of this machine
        tally.note("contacted", f"{event} {args[1:3]}")
        raise OSError("no network in this test")
    elif event in _OPENING and isinstance(args[0], str | bytes | os.PathLike):
        path = os.path.realpath(os.fsdecode(args[0]))
        if Path(path).is_relative_to(canaries.root):
            tally.note("opened", path)
