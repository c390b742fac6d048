"""Random commands: valid ones, and ones with a mistake."""

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TINY = (
    "--backbone=plain5", "--image-size=16", "--batch-size=8", "--hidden-size=16", "--output-size=8",
    "--optimizer=sgd", "--lr=0.1", "--precision=fp32", "--compile=off",
)  # fmt: skip
QUICK = (*TINY, "--epochs=1", "--no-evaluate", "--no-report", "--knn-every=0", "--workers=0")


@dataclass(frozen=True)
class Case:
    """A command in a folder of its own.

    Args:
        argv: the words after ``byol``.
        valid: whether it has no mistake.
        output: path that the command writes, relative to the folder; None for the run folder.
    """

    argv: tuple[str, ...]
    valid: bool = True
    output: str | None = None


def _on_run(*words: str, output: str) -> Callable[[random.Random], Case]:
    def make(rng: random.Random) -> Case:
        run = rng.choice(("run", "run", "run/", "trained", "hub", "backbone.safetensors"))
        data = rng.choice(("images", "images", "shards", "list.txt"))
        return Case((words[0], run, data, *words[1:], f"--out={output}"), output=output)

    return make


def _embed(rng: random.Random) -> Case:
    out = rng.choice(("e.npy", "e.npz", "e.parquet", "n" * 240 + ".npy", "a\nb.npy"))
    return Case(("embed", "run", "images", f"--out={out}"), output=out)


def _pretrain(rng: random.Random) -> Case:
    data = rng.choice(("images", "images", "shards", "list.txt"))
    more = rng.choice(((), ("--workers=1",), ("--memory=0",), ("--checkpoint-steps=1",)))
    return Case(("pretrain", data, *QUICK, *more, "--out=new"), output="new")


def _resume(rng: random.Random) -> Case:
    flag = rng.choice(("--resume", "--resume=auto"))
    epochs = f"--epochs={rng.choice((1, 2, 3))}"
    return Case(("pretrain", "images", *QUICK, epochs, "--out=trained", flag), output="trained")


def _evaluate(rng: random.Random) -> Case:
    labels = rng.choice(((), ("--labels=labels.csv",)))
    words = ("evaluate", rng.choice(("run", "trained")), "images", "--protocol=knn", *labels)
    return Case(words)


def _report(rng: random.Random) -> Case:
    runs = rng.choice((("run",), ("trained",), ("run", "trained")))
    return Case(("report", *runs, "--out=page.html"), output="page.html")


def _export(rng: random.Random) -> Case:
    to = rng.choice(("b.safetensors", "b.pth", "card/"))
    return Case(("export", rng.choice(("run", "trained")), f"--to={to}"), output=to)


def _sweep(rng: random.Random) -> Case:
    return Case(("sweep", "sweep.yaml", "--trust", "--out=swept"), output="swept")


VALID: dict[Callable[[random.Random], Case], int] = {
    _embed: 4,
    _on_run("duplicates", output="d.csv"): 2,
    _on_run("outliers", output="o.csv"): 2,
    _on_run("search", "--like=images/a/00.png", output="s.csv"): 2,
    _on_run("select", "--count=3", output="c.csv"): 2,
    _on_run("predict", "--labels=labels.csv", output="p.csv"): 2,
    _evaluate: 3,
    _report: 3,
    _export: 3,
    lambda rng: Case(("views", "images", "--out=v.png"), output="v.png"): 2,
    lambda rng: Case(
        ("shard", "images", f"--format={rng.choice(('tar', 'parquet'))}", "--out=packed"),
        output="packed",
    ): 2,
    lambda rng: Case(("tile", "images", "--size=8", "--out=tiles"), output="tiles"): 2,
    _pretrain: 6,
    _resume: 6,
    _sweep: 1,
    lambda rng: Case((rng.choice(("--version", "--help")),)): 1,
}


def make_case(rng: random.Random, folder: Path) -> Case:
    """Return a random command; a mistake may damage the files in ``folder``."""
    make = rng.choices(list(VALID), list(VALID.values()))[0]
    case = make(rng)
    if rng.random() < 0.7:
        return case
    return rng.choice(MISTAKES)(rng, case, folder)


def _wrong_word(rng: random.Random, case: Case, folder: Path) -> Case:
    word = rng.choice(("--no-such-flag", "--seed=x", "--accelerator=abacus", "--out=", "\x1b[31m"))
    return Case((*case.argv, word), False, case.output)


def _missing_input(rng: random.Random, case: Case, folder: Path) -> Case:
    name = rng.choice(("images", "run", "labels.csv", "trained", "shards"))
    if (folder / name).is_dir():
        shutil.rmtree(folder / name)
    else:
        (folder / name).unlink()
    return Case(case.argv, False, case.output)


def _damaged_file(rng: random.Random, case: Case, folder: Path) -> Case:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = rng.choice([path for path in files if path.name not in ("notes.txt", "key")])
    content = path.read_bytes()
    place = rng.randrange(len(content) + 1)
    path.write_bytes(
        rng.choice(
            (
                b"",
                content[:place],
                bytes(len(content)),
                content[:place] + b"\xff\x00\x1b[31m",
                content.decode("latin-1").encode("utf-16"),
                b"[" * 100_000,
            )
        )
    )
    return Case(case.argv, False, case.output)


def _odd_file(rng: random.Random, case: Case, folder: Path) -> Case:
    import os

    name = rng.choice((b"caf\xe9.png", b"a\nb.png", b"<b>&.png", b"\x1b[31m.png", b"z" * 250))
    place = os.fsencode(folder / "images" / "a") + b"/"
    shutil.copyfile(folder / "images" / "a" / "00.png", place + name)
    return Case(case.argv, False, case.output)


MISTAKES = (_wrong_word, _missing_input, _damaged_file, _damaged_file, _odd_file)


def make_template(root: Path) -> int:
    """Create the files that all cases start from; called in a process of its own."""
    from BYOL.cli.main import main
    from tests.conftest import draw_images, make_run

    draw_images(root / "images", each=8)
    make_run(root / "run", root / "images", backbone="plain5", image_size=16)
    names = [f"{name}/{i:02}.png" for name in "ab" for i in range(8)]
    (root / "list.txt").write_text("".join(f"images/{name}\n" for name in names))
    rows = (f"{name},{name[0]}\n" for name in names)
    (root / "labels.csv").write_text("file,label\n" + "".join(rows))
    (root / "notes.txt").write_text("mine")
    pairs = (word[2:].split("=") for word in TINY)
    settings = ", ".join(f"{key.replace('-', '_')}: {value}" for key, value in pairs)
    settings = settings.replace("off", '"off"')
    more = "epochs: 1, data: images, evaluate: false, report: false, workers: 0, preset: small"
    (root / "sweep.yaml").write_text(f"settings: {{{settings}, {more}}}\nrows: {{a: {{}}}}\n")
    words: tuple[tuple[str, ...], ...] = (
        ("pretrain", "images", *QUICK, "--out=trained"),
        ("shard", "images", "--out=shards"),
        ("export", "run", "--to=hub/"),
        ("export", "run", "--to=backbone.safetensors"),
    )
    for argv in words:
        if main(list(argv)) != 0:
            raise SystemExit(f"the template cannot be made: {argv}")
    (root / "trained" / "notes.txt").write_text("mine")
    return 0
