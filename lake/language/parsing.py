"""Expressions as they are written: what a computed trait comes to, and who is in an audience.

The words are those of Segment's query language (its public API's `query-language` page), so far
as a batch can answer them::

    event('Order Completed').where(property('total') >= 100).within(90 days).sum(property('total'))
    trait('plan') = 'pro' AND (trait('orders') > 2 OR event('Visit').within(7 days).count() = 0)

- calls: ``event('name')`` of track calls, ``page('name')``, ``screen('name')``; no name: any
- filters: ``.where(condition on properties)``, ``.within(7 days)``, ``.between(7 days, 10 days)``
- reducers: ``.count()``; of a property ``.sum(p) .avg(p) .min(p) .max(p) .first(p) .last(p)
  .unique(p) .unique_count(p) .mode(p)``, ``.mode(p, n)`` where a value must occur n times (2)
- comparisons: ``= != < <= > >=``, ``exists``, ``absent``, ``contains``, ``omits``,
  ``starts_with``, ``ends_with``, ``one_of ('a', 'b')``, ``none_of``, ``before_date '2026-01-31'``,
  ``after_date``; of traits that are dates also ``within_last 7 days``, ``within_next``,
  ``before_last``, ``after_next``
- conditions: ``AND`` binds tighter than ``OR``, ``NOT`` tighter than both; a boolean trait may
  stand alone

A comparison with a missing value is false, also ``!=``, ``omits`` and ``none_of``; ``NOT`` of it
is then true. Everything is typed, and what does not fit is refused with its place in the text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any, cast

from lake.language.spelling import did_you_mean
from lake.language.tokens import Token, Wrong, tokens
from lake.language.tree import (
    REDUCED,
    Calls,
    Comparison,
    Computed,
    Condition,
    Junction,
    Not,
    Operand,
    Operator,
    Property,
    Reducer,
    Trait,
    Window,
)

_CALLS = {"event": "track", "page": "page", "screen": "screen"}
_UNITS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}
_FILTERS = ("where", "within", "between")
_RELATIVE = ("within_last", "within_next", "before_last", "after_next")
_SIGNS = ("=", "!=", "<", "<=", ">", ">=")
_WORDS = (
    *("exists", "absent", "contains", "omits", "starts_with", "ends_with"),
    *("one_of", "none_of", "before_date", "after_date", *_RELATIVE),
)
#: Which operators a type can take; a property's type is known from what it is compared with.
_TAKES: Mapping[str, tuple[str, ...]] = {
    "string": ("=", "!=", "contains", "omits", "starts_with", "ends_with", "one_of", "none_of"),
    "number": (*_SIGNS, "one_of", "none_of"),
    "integer": (*_SIGNS, "one_of", "none_of"),
    "boolean": ("=", "!="),
    "date": ("=", "!=", "before_date", "after_date", *_RELATIVE),
    "timestamp": ("before_date", "after_date", *_RELATIVE),
    "list": ("contains", "omits"),
    "property": (*_SIGNS, *(w for w in _WORDS[2:] if w not in _RELATIVE)),
}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_MOST_WINDOW = timedelta(days=3660)


@lru_cache(maxsize=4096)
def computed(text: str) -> Computed:
    """What the expression of a computed trait says. Raises Wrong."""
    parser = _Parser(list(tokens(text)))
    found = parser.calls_reduced()
    parser.end()
    return found


def audience(text: str, traits: Mapping[str, str]) -> Condition:
    """Who is in an audience; ``traits`` are those that may be named, with their types.

    Raises Wrong.
    """
    return _audience(text, tuple(sorted(traits.items())))


@lru_cache(maxsize=4096)
def _audience(text: str, traits: tuple[tuple[str, str], ...]) -> Condition:
    parser = _Parser(list(tokens(text)), dict(traits))
    found = parser.condition()
    parser.end()
    return found


@dataclass
class _Parser:
    """Reads words from left to right; ``traits`` is None inside `where`, where properties are."""

    words: list[Token]
    traits: Mapping[str, str] | None = field(default_factory=dict)
    at: int = 0

    # -- words

    @property
    def word(self) -> Token:
        return self.words[self.at]

    def next(self) -> Token:
        found = self.word
        self.at += found.kind != "end"
        return found

    def sign(self, sign: str) -> Token:
        if self.word.kind != "sign" or self.word.text != sign:
            raise Wrong(self.word.offset, f"found {self.word.shown}, wanted '{sign}'")
        return self.next()

    def is_sign(self, sign: str) -> bool:
        return self.word.kind == "sign" and self.word.text == sign

    def is_word(self, word: str) -> bool:
        return self.word.kind == "name" and self.word.text.lower() == word

    def name(self, known: Collection[str], what: str) -> Token:
        found = self.word
        if found.kind != "name" or found.text not in known:
            hint = did_you_mean(found.text, known) if found.kind == "name" else ""
            wanted = f"wanted {what}: {', '.join(known)}"
            raise Wrong(found.offset, f"found {found.shown}, {wanted}{hint}")
        return self.next()

    def text(self, what: str) -> Token:
        if self.word.kind != "text":
            raise Wrong(self.word.offset, f"found {self.word.shown}, wanted {what} in quotes")
        return self.next()

    def end(self) -> None:
        if self.word.kind != "end":
            raise Wrong(self.word.offset, f"found {self.word.shown}, wanted the end, AND or OR")

    # -- conditions

    def condition(self) -> Condition:
        return self._junction("or", lambda: self._junction("and", self._negated))

    def _junction(self, word: Any, part: Any) -> Condition:
        parts = [part()]
        while self.is_word(word):
            self.next()
            parts.append(part())
        return parts[0] if len(parts) == 1 else Junction(word, tuple(parts))

    def _negated(self) -> Condition:
        if self.is_word("not"):
            self.next()
            return Not(self._negated())
        if self.is_sign("("):
            self.next()
            inner = self.condition()
            self.sign(")")
            return inner
        return self._comparison()

    def _comparison(self) -> Condition:
        value = self._value()
        kind = _kind(value)
        if self.word.kind == "sign" and self.word.text in _SIGNS:
            operator = self.next()
        elif self.word.kind == "name" and not any(map(self.is_word, ("and", "or"))):
            operator = self.name(_WORDS, "a comparison")
        elif kind == "boolean":
            return Comparison(value, "=", (True,))
        else:
            known = ", ".join((*_SIGNS, *_WORDS))
            raise Wrong(self.word.offset, f"found {self.word.shown}, wanted a comparison: {known}")
        word = operator.text
        takes = ("exists", "absent", *_TAKES[kind.split(" ")[0]])
        if word not in takes:
            wanted = f"{_described(value)} takes {', '.join(takes)}"
            raise Wrong(operator.offset, f"found {word}, but {wanted}")
        return Comparison(value, cast(Operator, word), self._operands(word, kind))

    def _value(self) -> Property | Trait | Computed:
        if self.traits is None:
            self.name(("property",), "a value")
            return self._property_path()
        word = self.name(("trait", *_CALLS), "a value")
        if word.text != "trait":
            self.at -= 1
            return self.calls_reduced()
        self.sign("(")
        named = self.text("the name of a trait")
        self.sign(")")
        if named.text not in self.traits:
            known = f"wanted one of {', '.join(self.traits)}" if self.traits else "none is declared"
            hint = did_you_mean(named.text, self.traits)
            raise Wrong(named.offset, f"unknown trait '{named.text}', {known}{hint}")
        kind = self.traits[named.text]
        if not kind:
            advice = f"say its type under traits.{named.text}, to compare it"
            raise Wrong(named.offset, f"found a trait without a type; {advice}")
        return Trait(named.text, kind)

    def _operands(self, operator: str, kind: str) -> tuple[Operand, ...]:
        if operator in ("exists", "absent"):
            return ()
        if operator in _RELATIVE:
            return (self.length_of_time(),)
        if operator in ("one_of", "none_of"):
            self.sign("(")
            found = [self._operand(operator, kind)]
            while self.is_sign(","):
                self.next()
                found.append(self._operand(operator, kind))
            self.sign(")")
            if len({type(each) for each in found}) > 1:
                raise Wrong(
                    self.word.offset, "found texts and numbers in one list, wanted one kind"
                )
            return tuple(found)
        return (self._operand(operator, kind),)

    def _operand(self, operator: str, kind: str) -> Operand:
        wanted = _wanted(operator, kind)
        found = self.word
        value: Operand | None = None
        if found.kind == "text":
            value = found.text
        elif found.kind == "number":
            value = float(found.text)
        elif found.kind == "name" and found.text.lower() in ("true", "false"):
            value = found.text.lower() == "true"
        kinds = {"text": str, "a number": float, "true or false": bool, "a date in quotes": str}
        if value is None or (wanted != "a value" and not isinstance(value, kinds[wanted])):
            raise Wrong(found.offset, f"found {_found(found)}, wanted {wanted}")
        if wanted == "a date in quotes":
            _check_date(found)
        self.next()
        return value

    # -- calls

    def calls_reduced(self) -> Computed:
        """Calls, filters and a reducer."""
        kind = self.name(tuple(_CALLS), "calls")
        self.sign("(")
        name = self.next().text if self.word.kind == "text" else None
        self.sign(")")
        where: list[Condition] = []
        window: Window | None = None
        while True:
            self.sign(".")
            word = self.name((*_FILTERS, *REDUCED), "a filter or a reducer")
            self.sign("(")
            match word.text:
                case "where":
                    where.append(self._where())
                case "within" | "between":
                    if window is not None:
                        raise Wrong(word.offset, "found a second window, wanted one")
                    window = self._window(word)
                case reducer:
                    last = Computed(_calls(kind.text, name, where), cast(Reducer, reducer))
                    return self._reduced(last, window)

    def _where(self) -> Condition:
        outer, self.traits = self.traits, None
        found = self.condition()
        self.traits = outer
        self.sign(")")
        return found

    def _window(self, word: Token) -> Window:
        since, until = self.length_of_time(), timedelta(0)
        if word.text == "between":
            self.sign(",")
            since, until = sorted((since, self.length_of_time()), reverse=True)
        if since == until:
            raise Wrong(word.offset, "found a window of no length, wanted two different times")
        self.sign(")")
        return Window(since, until)

    def _reduced(self, asked: Computed, window: Window | None) -> Computed:
        path, least = None, 1
        if asked.reducer != "count":
            self.name(("property",), "a value")
            path = self._property_path()
        if asked.reducer == "mode":
            least = 2
            if self.is_sign(","):
                self.next()
                least = self._whole("how often a value must occur")
        self.sign(")")
        return Computed(asked.calls, asked.reducer, path, window, least)

    def _property_path(self) -> Property:
        self.sign("(")
        named = self.text("the name of a property")
        self.sign(")")
        path = tuple(named.text.split("."))
        if not all(path) or "'" in named.text or "\\" in named.text:
            raise Wrong(named.offset, "found no name, wanted names with a dot between them")
        return Property(path)

    def _whole(self, what: str) -> int:
        found = self.word
        if found.kind != "number" or not found.text.isdigit() or int(found.text) < 1:
            raise Wrong(found.offset, f"found {found.shown}, wanted a whole number: {what}")
        return int(self.next().text)

    def length_of_time(self) -> timedelta:
        """A number and a unit, such as ``7 days``."""
        start = self.word
        number = self._whole("of hours, days or weeks")
        unit = self.name(tuple(u for one in _UNITS for u in (one, f"{one}s")), "a unit of time")
        found = number * _UNITS[unit.text.removesuffix("s")]
        if found > _MOST_WINDOW:
            raise Wrong(start.offset, "found more than ten years, wanted at most ten")
        return found


def _calls(kind: str, name: str | None, where: list[Condition]) -> Calls:
    condition = where[0] if len(where) == 1 else Junction("and", tuple(where)) if where else None
    return Calls(cast(Any, _CALLS[kind]), name, condition)


def _kind(value: Property | Trait | Computed) -> str:
    return "property" if isinstance(value, Property) else value.type


def _described(value: Property | Trait | Computed) -> str:
    kind = _kind(value)
    if isinstance(value, Property):
        return "a property"
    name = f"'{value.name}'" if isinstance(value, Trait) else f"{value.reducer}()"
    return f"{name} is {'an' if kind[0] in 'aeiou' else 'a'} {kind}, which"


def _wanted(operator: str, kind: str) -> str:
    """What an operator compares a value of this kind with."""
    if operator in ("before_date", "after_date") or kind == "date":
        return "a date in quotes"
    if operator in ("contains", "omits", "starts_with", "ends_with"):
        return "text" if not kind.startswith("list of ") else _wanted("=", kind[8:])
    if operator in ("<", "<=", ">", ">="):
        return "a number"
    return {
        "string": "text",
        "number": "a number",
        "integer": "a number",
        "boolean": "true or false",
        "timestamp": "a date in quotes",
    }.get(kind, "a value")


def _found(token: Token) -> str:
    return {"text": "text", "number": "a number"}.get(token.kind, token.shown)


def _check_date(token: Token) -> None:
    """Raises Wrong unless the text is a day, or a time with its zone."""
    if not _is_date(token.text):
        raise Wrong(
            token.offset,
            "found another text, wanted a date such as '2026-01-31', or a time with its zone such "
            "as '2026-01-31T12:00:00Z'",
        )


def _is_date(text: str) -> bool:
    try:
        if _DATE.fullmatch(text):
            return bool(date.fromisoformat(text))
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
