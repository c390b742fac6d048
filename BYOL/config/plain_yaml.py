"""YAML as plain data: without objects, aliases, and nesting that no settings have."""

import re
from typing import Any

_NOT_DECIMAL = re.compile(r"[-+]?0[0-7_]+|.*:.*", re.DOTALL)  # 010 is 8, and 1:30 is 90
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_DEEPEST = 32  # levels of lists and tables; a parser that recurses fails at a thousand


def plain_yaml(text: str) -> Any:
    """Parse YAML as dictionaries, lists, texts, numbers, dates, true, false and null.

    Raises:
        ValueError: it has an alias, which may be endless, is nested too deeply, names a setting
            twice, or has a number that YAML reads as octal or in base 60.
        yaml.YAMLError: it is not YAML, or has objects.
    """
    import yaml

    depth = 0
    for event in yaml.parse(text):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it has an alias (*NAME): settings are plain values")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _check(node: Any) -> None:
    """Refuse tables with a name that occurs twice, and numbers that are not what they seem."""
    import yaml

    line = f"line {node.start_mark.line + 1}"
    if isinstance(node, yaml.MappingNode):
        names: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in names:
                    raise ValueError(f"line {key.start_mark.line + 1}: {key.value} is there twice")
                names.add(key.value)
            _check(key)
            _check(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check(item)
    elif node.tag in _NUMBERS and _NOT_DECIMAL.fullmatch(node.value):
        raise ValueError(
            f"{line}: YAML reads {node.value} as another number than it seems: write it without "
            "a colon and a zero before it, or in quotes"
        )
