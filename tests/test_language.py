"""The project uses the terms of its field; words that it does not use are listed here."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Regular expressions of whole words, in any case, also as a part of an identifier. The comment says
# what to write instead.
WORDS = (
    "pictures?",  # image
    "told",  # configured, specified, reported
    "settl(?:e|es|ed|ing)",  # resolve
    "judg(?:e|es|ed|ing|e?ments?)",  # evaluate, test images
    "gauges?",  # collapse metric
    "foretells?",  # predict
    "foretold",  # predicted
    "sights?",  # input specification
    "befalls?",  # occurs
    "in company",  # together
    "vouch(?:es|ed)?",  # guarantee
    "the same line",  # the same command
    "goes on",  # resumes, continues
    "learnt",  # trained
    "taught",  # trained
    "further names?",  # alias: hard link, symbolic link
)

# Names that files of users, their scripts or other programs depend on, each with its reason.
ALLOWED = {
    r"gauges[_-]every": "the flag --gauges-every and its YAML key",
    r"feature_gauges\b": "a key of evaluation.json",
    r"\bgauge/": "the prefix of columns of logs/metrics.csv",
    r"learnt_from\b": "a key of evaluation.json",
    r"picture_share(?:_error)?\b": "a collapse metric: a column of logs/metrics.csv",
    r"pictures_left_out\b": "a key of results.json",
    r"pictures_without_labels\b": "a key of evaluation.json",
    r"\"BrokenPictures\"": "a key of checkpoints",
    r"\"Gauges\"": "a key of checkpoints",
    r"(?:--|config\.)pictures\b": "the flag --pictures of byol views and byol report",
    r"^    pictures: int\b": "its field",
    r"([\"'`]+)(?:pictures|judged?|gauges?|further_names)\1": "keys of JSON files and answers",
    r"^    (?:pictures|judge|gauges): (?:NotRequired\[|Count)": "fields of JSON files in schemas",
    r"\"file\", \"picture\"": "the columns of the table of byol tile",
    r"\"webp\", \"picture\", \"content\"": "names of image columns in Parquet files of others",
}

SUFFIXES = {".py", ".j2", ".js", ".css", ".md", ".yaml"}
PARTS = sorted(
    [path.relative_to(ROOT).as_posix() for path in (ROOT / "BYOL").iterdir()]
    + ["README.md", "benchmarks", "docs"]
)

_WORD = re.compile(
    r"(?<![a-z])(?:" + "|".join(WORDS).replace(" ", r"[\s#_]+") + r")(?![a-z])", re.IGNORECASE
)
_ALLOWED = [re.compile(pattern, re.MULTILINE) for pattern in ALLOWED]


def offences(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line number and the word of every listed word of ``text`` that is not allowed."""
    for pattern in _ALLOWED:
        text = pattern.sub("", text)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text)  # the words of a name in camel case
    for match in _WORD.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[0]


def files_of(part: str) -> list[Path]:
    path = ROOT / part
    found = [path] if path.is_file() else sorted(path.rglob("*"))
    return [file for file in found if file.suffix in SUFFIXES]


@pytest.mark.parametrize("part", PARTS)
def test_only_the_terms_of_the_field_are_used(part: str) -> None:
    offenders = []
    for file in files_of(part):
        name = file.relative_to(ROOT).as_posix()
        offenders += [f"{name}: its name: {word}" for _, word in offences(name)]
        text = file.read_text(encoding="utf-8")
        offenders += [f"{name}:{line}: {word}" for line, word in offences(text)]
    assert not offenders, "\n" + "\n".join(offenders)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two\nPictures", [(2, "Pictures")]),
        ("def open_pictures_for(self):", [(1, "pictures")]),
        ("class EncodedPicture:", [(1, "Picture")]),
        ("# a run\n# goes\n# on", [(2, "goes\n# on")]),
        ('f"{count} pictures"', [(1, "pictures")]),
        ("self.gauges = pictures", [(1, "gauges"), (1, "pictures")]),
    ],
)
def test_a_listed_word_is_detected_with_its_line(
    text: str, expected: list[tuple[int, str]]
) -> None:
    assert list(offences(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "config.gauges_every and --gauges-every",
        "results['pictures'] and ``judge``",
        'f"gauge/{name}"',
        "picturesque insights",
        "    pictures: int = setting(8)",
    ],
)
def test_names_that_users_depend_on_are_allowed(text: str) -> None:
    assert not list(offences(text))
