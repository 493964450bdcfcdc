"""One line → a typed call, or the reason why it is refused.

Nested objects keep their exact JSON text. Scalars are taken as a tolerant reader would: a
number as an identifier is its text, a true, false, object or array as one is no identifier,
null is absent, an event name that is no string is its JSON text. Where a key is repeated in
an object, its last value counts. What a line is refused for: `lake/events/rejection.py`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from itertools import chain
from operator import attrgetter
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias, cast

import msgspec
import numpy as np
import pyarrow as pa
import xxhash
from msgspec import Raw
from msgspec.structs import astuple
from numpy.typing import NDArray

from lake.events.rejection import Reason, Rejection

IDENTIFIER_LIMIT: Final = 1000
"""Longest identifier or messageId, in characters as sent."""
DEPTH_LIMIT: Final = 500
"""Deepest nesting of objects and arrays in a line."""

Type: TypeAlias = Literal["identify", "track", "page", "screen", "group", "alias"]
Sent: TypeAlias = str | int | float | None
"""A time as sent: ISO-8601 text or epoch milliseconds."""

Known: TypeAlias = Annotated[str, msgspec.Meta(max_length=IDENTIFIER_LIMIT)]

_ABSENT = Raw(b"")


class Call(msgspec.Struct, rename="camel", gc=False):
    """A call as sent. An absent nested object is empty, a null one is ``null``."""

    type: Type
    message_id: Known = ""
    event: str | None = None
    name: str | None = None
    category: str | None = None
    user_id: Known | None = None
    anonymous_id: Known | None = None
    group_id: str | None = None
    previous_id: str | None = None
    received_at: Sent = None
    sent_at: Sent = None
    timestamp: Sent = None
    original_timestamp: Sent = None
    channel: str | None = None
    version: str | None = None
    project_id: str | None = None
    context: Raw = _ABSENT
    traits: Raw = _ABSENT
    properties: Raw = _ABSENT
    integrations: Raw = _ABSENT


NESTED: Final = ("context", "traits", "properties", "integrations")
TIMES: Final = ("received_at", "sent_at", "timestamp", "original_timestamp")
NAMES: Final = ("event", "name", "category", "channel", "version", "project_id")
IDENTIFIERS: Final = ("user_id", "anonymous_id", "group_id", "previous_id")

# The same fields with any value in them: read where the typed ones above do not fit.
_AnyCall = msgspec.defstruct(
    "_AnyCall", [(f, Raw, _ABSENT) for f in Call.__struct_fields__], rename="camel", gc=False
)
_call = msgspec.json.Decoder(Call).decode
_any_call = msgspec.json.Decoder(_AnyCall).decode
_value = msgspec.json.Decoder(Raw).decode
_string = msgspec.json.Decoder(str).decode
_types: Final = frozenset(("identify", "track", "page", "screen", "group", "alias"))
_GROUP = 32
_SPARK_SEED = 42
_REFUSED = (msgspec.MsgspecError, ValueError, RecursionError)
_message_id = attrgetter("message_id")
# What `[` and `{` have in common; no other ASCII character has it.
_BRACKET_BITS: Final = np.uint8(0xDF)


def calls(lines: Sequence[bytes]) -> list[Call | Rejection]:
    """The call of each line, or why it is refused."""
    return [each for group in _groups(lines) for each in group]


def _groups(lines: Sequence[bytes]) -> Iterator[Sequence[Call | Rejection]]:
    """`calls` in small groups; a group with a line in it that is refused, or of unusual types,
    is decoded again line by line."""
    for at in range(0, len(lines), _GROUP):
        group = lines[at : at + _GROUP]
        yield (_is_sound(group) and _plain_calls(group)) or list(map(call, group))


class Fields(NamedTuple):
    """The accepted calls of some lines: for each field of `Call` its values in the order of the
    lines, and the refused lines by their index."""

    values: dict[str, list[Any]]
    refused: dict[int, Rejection]


def fields(lines: Sequence[bytes]) -> Fields:
    """What `calls` gives, field by field: each group is taken apart while the processor's
    caches still have it."""
    flat: list[Any] = []
    refused: dict[int, Rejection] = {}
    for number, group in enumerate(_groups(lines)):
        accepted = group
        if Rejection in set(map(type, group)):
            at = number * _GROUP
            refused |= {at + i: r for i, r in enumerate(group) if isinstance(r, Rejection)}
            accepted = [each for each in group if isinstance(each, Call)]
        for parts in map(astuple, cast(Sequence[Call], accepted)):
            flat += parts
    names = Call.__struct_fields__
    return Fields({name: flat[i :: len(names)] for i, name in enumerate(names)}, refused)


def _plain_calls(group: Sequence[bytes]) -> list[Call] | None:
    """The calls of lines in which all is as usual; None where one line is not so."""
    try:
        found = list(map(_call, group))
    except _REFUSED:
        return None
    return found if all(map(_message_id, found)) else None


def _is_sound(group: Sequence[bytes]) -> bool:
    """Whether all lines are seen at once to be UTF-8 and not nested too deeply: together they
    have fewer brackets than the limit on one of them."""
    text = b"\n".join(group)
    brackets = np.frombuffer(text, np.uint8) & _BRACKET_BITS == ord("[")
    if np.count_nonzero(brackets) > DEPTH_LIMIT:
        return not any(map(_is_bushy, group)) and _is_utf8(text)
    return _is_utf8(text)


def _is_utf8(text: bytes) -> bool:
    try:
        return text.isascii() or bool(text.decode())
    except UnicodeDecodeError:
        return False


def call(line: bytes) -> Call | Rejection:
    """The call of a line, its ``message_id`` filled in: ``sha:`` and a hash where none was sent.

    >>> call(b'{"type": "track", "messageId": 7, "event": "Seen", "userId": true}').message_id
    '7'
    >>> call(b'{"type": "Track"}').reason.value
    'unknown_type'
    """
    try:
        line.decode()  # the decoder does not look into the characters of texts it skips
    except UnicodeDecodeError as error:
        return Rejection(Reason.INVALID_UTF8, f"{error.reason} at byte {error.start + 1}")
    if _is_bushy(line) and _depth(line) > DEPTH_LIMIT:
        return Rejection(Reason.NOT_JSON, f"nested deeper than {DEPTH_LIMIT} levels")
    try:
        found = _call(line)
    except _REFUSED:
        try:
            tolerant = _tolerant_call(line)
        except _REFUSED:
            return _rejection(line)
        if isinstance(tolerant, Rejection):
            return tolerant
        found = tolerant
    if not found.message_id:
        found.message_id = f"sha:{digest(line).hex()}"
    return found


def digest(line: bytes) -> bytes:
    """16 bytes that name a line: BLAKE2b of its bytes without the line's end. A call without a
    messageId is known by them, so nobody may be able to find two lines with the same ones."""
    return hashlib.blake2b(line, digest_size=16).digest()


def payload_hash(line: bytes) -> bytes:
    """16 bytes that tell two lines of one messageId apart: XXH3 of the line without its end.

    A tenth of the cost of `digest`, and no cryptographic hash: who sends both lines can make
    them hash alike. That gains nothing. Both have the one messageId, so one of them is dropped
    whatever they hash to; it would merely be told as a true repeat of the other, and which of
    two of the same times is kept, a sender chooses by their times anyway.
    """
    return xxhash.xxh3_128_digest(line)


def message_keys(message_ids: Sequence[str]) -> NDArray[np.int64]:
    """64 bits of each message id, as Spark's ``xxhash64`` has them: equal ids have equal ones, and
    others hardly ever."""
    hashes = list(map(partial(xxhash.xxh64_intdigest, seed=_SPARK_SEED), message_ids))
    return np.array(hashes, np.uint64).view(np.int64)


def _too_long(found: Call) -> Rejection | None:
    for field, value in (
        ("messageId", found.message_id),
        ("userId", found.user_id),
        ("anonymousId", found.anonymous_id),
    ):
        if value is not None and len(value) > IDENTIFIER_LIMIT:
            why = f"{field} is over {IDENTIFIER_LIMIT} characters"
            return Rejection(Reason.IDENTIFIER_TOO_LONG, why)
    return None


def _tolerant_call(line: bytes) -> Call | Rejection:
    """The call of a line in which some scalar is not of its usual type."""
    sent = cast(Any, _any_call(line))
    kind = _name(sent.type)
    if kind is None:
        return Rejection(Reason.MISSING_TYPE, "`type` is absent or null")
    if kind not in _types or bytes(sent.type)[:1] != b'"':
        return Rejection(Reason.UNKNOWN_TYPE, "`type` is not one of the six")
    fields: dict[str, Any] = {f: _name(getattr(sent, f)) for f in NAMES}
    fields |= {f: _identifier(getattr(sent, f)) for f in IDENTIFIERS}
    fields |= {f: _time(getattr(sent, f)) for f in TIMES}
    fields |= {f: getattr(sent, f) for f in NESTED}
    message_id = _identifier(sent.message_id) or ""
    found = Call(type=cast(Type, kind), message_id=message_id, **fields)
    return _too_long(found) or found


def _identifier(sent: Raw) -> str | None:
    """A string, or a number's text; nothing else identifies."""
    text = bytes(sent)
    if text.startswith(b'"'):
        return _string(text)
    return text.decode() if text[:1] in b"-0123456789" and text else None


def _name(sent: Raw) -> str | None:
    text = bytes(sent)
    if text.startswith(b'"'):
        return _string(text)
    return None if text in (b"", b"null") else text.decode()


def _time(sent: Raw) -> Sent:
    """A time as sent; an empty text, which is never readable, for an object or the like."""
    text = bytes(sent)
    if text.startswith(b'"'):
        return _string(text)
    if text in (b"", b"null"):
        return None
    return float(text) if text[:1] in b"-0123456789" else ""


_STRINGS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)


def _is_bushy(line: bytes) -> bool:
    """Whether a line has enough brackets to be nested too deeply."""
    return len(line) > 2 * DEPTH_LIMIT and line.count(b"{") + line.count(b"[") > DEPTH_LIMIT


def _depth(line: bytes) -> int:
    """How deep brackets are nested. The decoder has a limit too, but its own depends on the
    depth of the Python stack it is called at."""
    depth = deepest = 0
    for bracket in re.findall(rb"[][{}]", _STRINGS.sub(b"", line)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


# A backslash with what it escapes, so that the one in `\\ud800` is not taken for an escape.
_ESCAPES = re.compile(rb"\\(?:(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL)


def _rejection(line: bytes) -> Rejection:
    """Why a line is no object; the decoder's words tell a place and never a value."""
    fault = _fault(line)
    if fault.reason is Reason.NOT_JSON:
        paired = _ESCAPES.sub(lambda m: b"\\u0020" if m[1] else m[0], line)
        other = _fault(paired)
        if other.reason is Reason.NOT_AN_OBJECT and paired.lstrip().startswith(b"{"):
            return Rejection(Reason.INVALID_UTF8, "half of an escaped surrogate pair")
        return fault if other.reason is Reason.NOT_JSON else other
    return fault


_TRAILING = re.compile(r"trailing characters \(byte (\d+)\)")
_LOOKED_AT = 100


def _fault(line: bytes) -> Rejection:
    """What is wrong with a line as JSON; not_an_object for one sound value, which the caller
    knows no call could be made of. Behind a hundred values nothing is looked at any more."""
    rest, first = memoryview(line), ""
    for _ in range(_LOOKED_AT):
        try:
            _value(rest)
        except _REFUSED as error:
            first = first or str(error).removeprefix("JSON is malformed: ")
            behind = _TRAILING.search(str(error))
            if behind is None:
                return Rejection(Reason.NOT_JSON, first)
            rest = rest[int(behind[1]) - 1 :]
        else:
            break
    if first:
        return Rejection(Reason.TWO_VALUES, "more than one JSON value")
    return Rejection(Reason.NOT_AN_OBJECT, "a JSON value that is no object")


class Instants(NamedTuple):
    """Columns of times, a row a column: microseconds since 1970 in UTC (0 where unknown), which are
    known, and which were sent but cannot be read."""

    micros: NDArray[np.int64]
    known: NDArray[np.bool_]
    bad: NDArray[np.bool_]


_LAST: Final = 253_402_300_799_999_999
"""9999-12-31T23:59:59.999999Z in microseconds since 1970."""
_UTC_MICROS = pa.timestamp("us", tz="UTC")


def instants(columns: Sequence[Sequence[Sent]]) -> Instants:
    """The instants of columns of one length of times as sent; where all are alike they cost next
    to nothing, a column of mixed ones costs a microsecond a time."""
    shape = (len(columns), len(columns[0]))
    try:
        together = _cast(list(chain.from_iterable(columns)))
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        alone = list(map(_column, columns))
        together = Instants(
            np.concatenate([each.micros for each in alone]),
            np.concatenate([each.known for each in alone]),
            np.concatenate([each.bad for each in alone]),
        )
    return Instants(
        together.micros.reshape(shape), together.known.reshape(shape), together.bad.reshape(shape)
    )


def _column(sent: Sequence[Sent]) -> Instants:
    try:
        return _cast(sent)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        micros = np.array([-1 if (i := instant(s)) is None else i for s in sent], np.int64)
        return _instants(micros, np.array([s is not None for s in sent], np.bool_))


def _cast(sent: Sequence[Sent]) -> Instants:
    """The instants of texts that are all complete and name their zone; raises for others."""
    column = pa.array(sent, pa.string()).cast(_UTC_MICROS)
    micros = column.view(pa.int64())
    if not micros.null_count:
        return _instants(micros.to_numpy(), np.ones(len(micros), np.bool_))
    present = column.is_valid().to_numpy(zero_copy_only=False)
    return _instants(micros.fill_null(-1).to_numpy(), present)


def _instants(micros: NDArray[np.int64], present: NDArray[np.bool_]) -> Instants:
    known = (micros >= 0) & (micros <= _LAST)
    return Instants(np.where(known, micros, 0), known, present & ~known)


_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt ](\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?)?(?:[Zz]|([+-])(\d\d):?(\d\d)?)?)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=1 << 16)
def instant(sent: Sent) -> int | None:
    """Microseconds since 1970 in UTC of ISO-8601 text (UTC where it names no zone) or of epoch
    milliseconds; None where it is neither, or before 1970, or after the year 9999.

    >>> instant("2026-03-01T12:00:00.5+02:00") == instant("2026-03-01 10:00:00.500")
    True
    >>> instant(1_700_000_000_000)
    1700000000000000
    >>> instant("+57805-01-01T00:00:00Z"), instant(1_761_825_600_000_000)
    (None, None)
    """
    if sent is None:
        return None
    if not isinstance(sent, str):
        return round(sent * 1000) if 0 <= sent <= _LAST / 1000 else None
    match = _ISO.fullmatch(sent)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = match.groups("0")
    away = timedelta(hours=int(hours), minutes=int(minutes))
    if away >= timedelta(days=1) or int(minutes) > 59:
        return None
    fraction = f"{fraction:0<6}"[:6]
    clock = (int(hour), int(minute), int(second), int(fraction))
    try:
        local = datetime(int(year), int(month), int(day), *clock, tzinfo=UTC)
    except ValueError:
        return None
    micros = (local - _EPOCH + (away if sign == "-" else -away)) // timedelta(microseconds=1)
    return micros if 0 <= micros <= _LAST else None
