"""A landing zone that went wrong in every way: the night publishes, and no line is lost."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from tests.support.nights import site, unpacked

LONG = 300 << 20  # bytes


def call(message: str | None, **fields: Any) -> bytes:
    said = {
        "type": "identify",
        "messageId": message,
        "receivedAt": "2026-11-01T10:00:00Z",
        **fields,
    }
    return json.dumps({name: value for name, value in said.items() if value is not None}).encode()


NAMELESS = call(None, userId="u9")

#: Line by line what it is to become: a message id, ``duplicate`` or a reason.
ODD: list[tuple[bytes, str | None]] = [
    (call("o1", userId=7), "o1"),
    (call("o2", userId="7", traits={"plan": "plus"}), "o2"),
    (b'{"type":"track","messageId":"o3","userId":"\xff\xfe"}', "invalid_utf8"),
    (rb'{"type":"track","messageId":"o4","userId":"\ud83d"}', "invalid_utf8"),
    (call("o5") + call("o6"), "two_values"),
    (b"null", "not_an_object"),
    (b"[]", "not_an_object"),
    (b'"a call"', "not_an_object"),
    (b"", None),
    (b"  \t", None),
    (NAMELESS, f"sha:{blake2b(NAMELESS, digest_size=16).hexdigest()}"),
    (NAMELESS, "duplicate"),
    (call("o1", userId="somebody else", receivedAt="2026-11-01T11:00:00Z"), "duplicate"),
    (call("o7", userId="u7", timestamp=1_793_527_200_000), "o7"),
    (call("o8", userId="u8", timestamp="+57805-01-01T00:00:00Z"), "o8"),
    (call("o9", userId="u8", timestamp=1_761_825_600_000_000), "o9"),
    (b"{}", "missing_type"),
    (call("o10", type="purchase"), "unknown_type"),
    (b'{"type":"track","messageId":"o11","value":NaN}', "not_json"),
    (b'{"type":"track","messageId":"o12"', "not_json"),
    (call("o13", userId="x" * 1001), "identifier_too_long"),
    (call("o14", userId=""), "o14"),
    (call("o15", userId=True), "o15"),
]


def test_every_line_is_accepted_rejected_or_a_duplicate_and_the_night_publishes(
    spark: SparkSession, tmp_path: Path
) -> None:
    landing = tmp_path / "landing"
    expected = landed(landing)
    lake = site(tmp_path, {"web": landing})

    record = lake.run()

    assert record["status"] == "published"
    found: dict[tuple[str, int], list[str]] = {}
    for row in lake.dicts("events"):
        found.setdefault(place(row), []).append(row["message_id"])
    for row in lake.dicts("rejected_calls"):
        found.setdefault(place(row), []).append(row["reason"])
    for row in lake.dicts("duplicate_calls"):
        found.setdefault(place(row), []).append("duplicate")
    assert found == {at: [fate] for at, fate in expected.items()}

    ledger = {Path(r["object"]).name: (r["state"], r["lines"]) for r in lake.dicts("ingest_ledger")}
    lines = {name: sum(at == name for at, _ in expected) for name in sorted(STATES)}
    assert ledger == {name: (state, lines[name]) for name, state in STATES.items()}
    assert record["lines"]["read"] == len(expected)

    times = {r["message_id"]: (r["timestamp"], r["bad_times"]) for r in lake.dicts("events")}
    assert times["o7"][0] == datetime(2026, 11, 1, 10, tzinfo=UTC)
    assert (times["o7"][1], times["o8"], times["o9"]) == (0, (None, 1), (None, 1))
    (long,) = (r for r in lake.dicts("rejected_calls") if r["reason"] == "line_too_long")
    assert (long["bytes"], len(long["raw"])) == (LONG + 2, 64 << 10)
    people = {
        tuple(sorted(dict(r["identifiers"])["user_id"])): r["calls"] for r in lake.dicts("profiles")
    }
    assert people == {("7",): 2, ("u7",): 1, ("u8",): 2, ("u9",): 1, ("u1",): 7}


STATES = {
    "bad_crc.jsonl.gz": "damaged",
    "empty.jsonl.gz": "read",
    "odd.jsonl": "read",
    "one_long_line.jsonl.gz": "read",
    "text.jsonl.gz": "read",
    "truncated.jsonl.gz": "damaged",
}


def landed(landing: Path) -> dict[tuple[str, int], str]:
    """Write the objects; what each of their lines is to become, by object and line."""
    landing.mkdir()
    expected: dict[tuple[str, int], str] = {}

    def put(name: str, body: bytes, *fates: str | None) -> None:
        (landing / name).write_bytes(body)
        if len(body) < 1 << 16:  # an independent count of the lines and of what can be read
            text, whole = unpacked(body)
            counted = text.count(b"\n") + (not whole)
            assert counted == len(fates), name
        expected.update({(name, n): f for n, f in enumerate(fates, 1) if f is not None})

    first, second = call("c1", userId="u1") + b"\n", call("c2", userId="u1") + b"\n"
    put("odd.jsonl", b"".join(line + b"\n" for line, _ in ODD), *(fate for _, fate in ODD))
    put("empty.jsonl.gz", b"")
    put("text.jsonl.gz", call("t1", userId="u1") + b"\n", "t1")
    bad = bytearray(gzip.compress(first + second))
    bad[-8] ^= 0xFF  # the checksum
    put("bad_crc.jsonl.gz", bytes(bad), "c1", "c2", "unreadable_rest")
    packed = zlib.compressobj(wbits=31)
    kept = packed.compress(call("d1", userId="u1") + b"\n" + call("d2", userId="u1") + b"\n")
    kept += packed.flush(zlib.Z_SYNC_FLUSH)
    noise = random.Random(1).randbytes(300).hex()
    lost = packed.compress(call("d3", userId="u1", noise=noise) + b"\n") + packed.flush()
    put("truncated.jsonl.gz", kept + lost[: len(lost) // 2], "d1", "d2", "unreadable_rest")
    with gzip.open(landing / "one_long_line.jsonl.gz", "wb", compresslevel=1) as out:
        out.write(call("l1", userId="u1") + b"\n" + b'{"')
        for _ in range(300):
            out.write(b"a" * (1 << 20))
        out.write(b"\n" + call("l2", userId="u1") + b"\n")
    expected |= {
        ("one_long_line.jsonl.gz", 1): "l1",
        ("one_long_line.jsonl.gz", 2): "line_too_long",
        ("one_long_line.jsonl.gz", 3): "l2",
    }
    return expected


def place(row: dict[str, Any]) -> tuple[str, int]:
    return Path(row["object"]).name, row["line"]
