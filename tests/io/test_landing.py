"""Reading landing objects on Spark: every line in exactly one row, whatever is in the folder."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from xxhash import xxh3_128_digest

from lake.events.calls import IDENTIFIERS, NAMES, NESTED, TIMES, Call, call, instant, message_keys
from lake.events.rejection import Rejection
from lake.identity.identifiers import Extraction, IdentifierRule, identifiers, set_key
from lake.io.landing import Reading, record_batches, staged_lines
from lake.io.objects import LocalObjects, ObjectChanged
from lake.tables import STAGED_LINES

MODIFIED = datetime(2026, 3, 9, 23, 59, 59, 5, tzinfo=UTC)
MANIFEST = "source string, object string, etag string, size bigint, last_modified timestamp"
Row = dict[str, Any]


def line(**body: Any) -> bytes:
    return json.dumps({"type": "track", **body}).encode()


def digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=16).digest()


Rows = Callable[..., list[Row]]


@pytest.fixture
def rows(spark: SparkSession, tmp_path: Path) -> Rows:
    """Reads the objects given by name and content; all rows, in order."""

    def read(objects: dict[str, bytes], **settings: Any) -> list[Row]:
        for name, content in objects.items():
            (tmp_path / name).write_bytes(content)
        versions = {Path(v.uri).name: v for v in LocalObjects().versions(str(tmp_path))}
        manifest = [("web", v.uri, v.etag, v.size, MODIFIED) for v in versions.values()]
        reading = Reading(**{"store": LocalObjects(), "batch": 3, **settings})
        objects = spark.createDataFrame(manifest, MANIFEST).repartition(2)
        staged = staged_lines(objects, reading).as_frame()
        STAGED_LINES.conform(staged)
        found = [r.asDict(recursive=True) for r in staged.collect()]
        return sorted(found, key=lambda r: (r["object"], r["kind"], r["line"] or 0))

    return read


def told(found: list[Row]) -> list[tuple[Any, ...]]:
    """What became of each line and object, in short."""
    short = []
    for r in found:
        name = os.path.basename(r["object"])
        what = {"call": "message_id", "rejected": "reason", "object": "state"}[r["kind"]]
        short.append((name, r["kind"], r["line"] or r["lines"], r[what]))
    return short


def test_a_call_becomes_a_row_of_typed_columns(rows: Rows, tmp_path: Path) -> None:
    sent = (
        b'{"type":"page","messageId":"m1","name":"Home","category":"c","userId":"u1","anonymousId"'
        b':"a1","groupId":"g1","receivedAt":"2026-03-01T23:59:59.999Z","sentAt":1772366400123,'
        b'"timestamp":"2026-02-28","originalTimestamp":"never","channel":"web","version":2,'
        b'"projectId":"p","context":{"traits" : {"email":"a@x.com"}},"properties":null,'
        b'"integrations":{}}'
    )

    found = rows({"o.gz": gzip.compress(b"\n" + sent + b"\n")})

    identifiers = (("anonymous_id", "a1"), ("email", "a@x.com"), ("user_id", "u1"))
    constants = {
        "source": "web",
        "batch": 3,
        "object": str(tmp_path / "o.gz"),
        "etag": found[0]["etag"],
    }
    expected = dict.fromkeys(STAGED_LINES.names)
    assert found == [
        expected
        | constants
        | {
            "kind": "call",
            "message_id": "m1",
            "message_key": message_keys(["m1"])[0],
            "type": "page",
            "name": "Home",
            "category": "c",
            "user_id": "u1",
            "anonymous_id": "a1",
            "group_id": "g1",
            "received_at": datetime(2026, 3, 1, 23, 59, 59, 999_000),
            "sent_at": datetime(2026, 3, 1, 12, 0, 0, 123_000),
            "timestamp": datetime(2026, 2, 28),
            "received_at_from": "receivedAt",
            "bad_times": 1,
            "channel": "web",
            "version": "2",
            "project_id": "p",
            "context": '{"traits" : {"email":"a@x.com"}}',
            "integrations": "{}",
            "identifiers": [{"type": t, "value": v} for t, v in identifiers],
            "identity_set": set_key(identifiers),
            "extraction": Extraction().fingerprint,
            "payload_hash": xxh3_128_digest(sent),
            "line": 2,
            "received_date": date(2026, 3, 1),
        },
        expected
        | constants
        | {
            "kind": "object",
            "lines": 1,
            "state": "read",
            "size": len(gzip.compress(b"\n" + sent + b"\n")),
            "last_modified": MODIFIED.replace(tzinfo=None),
        },
    ]


def test_received_at_falls_back_field_by_field_and_says_so(rows: Rows) -> None:
    at = [f"2026-03-0{i}T00:00:00Z" for i in range(1, 5)]
    names = ("receivedAt", "sentAt", "timestamp", "originalTimestamp")
    bodies = [dict(zip(names[i:], at[i:], strict=True)) for i in range(5)]
    bodies[1] |= {"receivedAt": "+57805-01-01T00:00:00Z"}
    bodies[2] |= {"receivedAt": 1_772_366_400_123_000, "sentAt": {}}

    found = rows({"o": b"\n".join(line(messageId=f"m{i}", **b) for i, b in enumerate(bodies))})

    assert [
        (r["received_at"], r["received_at_from"], r["bad_times"], r["received_date"])
        for r in found
        if r["kind"] == "call"
    ] == [
        (datetime(2026, 3, 1), "receivedAt", 0, date(2026, 3, 1)),
        (datetime(2026, 3, 2), "sentAt", 1, date(2026, 3, 2)),
        (datetime(2026, 3, 3), "timestamp", 2, date(2026, 3, 3)),
        (datetime(2026, 3, 4), "originalTimestamp", 0, date(2026, 3, 4)),
        (MODIFIED.replace(tzinfo=None), "object", 0, date(2026, 3, 9)),
    ]


def test_a_hostile_folder_loses_no_line_and_hides_no_good_one(rows: Rows) -> None:
    good = line(messageId="good", userId="u1")
    stored = gzip.compress(good + b"\n" + good + b"\n", 0)
    wrong = bytearray(gzip.compress(good + b"\nunended"))
    wrong[-5] ^= 255
    nameless = b'{"type": "page"}'
    odd = [
        good,
        b"\xff" + good,
        line(messageId="half").replace(b"half", b"\\ud800"),
        good + good,
        b"null",
        b"[]",
        b'{"userId":"u1"}',
        line(type="Track"),
        line(userId="x" * 1001),
        line(traits={}, context={"traits": {"email": "x" * 1001}}),
        b"{" * 600,
        b"",
        line(messageId=7, userId=8, anonymousId=True),
        b'{"type": "page", "messageId": "' + b"x" * 3000 + b'"}',
        nameless,
    ]

    found = rows(
        {
            "0-empty": b"",
            "1-empty.gz": gzip.compress(b""),
            "2-text.gz": good,
            "3-truncated.gz": stored[:-20],
            "4-checksum.gz": bytes(wrong),
            "5-members.gz": gzip.compress(good[:9]) + gzip.compress(good[9:]) + b"\0" * 99,
            "6-garbage.gz": gzip.compress(good) + b"garbage",
            "7-odd": b"\r\n".join(odd),
        },
        line_limit=2000,
    )

    assert told(found) == [
        ("0-empty", "object", 0, "read"),
        ("1-empty.gz", "object", 0, "read"),
        ("2-text.gz", "call", 1, "good"),
        ("2-text.gz", "object", 1, "read"),
        ("3-truncated.gz", "call", 1, "good"),
        ("3-truncated.gz", "object", 2, "damaged"),
        ("3-truncated.gz", "rejected", 2, "unreadable_rest"),
        ("4-checksum.gz", "call", 1, "good"),
        ("4-checksum.gz", "object", 2, "damaged"),
        ("4-checksum.gz", "rejected", 2, "unreadable_rest"),
        ("5-members.gz", "call", 1, "good"),
        ("5-members.gz", "object", 1, "read"),
        ("6-garbage.gz", "object", 1, "damaged"),
        ("6-garbage.gz", "rejected", 1, "unreadable_rest"),
        ("7-odd", "call", 1, "good"),
        ("7-odd", "call", 13, "7"),
        ("7-odd", "call", 15, "sha:" + digest(nameless).hex()),
        ("7-odd", "object", 14, "read"),
        ("7-odd", "rejected", 2, "invalid_utf8"),
        ("7-odd", "rejected", 3, "invalid_utf8"),
        ("7-odd", "rejected", 4, "two_values"),
        ("7-odd", "rejected", 5, "not_an_object"),
        ("7-odd", "rejected", 6, "not_an_object"),
        ("7-odd", "rejected", 7, "missing_type"),
        ("7-odd", "rejected", 8, "unknown_type"),
        ("7-odd", "rejected", 9, "identifier_too_long"),
        ("7-odd", "rejected", 10, "identifier_too_long"),
        ("7-odd", "rejected", 11, "not_json"),
        ("7-odd", "rejected", 14, "line_too_long"),
    ]
    numbers = next(r for r in found if r["message_id"] == "7")
    assert (numbers["user_id"], numbers["anonymous_id"]) == ("8", None)
    assert numbers["identifiers"] == [{"type": "user_id", "value": "8"}]
    refused = {r["line"]: r for r in found if r["kind"] == "rejected" and "7-odd" in r["object"]}
    assert [bytes(refused[n]["raw"]) for n in refused] == [odd[n - 1] for n in refused]
    assert [refused[n]["bytes"] for n in refused] == [len(odd[n - 1]) for n in refused]
    assert refused[14]["detail"] == "3033 bytes, over 2000"
    assert refused[10]["detail"] == "a value of email is over 1000 characters"
    rest = next(r for r in found if r["kind"] == "rejected" and "6-" in r["object"])
    assert (bytes(rest["raw"]), rest["bytes"], rest["detail"]) == (
        good,
        len(good),
        "incorrect header check",
    )


def test_only_the_first_64_kib_of_a_refused_line_are_kept(rows: Rows) -> None:
    refused = [b"[" + b"x" * 100_000, b"y" * 300_000]

    found = rows({"o": b"\n".join(refused)}, line_limit=200_000)

    rejected = [r for r in found if r["kind"] == "rejected"]
    assert [(bytes(r["raw"]), r["bytes"], r["reason"]) for r in rejected] == [
        (refused[0][: 64 << 10], 100_001, "not_json"),
        (refused[1][: 64 << 10], 300_000, "line_too_long"),
    ]


def test_objects_that_changed_or_went_give_their_row_alone(
    spark: SparkSession, tmp_path: Path
) -> None:
    kept, changed, gone = (tmp_path / n for n in ("kept", "changed", "gone"))
    for path in (kept, changed, gone):
        path.write_bytes(line(messageId=path.name))
    manifest = [
        ("web", v.uri, v.etag, v.size, MODIFIED) for v in LocalObjects().versions(str(tmp_path))
    ]
    changed.write_bytes(line(messageId="another, and longer"))
    gone.unlink()

    objects = spark.createDataFrame(manifest, MANIFEST)
    staged = staged_lines(objects, Reading(LocalObjects(), 1)).as_frame()

    found = [r.asDict() for r in staged.orderBy("object", "kind").collect()]
    assert told(found) == [
        ("changed", "object", 0, "changed"),
        ("gone", "object", 0, "missing"),
        ("kept", "call", 1, "kept"),
        ("kept", "object", 1, "read"),
    ]


def test_the_rules_of_the_reading_are_those_of_its_rows(rows: Rows) -> None:
    extraction = Extraction((IdentifierRule("plan"),), unknown_types="ignore")

    found = rows(
        {"o": line(messageId="m1", userId="u1", properties={"plan": "pro"}) + b"\n" + line()},
        extraction=extraction,
    )

    calls = [r for r in found if r["kind"] == "call"]
    assert [(r["identifiers"], r["identity_set"], r["extraction"]) for r in calls] == [
        ([{"type": "plan", "value": "pro"}], set_key((("plan", "pro"),)), extraction.fingerprint),
        ([], None, extraction.fingerprint),
    ]


@dataclass(frozen=True)
class OneObject:
    """A store with one object, which may be seen to change only when all of it was read."""

    content: bytes
    changes: bool = False

    def open_stream(self, uri: str, etag: str) -> BinaryIO:
        return _Changing(self.content) if self.changes else io.BytesIO(self.content)


class _Changing(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        piece = super().read(size)
        if not piece:
            raise ObjectChanged("it changed")
        return piece


def batches(store: OneObject) -> list[pa.RecordBatch]:
    entry = {"source": "web", "object": "o", "etag": "e", "size": 1, "last_modified": MODIFIED}
    return list(record_batches(Reading(store, 1), [pa.RecordBatch.from_pylist([entry])]))


def test_no_line_gets_through_of_an_object_that_changes_at_its_end() -> None:
    (only,) = batches(OneObject(line(messageId="m1"), changes=True))

    assert only.select(["kind", "state", "lines"]).to_pylist() == [
        {"kind": "object", "state": "changed", "lines": 0}
    ]


def test_batches_are_bounded_and_every_line_is_in_one() -> None:
    calls = [line(messageId=f"m{i}") for i in range(10_000)]
    refused = [b"x" * 60_000 for _ in range(200)]

    found = batches(OneObject(b"\n".join(calls + refused)))

    assert max(b.num_rows for b in found) <= 4096
    assert max(b.nbytes for b in found) < 8 << 20
    for batch in found:
        batch.validate(full=True)
    table = pa.Table.from_batches(found)
    kinds = table.column("kind").to_pylist()
    assert [kinds.count(k) for k in ("call", "rejected", "object")] == [10_000, 200, 1]
    assert sorted(n for n in table.column("line").to_pylist() if n) == list(range(1, 10_201))
    assert table.column("lines").to_pylist()[-1] == 10_200


def alone(sent: bytes) -> Row:
    """What a line gives by the plain rules, one value at a time: the reference for all that reads
    many lines at once."""
    found = call(sent)
    if isinstance(found, Rejection):
        return {"reason": found.reason.value, "detail": found.detail, "raw": sent}
    nested = {f: bytes(getattr(found, f)).decode() for f in NESTED}
    nested = {f: None if text in ("", "null") else text for f, text in nested.items()}
    sets = identifiers(
        Extraction(), found.type, found.user_id, found.anonymous_id,
        nested["context"], nested["traits"], nested["properties"],
    )  # fmt: skip
    if sets.too_long:
        why = f"a value of {sets.too_long} is over 1000 characters"
        return {"reason": "identifier_too_long", "detail": why, "raw": sent}
    at = {f: instant(getattr(found, f)) for f in TIMES}
    known = [f for f in TIMES if at[f] is not None]
    return {
        **{f: getattr(found, f) for f in ("message_id", "type", *NAMES, *IDENTIFIERS)},
        **nested,
        **at,
        "received_at": at[known[0]] if known else int(MODIFIED.timestamp() * 1e6),
        "received_at_from": Call.__struct_encode_fields__[
            Call.__struct_fields__.index(known[0])
        ] if known else "object",
        "bad_times": sum(getattr(found, f) is not None and at[f] is None for f in TIMES),
        "identifiers": list(sets.identifiers),
        "identity_set": sets.key,
        "payload_hash": xxh3_128_digest(sent),
    }  # fmt: skip


def as_read(batch: pa.RecordBatch, row: int) -> Row:
    """A row of a batch in the form of `alone`."""
    found = batch.slice(row, 1)
    if found["kind"][0].as_py() == "rejected":
        return found.select(["reason", "detail", "raw"]).to_pylist()[0]
    names = ("message_id", "type", *NAMES, *IDENTIFIERS, *NESTED, "received_at_from", "bad_times")
    told = found.select([*names, "identity_set", "payload_hash"]).to_pylist()[0]
    times = {f: found[f].cast(pa.int64())[0].as_py() for f in TIMES}
    pairs = [(p["type"], p["value"]) for p in found["identifiers"][0].as_py()]
    return told | times | {"identifiers": pairs}


stamps = ["2026-03-01T12:00:00.123Z", "2026-03-01", 1_772_366_400_123, "never", None, {}, -1, 1e300]
owners = ["u1", "u2", " u3 ", "", "\u00e9e\u0301", 7, None, True, "x" * 1001]
nested_values = [
    {},
    None,
    [],
    {"email": "a@x.com"},
    {"email": " B@x.com"},
    {"email": 7},
    {"n": 1.50},
]
contexts = [
    *nested_values, "text",
    {"traits": {"email": "c@x.com"}}, {"device": {"type": "ios", "id": "D"}},
    {"externalIds": [{"id": "e", "type": "plan", "collection": "users", "encoding": "none"}]},
]  # fmt: skip
sent_calls = st.fixed_dictionaries(
    {"type": st.sampled_from(["track", "page", "identify", "group", "alias", "Track", None])},
    optional={
        "messageId": st.sampled_from(["m1", "", None, 5, "x" * 1001]),
        **dict.fromkeys(("userId", "anonymousId", "previousId"), st.sampled_from(owners)),
        **dict.fromkeys(
            ("receivedAt", "sentAt", "timestamp", "originalTimestamp"), st.sampled_from(stamps)
        ),
        **dict.fromkeys(("traits", "properties", "integrations"), st.sampled_from(nested_values)),
        "context": st.sampled_from(contexts),
        **dict.fromkeys(("event", "name"), st.sampled_from(["Seen", 1, {"a": 1}, None])),
    },
)
plain = st.builds(
    lambda n: line(
        messageId=f"m{n}", userId=f"u{n}", anonymousId=f"a{n}", receivedAt=stamps[0],
        context={"page": {"path": f"/{n}"}}, properties={"price": n / 4},
    ),
    st.integers(0, 99),
)  # fmt: skip
hostile = st.sampled_from(
    [
        b'{"type":"page"}{"type":"page"}', b"\xff", b'{"type":"page","zz":"\\ud800"}', b"[1]", b"7",
        b'{"type":"page","type":"track","userId":"u1","userId":"u2"}', b'{"type":"page",}',
        b'{"type":"page","context":' + b"[" * 501 + b"]" * 501 + b"}", b"nope",
        b'{"type":"page","traits":{"\\u0065mail":"e@x.com"} , "userId" : 1e400}\r',
    ]
)  # fmt: skip
written = st.one_of(
    plain,
    st.builds(lambda body, ascii_: json.dumps(body, ensure_ascii=ascii_).encode(), sent_calls,
              st.booleans()),
    hostile,
)  # fmt: skip


@settings(max_examples=120, deadline=None, derandomize=True)
@given(st.lists(written, min_size=1, max_size=90))
def test_a_line_among_others_gives_the_row_it_gives_alone(sent: list[bytes]) -> None:
    found = {}
    for batch in batches(OneObject(b"\n".join(sent))):
        for row, number in enumerate(batch["line"].to_pylist()):
            if number is not None:
                found[number] = as_read(batch, row)

    assert found == {number: alone(each.removesuffix(b"\r")) for number, each in enumerate(sent, 1)}


def test_a_reading_travels() -> None:
    reading = Reading(LocalObjects(), 1, Extraction(), 5)

    assert pickle.loads(pickle.dumps(reading)) == reading
