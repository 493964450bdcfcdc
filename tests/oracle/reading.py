"""From landed lines to accepted calls, rejections and duplicates."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from xxhash import xxh3_128_hexdigest

from .extracting import Body, found, normalised
from .settings import IdSet, Line, Settings

TYPES = ("identify", "track", "page", "screen", "group", "alias")
TIMES = ("receivedAt", "sentAt", "timestamp", "originalTimestamp")
TIME = r"(?a)\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?)?"
#: Numbers stay as they were written; `int` refuses NaN and Infinity, which are not JSON.
DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=int)


class Refused(Exception):
    """A line is no call; its argument is the reason."""


@dataclass(frozen=True)
class Call:
    """An accepted call. Times in UTC; `traits` are the exact JSON text of each top-level trait."""

    line: Line
    message_id: str
    type: str
    received_at: datetime
    received_from: str  # which field, or `object`
    timestamp: datetime | None
    ids: IdSet
    traits: dict[str, str]

    def order(self, settings: Settings) -> tuple[datetime, datetime, str]:
        """The clock that orders (its day is the call's day), the other, the message id."""
        times = (self.received_at, self.timestamp or self.received_at)
        return *(times[::-1] if settings.order_by == "timestamp" else times), self.message_id


@dataclass(frozen=True)
class Reading:
    """Every line that is not blank is in exactly one: a call, by the clock; refused, with the
    reason; a duplicate, with the message id and whether the payload differed."""

    calls: list[Call]
    rejected: list[tuple[Line, str]]
    duplicates: list[tuple[Line, str, bool]]


def skip(text: str, at: int) -> int:
    """The position after blanks."""
    return len(text) - len(text[at:].lstrip(" \t\r\n"))


def one_object(text: str) -> Body:
    """The only value of a line, which must be an object."""
    values, at, end = list[Any](), skip(text, 0), 0
    try:
        while at < len(text) or not values:
            if values and at == end and text[end - 1] not in '}]"':
                raise Refused("not_json")
            value, end = DECODER.raw_decode(text, at)
            values, at = [*values, value], skip(text, end)
    except (ValueError, RecursionError):
        raise Refused("not_json") from None
    if len(values) > 1:
        raise Refused("two_values")
    if not isinstance(values[0], dict):
        raise Refused("not_an_object")
    return values[0]


def members(text: str) -> dict[str, str]:
    """The exact text of each value of a sound JSON object; the last of equal keys."""
    texts: dict[str, str] = {}
    at = skip(text, 0)
    while text[at := skip(text, at + 1)] != "}":  # from a brace or a comma to a key
        key, at = DECODER.raw_decode(text, at)
        start = skip(text, skip(text, at) + 1)
        _, end = DECODER.raw_decode(text, start)
        texts[key] = text[start:end]
        if text[at := skip(text, end)] == "}":
            break
    return texts


def moment(value: Any) -> datetime | None:
    """An ISO-8601 time in UTC; None where it is none. Without a zone it is UTC."""
    if not isinstance(value, str) or not re.fullmatch(TIME, value):
        return None
    try:
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def digest(raw: bytes) -> str:
    return blake2b(raw, digest_size=16).hexdigest()


def accepted(line: Line, settings: Settings) -> Call:
    """The call of a line, or Refused."""
    if line.raw is None:
        raise Refused("unreadable_rest")
    if len(line.raw) > 1 << 20:
        raise Refused("line_too_long")
    try:
        body = one_object(text := line.raw.decode("utf-8"))
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeError:
        raise Refused("invalid_utf8") from None
    if body.get("type") not in TYPES:
        raise Refused("missing_type" if body.get("type") is None else "unknown_type")
    sent = found(body, settings)
    if any(len(value) > 1000 for _, value in sent):
        raise Refused("identifier_too_long")
    given = body.get("messageId")
    times = {name: moment(body.get(name)) for name in TIMES}
    received_from = next((name for name in TIMES if times[name]), "object")
    return Call(
        line,
        given if isinstance(given, str) and given else f"sha:{digest(line.raw)}",
        body["type"],
        times.get(received_from) or line.changed.astimezone(UTC),
        received_from,
        times["timestamp"],
        frozenset((t, n) for t, v in sent if (n := normalised(v, settings.rule(t))) is not None),
        members(members(text)["traits"]) if isinstance(body.get("traits"), dict) else {},
    )


def read(lines: Iterable[Line], settings: Settings) -> Reading:
    """Accept, refuse and deduplicate: of calls with one message id the earliest is kept."""
    by_id: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
    reading = Reading([], [], [])
    for line in lines:
        if line.raw is not None and not line.raw.strip(b" \t\r\n"):
            continue
        try:
            call = accepted(line, settings)
        except Refused as refusal:
            reading.rejected.append((line, str(refusal)))
            continue
        times = (call.received_at, call.timestamp or call.received_at)
        place = (line.source, line.object, line.number)
        by_id[call.message_id].append((*times, xxh3_128_hexdigest(line.raw or b""), *place, call))
    for message_id, candidates in by_id.items():
        (*_, winner), *others = sorted(candidates, key=lambda each: each[:-1])
        reading.calls.append(winner)
        for *_, call in others:
            reading.duplicates.append((call.line, message_id, call.line.raw != winner.line.raw))
    reading.calls.sort(key=lambda call: call.order(settings))
    return reading
