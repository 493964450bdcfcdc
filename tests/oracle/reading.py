"""From landed lines to accepted calls, rejections and duplicates."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import blake2b
from typing import Any, NoReturn

from xxhash import xxh3_128_hexdigest

from .extracting import Body, dig, found, identity_set
from .settings import IdSet, Line, Settings

TYPES = ("identify", "track", "page", "screen", "group", "alias")
BLANKS = re.compile(r"[ \t\r\n]*")
TIME = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?)?", re.ASCII
)


class Refused(Exception):
    """A line is no call; its argument is the reason, one word of the vocabulary."""


class Number(str):
    """A JSON number as it was written."""


def _constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=_constant)


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

    @property
    def time(self) -> datetime:
        return self.timestamp or self.received_at

    @property
    def arrival(self) -> tuple[datetime, datetime, str]:
        return self.received_at, self.time, self.message_id

    def order(self, settings: Settings) -> tuple[datetime, datetime, str]:
        if settings.order_by == "timestamp":
            return self.time, self.received_at, self.message_id
        return self.arrival

    def day(self, settings: Settings) -> date:
        """The UTC day by the clock that orders."""
        return self.order(settings)[0].date()


@dataclass(frozen=True)
class Reading:
    """Every line that is not blank is in exactly one of the three."""

    calls: list[Call]
    rejected: list[tuple[Line, str]]  # with the reason
    duplicates: list[tuple[Line, str, bool]]  # with the message id, whether the payload differed


def skip(text: str, at: int) -> int:
    """The position after blanks."""
    blanks = BLANKS.match(text, at)
    return blanks.end() if blanks else at


def json_value(text: str, at: int) -> tuple[Any, int]:
    try:
        return DECODER.raw_decode(text, at)
    except (ValueError, RecursionError):
        raise Refused("not_json") from None


def one_object(text: str) -> Body:
    """The only value of a line, which must be an object of well-formed strings."""
    value, end = json_value(text, skip(text, 0))
    several = False
    while (at := skip(text, end)) < len(text):
        if at == end and text[end - 1] not in '}]"':
            raise Refused("not_json")
        several, (_, end) = True, json_value(text, at)
    if several:
        raise Refused("two_values")
    if not isinstance(value, dict):
        raise Refused("not_an_object")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Refused("invalid_utf8") from None
    return value


def members(text: str) -> dict[str, str]:
    """The exact text of each value of a sound JSON object; the last of equal keys."""
    texts: dict[str, str] = {}
    at = skip(text, skip(text, 0) + 1)
    while text[at] != "}":
        key, at = DECODER.raw_decode(text, at)
        start = skip(text, skip(text, at) + 1)
        _, end = DECODER.raw_decode(text, start)
        texts[key] = text[start:end]
        at = skip(text, end)
        if text[at] == ",":
            at = skip(text, at + 1)
    return texts


def moment(value: Any) -> datetime | None:
    """An ISO-8601 time in UTC; None where it is none. Without a zone it is UTC."""
    if not isinstance(value, str) or not TIME.fullmatch(value):
        return None
    try:
        time = datetime.fromisoformat(value)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def receipt(body: Body, line: Line) -> tuple[datetime, str]:
    for name in ("receivedAt", "sentAt", "timestamp", "originalTimestamp"):
        if time := moment(dig(body, name)):
            return time, name
    return line.changed.astimezone(UTC), "object"


def digest(raw: bytes) -> str:
    return blake2b(raw, digest_size=16).hexdigest()


def accepted(line: Line, settings: Settings) -> Call:
    """The call of a line, or Refused."""
    raw = line.raw
    if raw is None:
        raise Refused("unreadable_rest")
    if len(raw) > settings.longest_line:
        raise Refused("line_too_long")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused("invalid_utf8") from None
    body = one_object(text)
    if body.get("type") is None:
        raise Refused("missing_type")
    if body["type"] not in TYPES:
        raise Refused("unknown_type")
    sent = found(body, settings)
    if any(len(value) > settings.longest_identifier for _, value in sent):
        raise Refused("identifier_too_long")
    given = body.get("messageId")
    traits = members(members(text)["traits"]) if isinstance(body.get("traits"), dict) else {}
    return Call(
        line,
        given if isinstance(given, str) and given else f"sha:{digest(raw)}",
        body["type"],
        *receipt(body, line),
        moment(body.get("timestamp")),
        identity_set(sent, settings),
        traits,
    )


def read(lines: Iterable[Line], settings: Settings) -> Reading:
    """Accept, refuse and deduplicate: of calls with one message id the earliest is kept."""
    by_id: defaultdict[str, list[tuple[Any, Call]]] = defaultdict(list)
    rejected = []
    for line in lines:
        if line.raw is not None and not line.raw.strip(b" \t\r\n"):
            continue
        try:
            call = accepted(line, settings)
        except Refused as refusal:
            rejected.append((line, str(refusal)))
            continue
        payload = (xxh3_128_hexdigest(line.raw or b""), line.source, line.object, line.number)
        by_id[call.message_id].append(((call.received_at, call.time, *payload), call))
    calls, duplicates = [], []
    for message_id, candidates in by_id.items():
        (_, winner), *others = sorted(candidates, key=lambda each: each[0])
        calls.append(winner)
        for _, call in others:
            duplicates.append((call.line, message_id, call.line.raw != winner.line.raw))
    return Reading(sorted(calls, key=lambda call: call.order(settings)), rejected, duplicates)
