"""Names that contain markup stay names in a model card."""

import re

import pytest

from BYOL.export.markdown import code, fenced, plain

NAMES = ["a`b", "``", "`", "a\n# b", "[x](http://y)", "<script>", "| a |", "\x1b[31m", "\udcff", ""]


@pytest.mark.parametrize("name", NAMES)
def test_inline_code_ends_where_the_name_ends(name: str) -> None:
    text = code(name)
    marks = re.match("`+", text)
    assert marks is not None and "\n" not in text and "\x1b" not in text
    inner = text[len(marks[0]) : -len(marks[0])]
    assert marks[0] not in re.findall("`+", inner)
    text.encode()


@pytest.mark.parametrize("name", NAMES)
def test_plain_text_has_no_markup(name: str) -> None:
    text = plain(name)
    assert "\n" not in text and "\x1b" not in text
    assert not re.search(r"(?<!\\)[`\[\]<>|#]", text)


def test_a_block_of_code_may_contain_one() -> None:
    text = fenced("a\n```\nb", "yaml")
    assert text == "````yaml\na\n```\nb\n````"
    assert fenced("a", "python") == "```python\na\n```"
