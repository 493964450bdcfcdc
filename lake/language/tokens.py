"""The words of an expression, each with its place in the text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["name", "text", "number", "sign", "end"]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<name>[A-Za-z_]\w*)
    | (?P<number>-?\d+(?:\.\d+)?)
    | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    | (?P<sign><=|>=|!=|[=<>().,])
    )""",
    re.VERBOSE | re.ASCII,
)


class Wrong(ValueError):
    """What is wrong with an expression, and at which character of it, from 0."""

    def __init__(self, offset: int, text: str) -> None:
        super().__init__(text)
        self.offset = offset
        self.text = text


@dataclass(frozen=True)
class Token:
    """One word: its kind, its text (of a quoted one, what is in the quotes), where it begins."""

    kind: Kind
    text: str
    offset: int

    @property
    def shown(self) -> str:
        """The word for a message."""
        return "the end" if self.kind == "end" else f"'{self.text}'"


def tokens(text: str) -> Iterator[Token]:
    """The words of an expression, and an end. A quote inside quotes is written twice.

    Raises Wrong at the first character that begins no word.
    """
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            if text[start] in "'\"":
                raise Wrong(start, "found a quotation that does not end, wanted its second quote")
            raise Wrong(start, f"found {text[start]!r}, wanted a word, a number, a text or a sign")
        kind = found.lastgroup
        assert kind is not None
        word = found[kind]
        if kind == "text":
            word = word[1:-1].replace(word[0] * 2, word[0])
        yield Token(kind, word, found.start(found.lastgroup or 0))  # type: ignore[arg-type]
        at = found.end()
    yield Token("end", "", len(text.rstrip()))
