"""YAML as plain data: without objects, aliases, and nesting that no settings have."""

from typing import Any

_DEEPEST = 32  # levels of lists and tables; a parser that recurses fails at a thousand


def plain_yaml(text: str) -> Any:
    """Parse YAML as dictionaries, lists, texts, numbers, dates, true, false and null.

    Raises:
        ValueError: it has an alias, which may be endless, or is nested too deeply.
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
    return yaml.safe_load(text)
