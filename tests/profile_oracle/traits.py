"""Which value of a trait is published, and why each other one is not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from tests.profile_oracle.calls import Told

BEATEN = {
    "latest": "older",
    "never_empty": "older",
    "first": "later",
    "most_frequent": "less_frequent",
    "longest": "shorter",
    "highest": "lower",
    "lowest": "higher",
}
MISSING = object()


@dataclass(frozen=True)
class Rule:
    """What is said of a trait: spellings of its name, or of the steps of its path."""

    name: str
    spellings: tuple[tuple[str, ...], ...]
    rule: str = "latest"
    sources: tuple[str, ...] = ()
    max_age: timedelta | None = None
    type: str | None = None


@dataclass
class Value:
    """One value by one source: its JSON text and the calls that told it."""

    text: str
    source: str
    calls: list[Told] = field(default_factory=list)

    @property
    def plain(self) -> str:
        value = json.loads(self.text)
        return value if isinstance(value, str) else self.text


@dataclass(frozen=True)
class Verdict:
    """The winner (None: there is none), the call it is told by, and each loser's reason."""

    value: str | None
    message: str | None
    lost: dict[tuple[str, str], tuple[str, int]]


def judged(rule: Rule, calls: Iterable[Told], as_of: datetime) -> Verdict:
    """The verdict on one trait of one profile."""
    values: dict[tuple[str, str], Value] = {}
    nulls: list[Told] = []
    for call in calls:
        for told in told_values(rule, call):
            if told is None:
                nulls.append(call)
            else:
                text = json.dumps(told)
                own = values.setdefault((text, call.source), Value(text, call.source))
                own.calls.append(call)
    out = {key: why for key, v in values.items() if (why := why_out(rule, v, nulls, as_of))}
    running = [v for key, v in values.items() if key not in out]
    lost = {key: (why, len(values[key].calls)) for key, why in out.items()}
    if not running:
        return Verdict(None, None, lost)
    if rule.rule == "list":
        return whole_list(running, lost)
    everything = list(values.values())
    best = running[0]
    for other in running[1:]:
        if beats(rule, other, best, everything):
            best = other
    for v in running:
        if v is not best:
            lost[v.text, v.source] = (why_beaten(rule, v, best, everything), len(v.calls))
    call = best.calls[0] if rule.rule == "first" else best.calls[-1]
    return Verdict(best.text, call.body["messageId"], lost)


def whole_list(running: list[Value], lost: dict[tuple[str, str], tuple[str, int]]) -> Verdict:
    by_text: dict[str, list[Told]] = {}
    for v in running:
        by_text.setdefault(v.text, []).extend(v.calls)
    ordered = sorted(by_text, key=lambda t: (min(c.order for c in by_text[t]), t))
    newest = max((c for v in running for c in v.calls), key=lambda c: c.order)
    return Verdict(f"[{','.join(ordered)}]", newest.body["messageId"], lost)


def told_values(rule: Rule, call: Told) -> Iterator[Any]:
    """The values a call tells of a trait; None where it removes it."""
    if call.body["type"] != "identify":
        return
    traits = call.body.get("traits")
    if not isinstance(traits, dict):
        return
    if len(rule.spellings) > 1 and rule.name in traits:
        yield traits[rule.name]
    places: list[Any] = [traits]
    for step in rule.spellings:
        places = [
            None if place is None else place[spelling]
            for place in places
            for spelling in step
            if place is None or (isinstance(place, dict) and spelling in place)
        ]
    yield from places


def rank(rule: Rule, source: str) -> int:
    return rule.sources.index(source) if source in rule.sources else len(rule.sources)


def why_out(rule: Rule, value: Value, nulls: list[Told], as_of: datetime) -> str | None:
    last = value.calls[-1]
    if rule.rule == "never_empty":
        if value.text in ("[]", "{}") or not value.plain.strip(" "):
            return "empty"
    elif any(
        n.order > last.order and rank(rule, n.source) <= rank(rule, value.source) for n in nulls
    ):
        return "removed"
    if rule.max_age is not None and last.at < as_of - rule.max_age:
        return "expired"
    if rule.rule in ("highest", "lowest") and number(rule, value) is None:
        return "not_comparable"
    return None


def number(rule: Rule, value: Value) -> float | None:
    if rule.type == "date":
        return found.toordinal() if (found := typed("date", value.plain)) else None
    return typed("number", value.plain)


def score(rule: Rule, value: Value, everything: list[Value]) -> Any:
    match rule.rule:
        case "most_frequent":
            return sum(len(v.calls) for v in everything if v.text == value.text)
        case "longest":
            return len(value.plain)
        case "highest":
            return number(rule, value)
        case "lowest":
            found = number(rule, value)
            assert found is not None
            return -found
        case _:
            return 0


def beats(rule: Rule, a: Value, b: Value, everything: list[Value]) -> bool:
    ranks = rank(rule, a.source), rank(rule, b.source)
    if ranks[0] != ranks[1]:
        return ranks[0] < ranks[1]
    scores = score(rule, a, everything), score(rule, b, everything)
    if scores[0] != scores[1]:
        return bool(scores[0] > scores[1])
    if rule.rule == "first" and a.calls[0].order != b.calls[0].order:
        return a.calls[0].order < b.calls[0].order
    if a.calls[-1].order != b.calls[-1].order:
        return a.calls[-1].order > b.calls[-1].order
    return (a.text, a.source) < (b.text, b.source)


def why_beaten(rule: Rule, value: Value, best: Value, everything: list[Value]) -> str:
    if value.text == best.text:
        return "agrees"
    if rank(rule, value.source) > rank(rule, best.source):
        return "lesser_source"
    by_score = rule.rule in ("most_frequent", "longest", "highest", "lowest")
    if by_score and score(rule, value, everything) == score(rule, best, everything):
        return "older"
    return BEATEN[rule.rule]


TYPED: dict[str, tuple[str, Callable[[str], Any]]] = {
    "string": (r"(?s).*", str),
    "number": (r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", float),
    "integer": (r"[+-]?\d{1,18}(\.0*)?", lambda plain: int(plain.split(".")[0])),
    "boolean": (r"(?i)true|false", lambda plain: plain.lower() == "true"),
    "date": (r"\d{4}-\d{2}-\d{2}.*", lambda plain: date.fromisoformat(plain[:10])),
}


def typed(kind: str, plain: str) -> Any:
    """Plain text as a type; None where it is not of it."""
    pattern, read = TYPED[kind]
    with suppress(ValueError):
        return read(plain) if re.fullmatch(pattern, plain) else None
    return None
