"""Values changed in the text of a YAML file, its comments left as they are."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from minimind.config import apply_overrides

KEY = re.compile(r"^(?P<indent> *)(?P<key>[\w-]+):(?P<space> *)(?P<value>[^#\n]*?) *(?P<hash>#.*)?$")
REPLACED = {"training.preset": "training.sizes"}  # which stands in place of the other


def with_values(text: str, values: Mapping[str, Any]) -> str:
    """`values` are by `section.key`. Where a value is no plain text on its key's line, the whole is written anew."""
    wanted = yaml.safe_load(text)
    for path, value in values.items():
        put(wanted, path, value)
    return as_text(wanted, text, values)


def with_overrides(text: str, overrides: Sequence[str]) -> str:
    """`overrides` are `section.key=value`, as `--set` has them. Raises ConfigError for what is none."""
    wanted = yaml.safe_load(text)
    apply_overrides(wanted, overrides)
    paths = [override.partition("=")[0].strip() for override in overrides]
    return as_text(wanted, text, {path: value_at(wanted, path) for path in paths})


def as_text(wanted: dict[str, Any], text: str, values: Mapping[str, Any]) -> str:
    """The text with these values in their lines, where that says what is wanted."""
    edited = "\n".join(changed_lines(text.split("\n"), values))
    if read(edited) == wanted:
        return edited
    return str(yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True, width=120))


def value_at(tree: dict[str, Any], path: str) -> Any:
    """None where a later override has taken it away."""
    *sections, key = path.split(".")
    for section in sections:
        tree = tree[section]
    return tree.get(key)


def put(tree: dict[str, Any], path: str, value: Any) -> None:
    *sections, key = path.split(".")
    node = tree
    for section in sections:
        node = node[section]
    node[key] = value
    if path in REPLACED:
        node.pop(REPLACED[path].rpartition(".")[2], None)


def changed_lines(lines: list[str], values: Mapping[str, Any]) -> list[str]:
    above: list[tuple[int, str]] = []  # indent and key of the sections that a line lies in
    changed = []
    for line in lines:
        if found := KEY.match(line):
            indent = len(found["indent"])
            above = [*(section for section in above if section[0] < indent), (indent, found["key"])]
            path = ".".join(key for _, key in above)
            if path in values:
                line = with_value(found, written(values[path]))
        changed.append(line)
    return changed


def with_value(line: re.Match[str], value: str) -> str:
    """Its comment stays in its column, if there is room."""
    begin = f"{line['indent']}{line['key']}:{line['space'] or ' '}{value}"
    return f"{begin:<{line.start('hash') - 1}} {line['hash']}" if line["hash"] else begin


def written(value: Any) -> str:
    """On one line."""
    if isinstance(value, str) and re.fullmatch(r"[\w-]+( [a-z]+)?", value) and yaml.safe_load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def read(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None
