"""Typing of calls: what each field becomes, what a line is refused for, what a time is."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lake.events import calls as module
from lake.events.calls import Call, call, calls, instant, instants
from lake.events.rejection import SENTENCES, Reason, Rejection


def fields(line: bytes) -> dict[str, Any]:
    """The call's fields that are not absent, nested texts as bytes."""
    found = call(line)
    assert isinstance(found, Call), found
    values = {f: getattr(found, f) for f in Call.__struct_fields__}
    texts = {k: bytes(v) if isinstance(v, msgspec.Raw) else v for k, v in values.items()}
    return {k: v for k, v in texts.items() if v not in (None, b"")}


def refused(line: bytes) -> str:
    """The reason, first the word, then where."""
    found = call(line)
    assert isinstance(found, Rejection), found
    return f"{found.reason.value}: {found.detail}"


def test_a_whole_call_keeps_its_nested_objects_to_the_byte() -> None:
    line = (
        b'{"type":"track","messageId":"m1","event":"Seen","userId":"u1","anonymousId":"a1",'
        b'"groupId":"g1","previousId":"p1","receivedAt":"2026-03-01T00:00:00Z","sentAt":7,'
        b'"channel":"server","version":"2","projectId":"p","name":"n","category":"c",'
        b'"context": {"a" : 1.0}  ,"traits":{},"properties":null,"integrations":[1, 2],"more":{}}'
    )

    assert fields(line) == {
        "type": "track",
        "message_id": "m1",
        "event": "Seen",
        "name": "n",
        "category": "c",
        "user_id": "u1",
        "anonymous_id": "a1",
        "group_id": "g1",
        "previous_id": "p1",
        "received_at": "2026-03-01T00:00:00Z",
        "sent_at": 7,
        "channel": "server",
        "version": "2",
        "project_id": "p",
        "context": b'{"a" : 1.0}',
        "traits": b"{}",
        "properties": b"null",
        "integrations": b"[1, 2]",
    }


@pytest.mark.parametrize(
    ("sent", "identifier", "name"),
    [
        ('"x"', "x", "x"),
        ('"\\u00e9\\n"', "é\n", "é\n"),
        ('""', "", ""),
        ("7", "7", "7"),
        ("-0", "-0", "-0"),
        ("7.10", "7.10", "7.10"),
        ("1e400", "1e400", "1e400"),
        ("12345678901234567890123", "12345678901234567890123", "12345678901234567890123"),
        ("true", None, "true"),
        ("null", None, None),
        ('{"a": 1}', None, '{"a": 1}'),
        ("[1]", None, "[1]"),
    ],
)
def test_a_number_identifies_by_its_text_and_a_name_may_be_anything(
    sent: str, identifier: str | None, name: str | None
) -> None:
    found = call(f'{{"type":"page","messageId":"m","userId":{sent},"name":{sent}}}'.encode())

    assert isinstance(found, Call)
    assert (found.user_id, found.name) == (identifier, name)


@pytest.mark.parametrize("sent", ['"messageId":null,', '"messageId":"",', '"messageId":{},', ""])
def test_a_call_without_a_message_id_is_known_by_the_hash_of_its_bytes(sent: str) -> None:
    line = f'{{{sent}"type":"page"}}'.encode()

    assert fields(line)["message_id"] == "sha:" + blake2b(line, digest_size=16).hexdigest()


def test_a_numeric_message_id_is_its_text_and_the_last_of_equal_keys_counts() -> None:
    line = b'{"messageId":1,"type":"page","messageId":42,"type":"screen"}'

    assert fields(line) == {"message_id": "42", "type": "screen"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not_json: Input data was truncated"),
        (b"[1,", "not_json: Input data was truncated"),
        (b"nope", "not_json: invalid character (byte 1)"),
        (b'{"type":"page",}', "not_json: trailing comma in object (byte 15)"),
        (b'{"type":"page"} x', "not_json: trailing characters (byte 17)"),
        (b'{"type":"page","context":{"a":01}}', "not_json: invalid number (byte 31)"),
        (b'{"type":"page","zz":{"a":"\x01"}}', "not_json: invalid character (byte 26)"),
        (b'{"type":"page","context":{"a":nan}}', "not_json: invalid character (byte 31)"),
        (b"\xef\xbb\xbf{}", "not_json: invalid character (byte 0)"),
        (b"null", "not_an_object: a JSON value that is no object"),
        (b"[]", "not_an_object: a JSON value that is no object"),
        (b' "\\ud800"', "not_an_object: a JSON value that is no object"),
        (b'{"type":"page"}{"type":"page"}', "two_values: more than one JSON value"),
        (b"[1] 2 x", "not_json: trailing characters (byte 5)"),
        (b"1 " * 500_000, "two_values: more than one JSON value"),
        (b"[1] 2 {}", "two_values: more than one JSON value"),
        (b'{"type":"page","zz":"\xff"}', "invalid_utf8: invalid start byte at byte 22"),
        (b'{"zz":"\xed\xa0\x80"}', "invalid_utf8: invalid continuation byte at byte 8"),
        (b"\xff", "invalid_utf8: invalid start byte at byte 1"),
        (b'{"type":"page","zz":"\\ud800"}', "invalid_utf8: half of an escaped surrogate pair"),
        (b'{"event":"\\udC00 \\uD83D"}', "invalid_utf8: half of an escaped surrogate pair"),
        (b'{"\\ud800":1}', "invalid_utf8: half of an escaped surrogate pair"),
        (b"{}", "missing_type: `type` is absent or null"),
        (b'{"type":null}', "missing_type: `type` is absent or null"),
        (b'{"type":"Track"}', "unknown_type: `type` is not one of the six"),
        (b'{"type":""}', "unknown_type: `type` is not one of the six"),
        (b'{"type":1}', "unknown_type: `type` is not one of the six"),
        (b'{"type":["page"]}', "unknown_type: `type` is not one of the six"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_call_is_refused_with_its_reason(line: bytes, reason: str) -> None:
    assert refused(line) == reason


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"page","zz":"\\ud83d\\ude00"}',
        b'{"type":"page","zz":"\\\\ud800"}',
        '{"type":"page","zz":"é😀"}'.encode(),
        b' \t{"type":"page","zz":1e999}\r ',
        b'{"type":"page","context":"no object"}',
    ],
)
def test_odd_but_sound_lines_are_calls(line: bytes) -> None:
    assert fields(line)["type"] == "page"


@pytest.mark.parametrize("key", ["messageId", "userId", "anonymousId"])
def test_an_identifier_over_1000_characters_is_refused(key: str) -> None:
    longest = {"type": "page", "messageId": "m", key: "é" * 1000}
    longer = {**longest, key: "é" * 1001}

    assert isinstance(call(json.dumps(longest).encode()), Call)
    assert isinstance(call(json.dumps(longest, ensure_ascii=False).encode()), Call)
    assert refused(json.dumps(longer).encode()) == (
        f"identifier_too_long: {key} is over 1000 characters"
    )


def test_nesting_is_limited_by_a_number_of_its_own() -> None:
    def nested(levels: int) -> bytes:
        inner = b"[" * (levels - 1) + b'"]]"' + b"]" * (levels - 1)
        return b'{"type":"page","context":' + inner + b"}"

    wide = b'{"type":"page","context":[' + b",".join([b"{}"] * 2000) + b"]}"

    assert fields(nested(500))["type"] == "page"
    assert refused(nested(501)) == "not_json: nested deeper than 500 levels"
    assert refused(nested(300_000)) == "not_json: nested deeper than 500 levels"
    assert fields(wide)["type"] == "page"


def test_every_reason_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Reason)


values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5), st.lists(st.integers(), max_size=2), st.just({"k": "v"}),
)  # fmt: skip
keys = st.sampled_from([*Call.__struct_encode_fields__, "other"])
bodies = st.dictionaries(keys, values, max_size=8).flatmap(
    lambda body: st.sampled_from(["track", "alias", None, 3]).map(lambda t: {**body, "type": t})
)
printed = st.builds(
    lambda body, ascii_only: json.dumps(body, ensure_ascii=ascii_only).encode(errors="replace"),
    bodies,
    st.booleans(),
)


@given(st.lists(st.one_of(printed, st.binary(max_size=9)), max_size=70))
def test_a_line_is_read_alike_alone_and_among_others(lines: list[bytes]) -> None:
    assert [repr(c) for c in map(comparable, calls(lines))] == [
        repr(c) for c in map(comparable, map(call, lines))
    ]


@given(st.lists(st.one_of(printed, st.binary(max_size=9)), max_size=70))
def test_fields_are_those_of_the_calls_in_their_order(lines: list[bytes]) -> None:
    values, refused = module.fields(lines)

    alone = list(map(call, lines))
    accepted = [each for each in alone if isinstance(each, Call)]
    assert refused == {i: each for i, each in enumerate(alone) if isinstance(each, Rejection)}
    assert {name: list(map(repr, map(as_text, column))) for name, column in values.items()} == {
        name: [repr(as_text(getattr(each, name))) for each in accepted]
        for name in Call.__struct_fields__
    }


def as_text(value: object) -> object:
    return bytes(value) if isinstance(value, msgspec.Raw) else value


@given(printed)
def test_the_strict_and_the_tolerant_reading_agree(line: bytes) -> None:
    try:
        strict = module._call(line)
    except msgspec.MsgspecError:
        return
    tolerant = module._tolerant_call(line)
    assert isinstance(tolerant, Call)

    assert comparable(strict) == comparable(tolerant)


def comparable(found: Call | Rejection) -> object:
    if isinstance(found, Rejection):
        return found
    return {
        f: bytes(v) if isinstance(v, msgspec.Raw) else v
        for f in Call.__struct_fields__
        for v in [getattr(found, f)]
    }


def micros(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sent", "known"),
    [
        ("2026-03-01T12:00:00Z", micros(2026, 3, 1, 12)),
        ("2026-03-01T12:00:00.123456789Z", micros(2026, 3, 1, 12) + 123_456),
        ("2026-03-01T12:00:00.5", micros(2026, 3, 1, 12) + 500_000),
        ("2026-03-01 12:00:00+05:30", micros(2026, 3, 1, 6, 30)),
        ("2026-03-01T12:00-0130", micros(2026, 3, 1, 13, 30)),
        ("2026-03-01", micros(2026, 3, 1)),
        ("1970-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59.999999Z", micros(9999, 12, 31, 23, 59, 59) + 999_999),
        (1_772_366_400_123, micros(2026, 3, 1, 12) + 123_000),
        (1_772_366_400_123.5, micros(2026, 3, 1, 12) + 123_500),
        (0, 0),
        (1_772_366_400_123_000, None),
        (-1, None),
        (10**400, None),
        ("1969-12-31T23:59:59Z", None),
        ("1970-01-01T00:00:00+00:01", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("+57805-01-01T00:00:00Z", None),
        ("57805-01-01T00:00:00Z", None),
        ("2026-02-30T00:00:00Z", None),
        ("2026-03-01T24:00:00Z", None),
        ("2026-03-01T00:00:00+24:00", None),
        ("1772366400123", None),
        ("yesterday", None),
        (" 2026-03-01T12:00:00Z", None),
        ("", None),
    ],
)
def test_a_time_is_iso_text_or_epoch_milliseconds_between_1970_and_9999(
    sent: str | float, known: int | None
) -> None:
    assert instant(sent) == known
    columns = instants([[sent, None], ["1970-01-01T00:00:00.000001Z"] * 2])
    assert columns.micros.tolist() == [[known or 0, 0], [1, 1]]
    assert columns.known.tolist() == [[known is not None, False], [True, True]]
    assert columns.bad.tolist() == [[known is None, False], [False, False]]


stamps = st.builds(
    "{:04}-{:02}-{:02}{}{:02}{}{:02}{}{:02}{}{}".format,
    st.integers(1968, 2100), st.integers(0, 13), st.integers(0, 32), st.sampled_from("T t"),
    st.integers(0, 24), st.sampled_from([":", ""]), st.integers(0, 60), st.sampled_from([":", ""]),
    st.integers(0, 60), st.sampled_from(["", ".1", ".123", ".123456", ".1234567", ",5"]),
    st.sampled_from(["", "Z", "z", "+01", "+0130", "-01:30", "+23:59", "+24:00", "-01:60"]),
)  # fmt: skip


@given(st.lists(st.one_of(stamps, st.text("0123456789-:TZ +.", max_size=22)), max_size=3))
@example(["2026-03-01T12Z"])
@example(["2026-03-01T1200Z", "2026-03-01Z"])
@example(["2026-03-01T12:00:00Z", None])
def test_a_column_of_times_is_read_as_each_time_alone(sent: list[str]) -> None:
    columns = instants([sent])

    alone = [instant(s) for s in sent]
    assert columns.known.tolist() == [[a is not None for a in alone]]
    assert columns.micros.tolist() == [[a or 0 for a in alone]]


@pytest.mark.parametrize("sent", ["{}", "[1]", "true", '""'])
def test_a_time_of_another_kind_counts_as_bad(sent: str) -> None:
    found = call(f'{{"type":"page","timestamp":{sent},"sentAt":null}}'.encode())

    assert isinstance(found, Call)
    assert instants([[found.timestamp], [found.sent_at]]).bad.tolist() == [[True], [False]]
