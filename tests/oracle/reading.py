"""From landed lines to accepted calls, rejections and duplicates."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from xxhash import xxh3_128_hexdigest

from .extracting import found, normalised
from .settings import IdSet, Line, Settings

BLANKS = " \t\r\n"
TYPES = ("identify", "track", "page", "screen", "group", "alias")
TIMES = ("receivedAt", "sentAt", "timestamp", "originalTimestamp")
TIME = r"(?a)\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?)?"
#: Numbers stay as they were written; `int` refuses NaN and Infinity, which are not JSON.
DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=int)


class Refused(Exception):
    """A line is no call; its argument is the reason."""


@dataclass(frozen=True)
class Call:
    """Accepted. `at` is the time by the clock that orders, `traits` each one's exact JSON text."""

    line: Line
    message_id: str
    type: str
    received_at: datetime
    happened: datetime
    at: datetime
    ids: IdSet
    traits: dict[str, str]


@dataclass(frozen=True)
class Reading:
    """Every line that is not blank is in exactly one: a call, by the clock; refused, with the
    reason; a duplicate, with the message id and whether the payload differed."""

    calls: list[Call]
    rejected: list[tuple[Line, str]]
    duplicates: list[tuple[Line, str, bool]]


def values(text: str) -> Iterator[Any]:
    """The JSON values of a line; ValueError where something else stands there."""
    while text := text.strip(BLANKS):
        value, end = DECODER.raw_decode(text)
        if text[end - 1] not in '}]"' and text[end : end + 1].strip(BLANKS):
            raise ValueError
        yield value
        text = text[end:]


def members(text: str) -> dict[str, str]:
    """The exact text of each value of a sound JSON object; the last of equal keys."""
    texts, rest = dict[str, str](), text.strip(BLANKS)[1:-1].lstrip(BLANKS)
    while rest:
        key, end = DECODER.raw_decode(rest)
        rest = rest[end:].lstrip(BLANKS + ":")
        _, end = DECODER.raw_decode(rest)
        texts[key], rest = rest[:end], rest[end:].lstrip(BLANKS + ",")
    return texts


def moment(value: Any) -> datetime | None:
    """An ISO-8601 time in UTC; None where it is none. Without a zone it is UTC."""
    try:
        time = datetime.fromisoformat(value if re.fullmatch(TIME, value) else "")
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def accepted(line: Line, settings: Settings) -> Call:
    """The call of a line, or Refused."""
    if line.raw is None:
        raise Refused("unreadable_rest")
    if len(line.raw) > 1 << 20:
        raise Refused("line_too_long")
    try:
        body, *more = values(text := line.raw.decode("utf-8"))
        if more or not isinstance(body, dict):
            raise Refused("two_values" if more else "not_an_object")
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeError:
        raise Refused("invalid_utf8") from None
    except (ValueError, RecursionError):
        raise Refused("not_json") from None
    if body.get("type") not in TYPES:
        raise Refused("missing_type" if body.get("type") is None else "unknown_type")
    sent = found(body, settings)
    if any(len(value) > 1000 for _, value in sent):
        raise Refused("identifier_too_long")
    given = body.get("messageId")
    times = {name: moment(body.get(name)) for name in TIMES}
    received = next(filter(None, times.values()), line.changed.astimezone(UTC))
    happened = times["timestamp"] or received
    named = isinstance(given, str) and given
    return Call(
        line,
        given if named else f"sha:{blake2b(line.raw, digest_size=16).hexdigest()}",
        body["type"],
        received,
        happened,
        happened if settings.order_by == "timestamp" else received,
        frozenset((t, n) for t, v in sent if (n := normalised(v, settings.rule(t))) is not None),
        members(members(text)["traits"]) if isinstance(body.get("traits"), dict) else {},
    )


def read(lines: Iterable[Line], settings: Settings) -> Reading:
    """Accept, refuse and deduplicate: of calls with one message id the earliest is kept."""
    by_id: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)
    reading = Reading([], [], [])
    for line in lines:
        if line.raw is not None and not line.raw.strip(BLANKS.encode()):
            continue
        try:
            call = accepted(line, settings)
        except Refused as refusal:
            reading.rejected.append((line, str(refusal)))
            continue
        order = call.received_at, call.happened, xxh3_128_hexdigest(line.raw or b"")
        by_id[call.message_id].append((*order, line.source, line.object, line.number, call))
    for message_id, candidates in by_id.items():
        (*_, winner), *others = sorted(candidates, key=lambda each: each[:-1])
        reading.calls.append(winner)
        for *_, call in others:
            reading.duplicates.append((call.line, message_id, call.line.raw != winner.line.raw))
    reading.calls.sort(key=lambda call: (call.at, call.received_at, call.happened, call.message_id))
    return reading
