"""YAML to plain values, remembering the line of every key and item, and refusing what YAML lets pass silently."""

from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]
_MAX_NODES = 100_000
# What a double still holds; Python refuses to print much larger ones.
_MAX_BITS = 1000


@dataclass
class YamlError(Exception):
    """The text is not the YAML we accept; `line` counts from 1, `path` is as far as it is known."""

    line: int
    message: str
    path: Path = ()


@dataclass
class Document:
    """A parsed file: its value and the line (from 1) on which each path begins."""

    value: Any
    lines: dict[Path, int] = field(default_factory=dict)

    def line_of(self, path: Path) -> int:
        """Line of `path`, or of its nearest ancestor that stands in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def parse(text: str) -> Document:
    """Parse one YAML document. Raises YamlError on bad syntax, a duplicate key or a key that is not text."""
    surrogate = next((i for i, c in enumerate(text) if "\ud800" <= c <= "\udfff"), None)
    if surrogate is not None:
        raise YamlError(text.count("\n", 0, surrogate) + 1, "half of a surrogate pair, which no text can hold")
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        raise YamlError(line, f"not valid YAML: the character {error.character!r} is not allowed") from error
    try:
        node = loader.get_single_node()
        document = Document(None)
        if node is not None:
            document.value = _Reader(loader, document.lines).read(node, (), ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(filter(None, [error.context, error.problem])) or "not YAML"
        raise YamlError(mark.line + 1 if mark else 1, f"not valid YAML: {problem}") from error
    except yaml.YAMLError as error:
        raise YamlError(1, f"not valid YAML: {error}") from error
    except RecursionError as error:
        raise YamlError(loader.line + 1, "not a scenario: nested too deep") from error
    finally:
        loader.dispose()
    return document


class _Reader:
    def __init__(self, loader: yaml.SafeLoader, lines: dict[Path, int]) -> None:
        self._loader, self._lines, self._nodes = loader, lines, 0

    def read(self, node: yaml.Node, path: Path, above: tuple[int, ...]) -> Any:
        line = node.start_mark.line + 1
        self._lines.setdefault(path, line)
        self._nodes += 1
        if id(node) in above:
            raise YamlError(line, "an alias that contains itself", path)
        if self._nodes > _MAX_NODES:
            raise YamlError(line, f"more than {_MAX_NODES} values", path)
        inside = (*above, id(node))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, inside)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(item, (*path, i), inside) for i, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        value = self._construct(node, path)
        if isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
            raise YamlError(line, "half of a surrogate pair, which no text can hold", path)
        if isinstance(value, str) and "\0" in value:
            raise YamlError(line, "a NUL character, which no name or path can hold", path)
        if isinstance(value, int) and value.bit_length() > _MAX_BITS:
            raise YamlError(line, f"a number of more than {_MAX_BITS} bits", path)
        return value

    def _construct(self, node: yaml.Node, path: Path) -> Any:
        try:
            return self._loader.construct_object(node, deep=True)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            # A date like 2026-02-30 fits YAML's pattern and no calendar; `!!bool abc` names a type it is not.
            kind = node.tag.rpartition(":")[2]
            message = f"not valid YAML: {str(node.value)[:60]!r} is no {kind}"
            raise YamlError(node.start_mark.line + 1, message, path) from error

    def _mapping(self, node: yaml.MappingNode, path: Path, above: tuple[int, ...]) -> dict[str, Any]:
        own = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        self._loader.flatten_mapping(node)
        result: dict[str, Any] = {}
        # Merged keys come first, so that a key of the mapping itself overrides one it merged.
        merged = len(node.value) - len(own)
        for index, (key_node, value_node) in enumerate(node.value):
            line = key_node.start_mark.line + 1
            key = self._scalar(key_node, path)
            if not isinstance(key, str):
                raise YamlError(line, f"key {key!r} is not text; quote it", path)
            if index >= merged and key in own[: index - merged]:
                raise YamlError(line, f"key {key!r} stands twice in one mapping", path)
            self._lines[(*path, key)] = line
            result[key] = self.read(value_node, (*path, key), above)
        return result
