"""A YAML file as plain values that remember their lines.

YAML 1.2: ``off``, ``yes`` and ``NO`` are text. Lists arrive as tuples. What cannot be represented
faithfully (a key given twice, a tag, an alias that contains itself) is a fault of its line, and
reading goes on, so that one reading shows every fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from lake.config.environment import FromEnvironment, expanded, is_reference, plain_value
from lake.errors import ConfigError

#: Where a value stands: the keys that lead to it, and the place in a list.
Place = tuple[str | int, ...]

_PLAIN_TAGS = {
    f"tag:yaml.org,2002:{name}"
    for name in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")
}


@dataclass(frozen=True)
class Fault:
    """Something wrong at a place.

    ``depends_on`` names other places the judgement rests on: where one of them is itself
    broken, the judgement is withheld.
    """

    place: Place
    text: str
    depends_on: tuple[Place, ...] = ()
    line: int | None = None
    column: int | None = None


@dataclass(frozen=True)
class Scalar:
    """A text as it is written in the file, without what opens it, and where it begins."""

    written: str
    line: int
    column: int

    @classmethod
    def of(cls, node: ScalarNode, text: str) -> Scalar:
        """The scalar of a node in the text of a file.

        Of a block (| or >) its header goes, of a quoted one the first quote; a quote that is
        written twice inside counts once.
        """
        start = node.start_mark
        written = text[start.index : node.end_mark.index]
        line, column = start.line + 1, start.column + 1
        if node.style in ("|", ">"):
            written = written.partition("\n")[2]
            line, column = line + 1, 1
        elif node.style in ("'", '"'):
            written = written[1:].replace("''", "' ") if node.style == "'" else written[1:]
            column += 1
        return cls(written, line, column)


@dataclass
class Document:
    """The values of a file, the line of each, and the faults met while reading it."""

    name: str
    values: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    scalars: dict[Place, Scalar] = field(default_factory=dict)
    #: The variables that each substituted scalar was made of; such a value is never shown.
    variables: dict[Place, tuple[str, ...]] = field(default_factory=dict)
    #: Places whose value could not be made out; nothing else is to be said about them.
    unread: set[Place] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)

    def line(self, place: Place) -> int:
        """The line of a place, or of the nearest place around it."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def position(self, place: Place, offset: int) -> tuple[int, int]:
        """Line and column, both from 1, of a character of the text at a place.

        Spaces and line breaks apart, a text stands in the file as it is read: so its characters
        are counted. A text with a variable's value in it is known by its beginning alone.
        """
        scalar = self.scalars[place]
        if place in self.variables:
            offset = 0
        wanted = sum(not c.isspace() for c in str(self.value(place))[:offset])
        line, column = scalar.line, scalar.column
        for c in scalar.written:
            if not c.isspace():
                if not wanted:
                    break
                wanted -= 1
            line, column = (line + 1, 1) if c == "\n" else (line, column + 1)
        return line, column

    def value(self, place: Place) -> Any:
        """The value at a place; None where there is none."""
        value: Any = self.values
        for part in place:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return None
        return value

    def refusal(self, faults: Iterable[Fault]) -> ConfigError:
        """One error that lists every fault once, by line, as ``file:line: key: what is wrong``."""
        listed = {
            (f.line or self.line(f.place), f.column or 0, dotted(f.place), f.text): None
            for f in faults
        }
        said = []
        for line, column, place, text in sorted(listed):
            where = f"{self.name}:{line}:{column}" if column else f"{self.name}:{line}"
            said.append(f"{where}: {place}: {text}" if place else f"{where}: {text}")
        return ConfigError("\n".join(said))


def dotted(place: Place) -> str:
    """A place as its reader would write it.

    >>> dotted(("identity", "blocked", "patterns", 0))
    'identity.blocked.patterns[0]'
    """
    return "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in place
    ).removeprefix(".")


def document(path: Path, environ: Mapping[str, str]) -> Document:
    """The file's values with the environment filled in.

    Raises ConfigError if the file cannot be read or is not YAML at all; everything smaller is
    collected in ``Document.faults``.
    """
    read = Document(str(path))
    try:
        text = path.read_text(encoding="utf-8")
        node = YAML(typ="safe", pure=True).compose(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: found bytes that are not UTF-8, wanted UTF-8 text") from error
    except YAMLError as error:
        raise read.refusal([_syntax_fault(error)]) from None
    if node is not None:
        read.values = _Walk(read, environ, text).value(node, ())
    return read


@dataclass
class _Walk:
    """One pass over the nodes of a file that fills a Document."""

    read: Document
    environ: Mapping[str, str]
    text: str
    open_nodes: list[int] = field(default_factory=list)

    def value(self, node: Node, place: Place) -> object:
        self.read.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, ScalarNode):
            self.read.scalars[place] = Scalar.of(node, self.text)
            return self.scalar(node, place)
        if id(node) in self.open_nodes:
            self.read.unread.add(place)
            self.fault(node, place, "found an alias that contains itself, wanted plain values")
            return None
        self.open_nodes.append(id(node))
        try:
            if isinstance(node, MappingNode):
                return self.mapping(node, place)
            assert isinstance(node, SequenceNode)
            return tuple(self.value(item, (*place, i)) for i, item in enumerate(node.value))
        finally:
            self.open_nodes.pop()

    def mapping(self, node: MappingNode, place: Place) -> dict[str, object]:
        values: dict[str, object] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.fault(key, place, "found a list or a mapping as a key, wanted text")
            elif key.value in values:
                first = self.read.lines[(*place, key.value)]
                self.fault(
                    key, (*place, key.value), f"found twice, first on line {first}, wanted once"
                )
            else:
                self.read.lines[(*place, key.value)] = key.start_mark.line + 1
                values[key.value] = self.value(value, (*place, key.value))
        return values

    def scalar(self, node: ScalarNode, place: Place) -> object:
        tag, text = str(node.tag), str(node.value)
        if tag not in _PLAIN_TAGS:
            self.read.unread.add(place)
            self.fault(node, place, "found a YAML tag (!), wanted a plain value")
            return text
        if "${" not in text:
            return plain_value(tag, text)
        result = expanded(text, self.environ)
        for fault in result.faults:
            self.read.unread.add(place)
            self.fault(node, place, fault)
        if result.variables:
            self.read.variables[place] = result.variables
        if result.faults or not is_reference(text):
            return result.text
        # An empty ${VAR} leaves a setting out, as an empty scalar does in YAML.
        return FromEnvironment(result.text) if result.text else None

    def fault(self, node: Node, place: Place, text: str) -> None:
        self.read.faults.append(Fault(place, text, line=node.start_mark.line + 1))


def _syntax_fault(error: YAMLError) -> Fault:
    """What ruamel says of a file that is not YAML, without the text it quotes.

    A quoted word may be the beginning of a secret; single characters and token names are not.
    """
    if not isinstance(error, MarkedYAMLError):
        return Fault((), "not YAML: found a control character, wanted plain text", line=1)
    said = " ".join(part for part in (error.context, error.problem) if part)
    said = re.sub(r"(['\"])([^'\"]*)\1", _shown, said)
    mark = error.problem_mark
    hint = "; inside {...} or [...], ${VAR} needs quotes" if "got '{'" in said else ""
    return Fault((), f"not YAML: {said}{hint}", line=mark.line + 1 if mark else 1)


def _shown(quoted: re.Match[str]) -> str:
    return quoted[0] if len(quoted[2]) < 3 or quoted[2].startswith("<") else "(not shown)"
