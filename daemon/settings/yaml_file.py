"""YAML 1.2 with the place of every key and value, so that every mistake can be shown where it stands.

Scalars follow YAML 1.2's core schema (`NO`, `on` and `2026-11-02` are text), and a number that would
lose its form (`0042`) stays text. Keys are always text. A key that comes twice is a problem.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from daemon.settings.problems import ConfigError, KeyPath, Place, Problem, problem_at

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | {
    form: word == "true" for word in ("true", "false") for form in (word, word.title(), word.upper())
}


class Places:
    """Where keys and values stand, by their path. `root` answers for what stands nowhere."""

    def __init__(self, root: Place) -> None:
        self.root = root
        self.keys: dict[KeyPath, Place] = {}
        self.values: dict[KeyPath, Place] = {}

    def key(self, path: KeyPath) -> Place:
        """Where the key stands, else the nearest key above it."""
        return self._nearest(path, self.keys, self.values)

    def value(self, path: KeyPath) -> Place:
        """Where the value stands, else the nearest value above it."""
        return self._nearest(path, self.values, self.keys)

    def _nearest(self, path: KeyPath, first: dict[KeyPath, Place], second: dict[KeyPath, Place]) -> Place:
        for length in range(len(path), 0, -1):
            found = first.get(path[:length]) or second.get(path[:length])
            if found:
                return found
        return self.root

    def take(self, other: "Places", moves: Mapping[KeyPath, KeyPath]) -> None:
        """Copies what `other` knows at and under the moved paths (of one or two parts) to where they go."""
        for own, theirs in ((self.keys, other.keys), (self.values, other.values)):
            for path, place in theirs.items():
                for length in (1, 2):
                    target = moves.get(path[:length]) if len(path) >= length else None
                    if target is not None:
                        own[target + path[length:]] = place
                        break


class Document:
    """One file, read: its data, where everything stands, and what is wrong with its form."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data: dict[str, Any] = {}
        self.places = Places(Place(str(path), 1, 1))
        self.problems: list[Problem] = []


def read_yaml(path: Path) -> Document:
    """Reads a file whose top is a mapping (nothing at all counts as an empty one).

    Raises ConfigError when it cannot be read or is no YAML; lesser mistakes are in `problems`.
    """
    document = Document(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        problem = Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror}", "name a file that can be read")
        raise ConfigError([problem]) from None
    except UnicodeDecodeError as error:
        problem = Problem(str(path), 0, 0, "", f"is not UTF-8 at byte {error.start}", "save it as UTF-8")
        raise ConfigError([problem]) from None
    try:
        node = YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        what = " ".join(part for part in (error.context, error.problem) if part)
        tab = "\\t" in what
        remedy = "indent with blanks, not with tabs" if tab else "look for a bracket, quote or indentation before it"
        raise ConfigError([Problem(str(path), line, column, "", f"is not YAML: {what}", remedy)]) from None
    except YAMLError as error:
        problem = Problem(str(path), 0, 0, "", f"is not YAML: {str(error).splitlines()[0]}", "save it as plain text")
        raise ConfigError([problem]) from None
    if isinstance(node, MappingNode):
        document.data = _Walk(document).mapping(node, ())
    elif node is not None and not (isinstance(node, ScalarNode) and _scalar(node.value, plain=not node.style) is None):
        text = "must be a mapping of keys to values"
        raise ConfigError([problem_at(document.places.root, (), text, "begin with a key: mode: shadow")])
    return document


class _Walk:
    """Turns the nodes of one document into data, noting places on the way."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._open: list[Node] = []

    def mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._problem(key_node, path, "a key must be text", "write key: value")
                continue
            key = self._text(key_node, path)
            if key in data:
                first = self._document.places.keys[*path, key]
                self._problem(
                    key_node, (*path, key), "is given twice", f"the first one is in line {first.line}: remove one"
                )
                continue
            self._document.places.keys[*path, key] = self._place(key_node)
            data[key] = self._value(value_node, (*path, key))
        return data

    def _value(self, node: Node, path: KeyPath) -> Any:
        self._document.places.values[path] = self._place(node)
        if any(node is outer for outer in self._open):
            self._problem(node, path, "refers to itself", "break the circle of anchors")
            return None
        if isinstance(node, ScalarNode):
            return _scalar(self._text(node, path), plain=not node.style)
        self._open.append(node)
        try:
            if isinstance(node, SequenceNode):
                return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
            return self.mapping(node, path) if isinstance(node, MappingNode) else None
        finally:
            self._open.pop()

    def _text(self, node: ScalarNode, path: KeyPath) -> str:
        """The text of a scalar. JSON writes characters beyond 16 bits as two escapes, which belong together."""
        text = str(node.value)
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._problem(node, path, "holds half a character (an escape \\uD800 to \\uDFFF alone)", "write it out")
            return text.encode("utf-8", "replace").decode()

    def _place(self, node: Node) -> Place:
        return Place(str(self._document.path), node.start_mark.line + 1, node.start_mark.column + 1)

    def _problem(self, node: Node, path: KeyPath, text: str, remedy: str) -> None:
        self._document.problems.append(problem_at(self._place(node), path, text, remedy))


def _scalar(text: str, *, plain: bool) -> Any:
    """The value of a scalar under the core schema; quoted and block scalars (not plain) are text."""
    if not plain:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
