"""The oracle agrees with every worked case that Segment's documentation gives or implies.

SEG and EXT numbers are those of the acceptance suite; `d` is days since the start.
"""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.oracle import Identifier, Line, Settings, World, judge
from tests.oracle.judging import profile_id
from tests.oracle.settings import DEFAULTS

START = datetime(2022, 5, 2, 14, 1, tzinfo=UTC)
# The cases' addresses are symbols such as `m1`, so e-mail is compared exactly here.
EXACT = tuple(replace(each, normalise="exact") for each in DEFAULTS)
SUGGESTED = Settings(
    identifiers=(*EXACT, Identifier("phone")),
    builtin=False,
    blocked_values=("-1", "null", "anonymous"),
    blocked_patterns=("^[0-]*$",),
)
BOTH = pytest.mark.parametrize("on_limit", ["drop_lowest", "drop_conflict"])

# title; calls `name@day id:value …`; profiles; call -> profile; violations `call id:value`
SHORT = {"u": "user_id", "a": "anonymous_id", "m": "email", "g": "ga_client_id",
         "i": "ios.id", "n": "android.id", "p": "phone"}  # fmt: skip
CASES: dict[str, tuple[str, str, str, str]] = {
    "SEG-01 anonymous page, then signup adds user_id to the same profile": (
        "e1@0 a:anon_123 / e2@1 u:use_123 a:anon_123",
        "a:anon_123 u:use_123", "e1=0 e2=0", ""),
    "SEG-02 anonymous to known": (
        "e1@0 a:anon_123 i:ios_abc123 / e2@0.1 a:anon_123 i:ios_abc123 / "
        "e3@0.2 a:anon_123 i:ios_abc123 u:abc123def m:janedoe@example.com",
        "a:anon_123 m:janedoe@example.com i:ios_abc123 u:abc123def", "e1=0 e2=0 e3=0", ""),
    "SEG-03 second device and second app, same user_id": (
        "e3@0 a:anon_123 i:ios_abc123 u:abc123def / e4@1 a:anon_456 n:and_1a2b3c4d u:abc123def / "
        "e5@2 a:anon_789 n:and_1a2b3c4d u:abc123def",
        "n:and_1a2b3c4d a:anon_123 a:anon_456 a:anon_789 i:ios_abc123 u:abc123def",
        "e3=0 e4=0 e5=0", ""),
    "SEG-04 two anonymous sessions joined by email; merge into the older profile": (
        "event_1@0 a:5285bc35-05ef-4d21 / event_2@0.001 a:5285bc35-05ef-4d21 m:jane.kim@segment.com"
        " / event_3@51 a:b50e18a5-1b8d-451c / "
        "event_4@51.001 a:b50e18a5-1b8d-451c m:jane.kim@segment.com",
        "a:5285bc35-05ef-4d21 a:b50e18a5-1b8d-451c m:jane.kim@segment.com",
        "event_1=0 event_2=0 event_3=0 event_4=0", ""),
    "SEG-05 new user_id with a known email: email dropped, second profile": (
        "e1@0 u:abc123 m:jane@example1.com / e2@1 u:abc456 m:jane@example1.com",
        "m:jane@example1.com u:abc123 / u:abc456", "e1=0 e2=1", "e2 m:jane@example1.com"),
    "SEG-06 anonymous_id not reset at logout; u2 signs up on the same browser": (
        "signup1@0 a:a1 u:u1 / logout@0.1 a:a1 / signup2@0.2 a:a1 u:u2",
        "a:a1 u:u1 / u:u2", "signup1=0 logout=0 signup2=1", "signup2 a:a1"),
    "SEG-07 message matches two profiles: merge; unrelated next message: new profile": (
        "s1@0 a:anon_1 / s2@0.1 a:anon_3 u:user_1 m:demo@gmail.com / "
        "m1@0.2 a:anon_1 u:user_1 m:demo@gmail.com / m2@0.3 a:anon_5",
        "a:anon_1 a:anon_3 m:demo@gmail.com u:user_1 / a:anon_5", "s1=0 s2=0 m1=0 m2=1", ""),
    "SEG-08 new anonymous_id after logout, same ga_client_id: one profile": (
        "e1@0 a:a1 g:g1 / e2@1 a:a2 g:g1", "a:a1 a:a2 g:g1", "e1=0 e2=0", ""),
    "SEG-09 ga_client_id shared by two user_ids: dropped, no merge": (
        "e1@0 u:u1 a:a1 g:g1 / e2@1 u:u2 a:a2 g:g1",
        "a:a1 g:g1 u:u1 / a:a2 u:u2", "e1=0 e2=1", "e2 g:g1"),
    "SEG-10 u2's anonymous session goes to u1 before u2 logs in": (
        "e1@0 u:u1 a:a1 g:g1 / e2@0.1 a:a2 g:g1 / e3@0.2 u:u2 a:a2 g:g1",
        "a:a1 a:a2 g:g1 u:u1 / u:u2", "e1=0 e2=0 e3=1", "e3 g:g1 / e3 a:a2"),
    "SEG-11 in-store iPad, five customers, default rules": (
        "e1@1 u:u1 i:ipad1 / e2@2 u:u2 i:ipad1 / e3@3 u:u3 i:ipad1 / e4@4 u:u4 i:ipad1 / "
        "e5@5 u:u5 i:ipad1",
        "i:ipad1 u:u1 / u:u2 / u:u3 / u:u4 / u:u5", "e1=0 e2=1 e3=2 e4=3 e5=4",
        "e2 i:ipad1 / e3 i:ipad1 / e4 i:ipad1 / e5 i:ipad1"),
    "SEG-12 same input, user_id unlimited": (
        "e1@1 u:u1 i:ipad1 / e2@2 u:u2 i:ipad1 / e3@3 u:u3 i:ipad1",
        "i:ipad1 u:u1 u:u2 u:u3", "e1=0 e2=0 e3=0", ""),
    "SEG-13 suggested blocked values never link": (
        "e0@0 u:anonymous a:a0 / e1@1 u:-1 a:a1 / e2@2 u:null a:a2 / e3@3 u:0000-0000 a:a3 / "
        "e4@4 u: a:a4 / e5@5 u:anonymous",
        "a:a0 / a:a1 / a:a2 / a:a3 / a:a4", "e0=0 e1=1 e2=2 e3=3 e4=4 e5=-",
        "e0 u:anonymous / e1 u:-1 / e2 u:null / e3 u:0000-0000 / e5 u:anonymous"),
    "SEG-14 unblocked constant user_id collapses everybody": (
        "e0@0 u:void a:a0 / e1@1 u:void a:a1 / e2@2 u:void a:a2",
        "a:a0 a:a1 a:a2 u:void", "e0=0 e1=0 e2=0", ""),
    "SEG-15 six emails for one user_id": (
        "e1@1 u:u1 m:m1 / e2@2 u:u1 m:m2 / e3@3 u:u1 m:m3 / e4@4 u:u1 m:m4 / e5@5 u:u1 m:m5 / "
        "e6@6 u:u1 m:m6",
        "m:m1 m:m2 m:m3 m:m4 m:m5 u:u1", "e1=0 e2=0 e3=0 e4=0 e5=0 e6=0", "e6 m:m6"),
    "SEG-16 sixth anonymous_id inside a week refused, accepted a week later, none evicted": (
        "e0@0 u:u1 a:a0 / e1@0.1 u:u1 a:a1 / e2@0.2 u:u1 a:a2 / e3@0.3 u:u1 a:a3 / "
        "e4@0.4 u:u1 a:a4 / e5@0.5 u:u1 a:a5 / e6@8 u:u1 a:a6 / e7@8.1 u:u1 a:a5",
        "a:a0 a:a1 a:a2 a:a3 a:a4 a:a5 a:a6 u:u1",
        "e0=0 e1=0 e2=0 e3=0 e4=0 e5=0 e6=0 e7=0", "e5 a:a5"),
    "SEG-17 email defines the person": (
        "e1@0 u:shopify_1 m:x@x.com / e2@1 u:uuid_1 m:x@x.com / e3@2 u:third m:x@x.com / "
        "e4@3 u:shopify_1 m:y@y.com",
        "m:x@x.com u:shopify_1 u:uuid_1 / m:y@y.com", "e1=0 e2=0 e3=0 e4=1",
        "e3 u:third / e4 u:shopify_1"),
    "SEG-18 chain of merges; all older ids end at the oldest": (
        "e1@0 a:a1 / e2@1 a:a2 / e3@2 a:a3 / e4@3 a:a3 m:m / e5@4 a:a2 m:m / e6@5 a:a1 m:m",
        "a:a1 a:a2 a:a3 m:m", "e1=0 e2=0 e3=0 e4=0 e5=0 e6=0", ""),
    "SEG-19 manual repair of a split profile by one identify carrying ids of both": (
        "e1@0 u:u1 m:m1 / e2@1 a:a9 p:+15550001 / fix@2 u:u1 p:+15550001",
        "a:a9 m:m1 p:+15550001 u:u1", "e1=0 e2=0 fix=0", ""),
    "SEG-20 repair refused when both sides have a user_id": (
        "e1@0 u:u1 m:m1 / e2@1 u:u2 p:+15550001 / fix@2 u:u1 p:+15550001",
        "m:m1 u:u1 / p:+15550001 u:u2", "e1=0 e2=1 fix=0", "fix p:+15550001"),
    "SEG-21 late user_id joins through email": (
        "e1@0 a:a1 m:m / e2@1 u:u1 a:a2 m:m", "a:a1 a:a2 m:m u:u1", "e1=0 e2=0", ""),
    "SEG-22 shared anonymous_id belongs to whoever came first (1/2)": (
        "x@0 u:u1 m:m / y@1 u:u2 a:a1 / z@2 m:m a:a1",
        "m:m u:u1 / a:a1 u:u2", "x=0 y=1 z=0", "z a:a1"),
    "SEG-23 shared anonymous_id belongs to whoever came first (2/2)": (
        "z@0 m:m a:a1 / x@1 u:u1 m:m / y@2 u:u2 a:a1",
        "a:a1 m:m u:u1 / u:u2", "z=0 x=0 y=1", "y a:a1"),
}  # fmt: skip
LIMITS = {
    "SEG-12": {"user_id": (1_000_000, "ever")},
    "SEG-16": {"anonymous_id": (5, "weekly")},
    "SEG-17": {"email": (1, "ever"), "user_id": (2, "ever")},
}


def limited(limits: dict[str, tuple[int, str]], first: str = "user_id") -> Settings:
    types = [
        replace(each, limit=limits[each.type][0], window=limits[each.type][1])
        if each.type in limits
        else each
        for each in SUGGESTED.types.values()
    ]
    return replace(SUGGESTED, identifiers=tuple(sorted(types, key=lambda t: t.type != first)))


def pairs(text: str) -> list[str]:
    """`u:u1 a:a1` in full, as `type:value`."""
    return [f"{SHORT[word[0]]}{word[1:]}" for word in text.split()]


def line(body: dict[str, Any] | bytes | None, number: int = 1) -> Line:
    raw = json.dumps(body).encode() if isinstance(body, dict) else body
    return Line("web", "a.gz", number, raw, START)


def call(name: str, day: float, ids: list[str], **more: Any) -> Line:
    entries = [dict(zip(("type", "id"), id_.split(":", 1), strict=True)) for id_ in ids]
    external = [{**entry, "collection": "users", "encoding": "none"} for entry in entries]
    time = (START + timedelta(days=day)).isoformat()
    body = {"type": "track", "messageId": name, "receivedAt": time, "timestamp": time}
    return line({**body, "context": {"externalIds": external}, **more})


def told(text: str) -> list[Line]:
    heads = [each.strip().partition(" ") for each in text.split(" / ")]
    return [
        call(*((name := head.split("@"))[0], float(name[1]), pairs(ids))) for head, _, ids in heads
    ]


def in_order_of_birth(world: World) -> list[str]:
    born = [profile_id(part, "shop") for part, canonical, _ in world.graph if part == canonical]
    return [each for each in born if each in {row["profile_id"] for row in world.profiles}]


def listed(world: World) -> list[list[str]]:
    rows = {row["profile_id"]: row["identifiers"].items() for row in world.profiles}
    return [
        sorted(f"{type_}:{value}" for type_, values in rows[profile] for value in values)
        for profile in in_order_of_birth(world)
    ]


def noted(world: World) -> list[tuple[str, str, str]]:
    return [(each.call, ":".join(each.id), each.reason) for each in world.violations]


@BOTH
@pytest.mark.parametrize("title", CASES)
def test_a_worked_case_gives_the_documented_profiles(title: str, on_limit: str) -> None:
    calls, profiles, events, violations = CASES[title]
    first = "email" if title.startswith("SEG-17") else "user_id"
    settings = replace(limited(LIMITS.get(title[:6], {}), first), on_limit=on_limit)
    if title.startswith("SEG-14"):
        settings = replace(settings, blocked_values=(), blocked_patterns=())
    world = judge(told(calls), settings)
    order = in_order_of_birth(world)
    assert listed(world) == [sorted(pairs(each)) for each in profiles.split(" / ")]
    assert world.event_profiles == {
        name: None if place == "-" else order[int(place)]
        for name, _, place in (each.partition("=") for each in events.split())
    }
    expected = [each.partition(" ") for each in violations.split(" / ") if each]
    assert [each[:2] for each in noted(world)] == [(e, *pairs(id_)) for e, _, id_ in expected]


def test_seg_18_the_graph_is_rewritten_for_every_profile_below_a_merged_one() -> None:
    world = judge(told(CASES[next(each for each in CASES if each[:6] == "SEG-18")][0]), SUGGESTED)
    p1, p2, p3 = (world.graph[n][0] for n in range(3))
    assert world.graph == [
        (p1, p1, "e1"), (p2, p2, "e2"), (p3, p3, "e3"),
        (p3, p2, "e5"), (p2, p1, "e6"), (p3, p1, "e6"),
    ]  # fmt: skip


@BOTH
def test_seg_24_the_merge_after_the_hundredth_is_refused(on_limit: str) -> None:
    settings = replace(limited({"anonymous_id": (1_000_000, "ever")}), on_limit=on_limit)
    alone = [call(f"x{n}", n / 1000, [f"anonymous_id:a{n}"]) for n in range(103)]
    known = [call(f"y{n}", 1 + n / 1000, ["user_id:u1", f"anonymous_id:a{n}"]) for n in range(103)]
    world = judge(alone + known, settings)
    everyone = sorted(["user_id:u1", *(f"anonymous_id:a{n}" for n in range(101))])
    assert listed(world) == [everyone, ["anonymous_id:a101"], ["anonymous_id:a102"]]
    reason = "Profile merge limit exceeded"
    assert noted(world) == [(f"y{n}", f"anonymous_id:a{n}", reason) for n in (101, 102)]
    assert {world.event_profiles[f"y{n}"] for n in range(103)} == {world.event_profiles["x0"]}


@BOTH
def test_seg_25_the_mapping_after_the_thousandth_is_refused(on_limit: str) -> None:
    settings = replace(limited({"anonymous_id": (1_000_000, "ever")}), on_limit=on_limit)
    calls = [call(f"e{n}", n / 1000, ["user_id:u1", f"anonymous_id:a{n}"]) for n in range(1000)]
    world = judge(calls, settings)
    assert listed(world) == [sorted(["user_id:u1", *(f"anonymous_id:a{n}" for n in range(999))])]
    assert noted(world) == [("e999", "anonymous_id:a999", "Identifier mapping limit exceeded")]
    assert world.event_profiles["e999"] == world.event_profiles["e0"]


@pytest.mark.parametrize(
    ("on_limit", "lost"), [("drop_lowest", ["a:aX", "m:m6"]), ("drop_conflict", ["m:m6"])]
)
def test_seg_26_what_else_is_lost_when_a_limit_is_hit(on_limit: str, lost: list[str]) -> None:
    five = " / ".join(f"e{n}@{n} u:u1 m:m{n}" for n in range(1, 6))
    world = judge(told(f"{five} / x@6 u:u1 m:m6 a:aX"), replace(SUGGESTED, on_limit=on_limit))
    reason = "Identifier value limit exceeded"
    assert noted(world) == [("x", *pairs(each), reason) for each in lost]
    kept = ["u:u1", *(f"m:m{n}" for n in range(1, 6)), *({"a:aX", "m:m6"} - set(lost))]
    assert listed(world) == [sorted(pairs(" ".join(kept)))]


PHONE = {"id": "123-456-7890", "type": "phone", "collection": "users", "encoding": "none"}
APP, NAME = Identifier("app_id", key="app_id"), Identifier("user_name", key="user_name")
EXTRACTED: dict[str, tuple[dict[str, Any], Settings, set[str]]] = {
    "EXT-01": ({"context": {"device": {"type": "ios", "id": "X"}}}, Settings(), {"ios.id:X"}),
    "EXT-02": ({"context": {"device": {"type": "android", "advertisingId": "G",
               "adTrackingEnabled": False}}}, Settings(), set()),
    "EXT-03": ({"context": {"device": {"type": "android", "advertisingId": "G",
               "adTrackingEnabled": True}}}, Settings(), {"android.idfa:G"}),
    "EXT-04 strict": ({"context": {"device": {"type": "ios", "advertisingId": "G"}}},
                      Settings(), set()),
    "EXT-04 lenient": ({"context": {"device": {"type": "ios", "advertisingId": "G"}}},
                       Settings(ios_idfa_needs_tracking=False), {"ios.idfa:G"}),
    "EXT-05 on": ({"properties": {"email": " Jane@X.com"}}, Settings(), {"email:jane@x.com"}),
    "EXT-05 off": ({"properties": {"email": "j@x.com"}}, Settings(properties_email=False), set()),
    "EXT-06": ({"context": {"traits": {"email": "j@x.com"}}}, Settings(), {"email:j@x.com"}),
    "EXT-07": ({"context": {"externalIds": [PHONE]}}, Settings(), {"phone:123-456-7890"}),
    "EXT-07 ignored": ({"context": {"externalIds": [PHONE]}},
                       Settings(unknown_types="ignore"), set()),
    "EXT-08": ({"context": {"externalIds": [PHONE | {"type": "Phone"}]}}, Settings(), set()),
    "EXT-09": ({"context": {"externalIds": [{k: v for k, v in PHONE.items() if k != "encoding"}]}},
               Settings(), set()),
    "EXT-10": ({"type": "identify", "traits": {"appId": "7"}}, Settings(identifiers=(APP,)),
               {"app_id:7"}),
    "EXT-11": ({"type": "identify", "traits": {"username": "j"}}, Settings(identifiers=(NAME,)),
               set()),
    "EXT-12": ({"type": "alias", "previousId": "a1", "userId": "u1"}, Settings(), {"user_id:u1"}),
}  # fmt: skip


@pytest.mark.parametrize("title", EXTRACTED)
def test_a_payload_gives_the_documented_identifiers(title: str) -> None:
    body, settings, expected = EXTRACTED[title]
    (accepted,) = judge([line({"type": "track", **body})], settings).reading.calls
    assert {":".join(id_) for id_ in accepted.ids} == expected


def test_a_phone_number_is_compared_as_e164() -> None:
    settings = Settings(identifiers=(Identifier("phone", normalise="phone", region="US"),))
    sent = [{"type": "identify", "traits": {"phone": each}} for each in ("(212) 555-0123", "soon")]
    world = judge(map(line, sent), settings)
    assert set(world.set_profiles) == {frozenset({("phone", "+12125550123")})}


def traits_after(*calls: Line) -> list[dict[str, str]]:
    return [row["traits"] for row in judge(calls, Settings()).profiles]


def test_ext_06_traits_in_the_context_of_a_track_call_are_not_the_profile_s() -> None:
    assert traits_after(call("e", 0, [], context={"traits": {"email": "j@x.com"}})) == [{}]


def test_traits_of_a_group_call_are_the_account_s() -> None:
    assert traits_after(call("e", 0, ["user_id:u1"], type="group", traits={"plan": "x"})) == [{}]


def test_ext_13_null_removes_a_trait_and_an_empty_string_is_kept() -> None:
    def said(name: str, day: int, **traits: Any) -> Line:
        return call(name, day, ["user_id:u1"], type="identify", traits=traits)

    first, last = said("e1", 0, t="x", s="y", n=1.50, o=[1]), said("e2", 1, t=None, s="")
    assert traits_after(last, first) == [{"s": "", "n": "1.5", "o": "[1]"}]


def test_traits_keep_the_exact_text_of_what_is_not_a_string() -> None:
    raw = b' {"type":"identify", "userId":7, "traits": {"n":1.50,"s":"\\u00e9", "o": {"a": [1 ]} }}'
    world = judge([line(raw)], Settings())
    assert world.profiles[0]["traits"] == {"n": "1.50", "s": "é", "o": '{"a": [1 ]}'}
    assert [row["value"] for row in world.profile_traits] == ["1.50", '{"a": [1 ]}', '"\\u00e9"']


REFUSED = {
    b"{": "not_json", b'{"a":NaN}': "not_json", b'{"type":"track"},': "not_json",
    b"[1]": "not_an_object", b'{"type":"track"} {"type":"track"}': "two_values",
    b'{"type":"track","a":"\xff"}': "invalid_utf8",
    b'{"type":"track","a":"\\ud800"}': "invalid_utf8",
    b'{"type":"Track"}': "unknown_type", b'{"type":null}': "missing_type",
    b'{"type":"track","userId":"' + b"x" * 1001 + b'"}': "identifier_too_long",
    b'{"type":"track","a":"' + b"x" * (1 << 20) + b'"}': "line_too_long",
    None: "unreadable_rest",
}  # fmt: skip


@pytest.mark.parametrize(("raw", "reason"), REFUSED.items(), ids=REFUSED.values())
def test_a_line_that_is_no_call_is_refused_with_its_reason(raw: bytes, reason: str) -> None:
    reading = judge([line(raw), line({"type": "track"}, 2), line(b" ", 3)], Settings()).reading
    assert [(each.number, why) for each, why in reading.rejected] == [(1, reason)]
    assert [each.line.number for each in reading.calls] == [2]


def test_of_two_calls_with_one_message_id_the_earlier_received_is_kept() -> None:
    late, soon = call("e", 1, ["user_id:u2"]), replace(call("e", 0, ["user_id:u1"]), number=2)
    reading = judge([late, soon, replace(soon, number=3)], Settings()).reading
    assert [each.line.number for each in reading.calls] == [2]
    assert [(each.number, *more) for each, *more in reading.duplicates] == [
        (3, "e", False),
        (1, "e", True),
    ]


def test_a_call_without_message_id_and_times_is_known_by_its_bytes() -> None:
    raw = b'{"type":"track","receivedAt":"soon","sentAt":"2022-13-01","timestamp":5}'
    (accepted,) = judge([line(raw)], Settings()).reading.calls
    # Computed with coreutils: b2sum -l 128
    assert accepted.message_id == "sha:7c5776015dda0b51aae40022acde06a9"
    assert (accepted.received_at, accepted.happened) == (START, START)


def test_a_set_is_considered_once_on_each_day_it_is_seen() -> None:
    again = "e1@0 u:u1 m:m1 / e2@0.1 u:u2 m:m1 / e3@0.2 u:u2 m:m1 / e4@1 u:u2 m:m1"
    world = judge(told(again), SUGGESTED)
    refused = [(each.day.isoformat(), each.call) for each in world.violations]
    assert refused == [("2022-05-02", "e2"), ("2022-05-03", "e4")]
    assert listed(world) == [["email:m1", "user_id:u1"], ["user_id:u2"]]


def test_the_strategy_components_knows_blocked_values_and_no_limits() -> None:
    calls = told("e1@0 u:u1 a:a1 / e2@1 u:u2 a:a1 / e3@2 u:null a:a2 / e4@3 u:null a:a3")
    world = judge(calls, replace(SUGGESTED, strategy="components"))
    together = ["anonymous_id:a1", "user_id:u1", "user_id:u2"]
    assert listed(world) == [together, ["anonymous_id:a2"], ["anonymous_id:a3"]]
    assert {each.reason for each in world.violations} == {"ID value blocked"}


def test_the_strategy_components_knows_no_caps() -> None:
    calls = told("e1@0 a:a1 / e2@1 a:a2 / e3@2 a:a1 a:a2 m:m")
    capless = replace(SUGGESTED, strategy="components", merges=0, mappings=1)
    assert listed(judge(calls, capless)) == [["anonymous_id:a1", "anonymous_id:a2", "email:m"]]


def overruled(always: str = "", never: str = "", **more: Any) -> Settings:
    def pair(text: str) -> Any:
        return [tuple(tuple(p.split(":", 1)) for p in pairs(text))] if text else []

    return replace(SUGGESTED, always=tuple(pair(always)), never=tuple(pair(never)), **more)


def test_always_together_joins_what_no_call_joins_and_is_noted_where_a_limit_forbids_it() -> None:
    calls = told("e1@0 u:u1 / e2@1 u:u2 m:m2 / e3@2 u:u2 m:m3")
    world = judge(calls, overruled(always="u:u1 u:u2"))
    assert listed(world) == [["email:m2", "email:m3", "user_id:u1", "user_id:u2"]]
    assert noted(world) == [("e2", "user_id:u2", "Identifier value limit exceeded")]


@BOTH
def test_never_together_costs_the_call_that_would_unite_them_an_identifier(on_limit: str) -> None:
    calls = told("e1@0 m:m1 / e2@1 m:m2 / e3@2 u:u1 m:m1 m:m2 a:a1")
    world = judge(calls, overruled(never="m:m1 m:m2", on_limit=on_limit))
    lost = ["a:a1", "m:m2"] if on_limit == "drop_lowest" else ["m:m2"]
    reason = "Identifiers kept apart by an override"
    assert noted(world) == [("e3", *pairs(each), reason) for each in lost]
    assert ["email:m2"] in listed(world)


@pytest.mark.parametrize("value", ["N/A", " Undefined ", "[object Object]", "00-0", "true"])
def test_the_built_in_pack_blocks_placeholders_in_any_case(value: str) -> None:
    call_ = call("e", 0, [f"user_id:{value}"])
    assert [each.reason for each in judge([call_], Settings()).violations] == ["ID value blocked"]
    assert judge([call_], Settings(builtin=False)).violations == []


def test_a_missing_time_of_receipt_is_taken_from_the_next_field_that_has_one() -> None:
    names = ("receivedAt", "sentAt", "timestamp", "originalTimestamp")
    body = {name: f"2022-05-0{n}T01:00:00+01:00" for n, name in enumerate(names, 1)}
    for n, name in enumerate(names, 1):
        (accepted,) = judge([line({"type": "page", **body})], Settings()).reading.calls
        assert accepted.received_at == datetime(2022, 5, n, tzinfo=UTC)
        del body[name]


def test_a_call_that_adds_nothing_breaks_no_limit() -> None:
    settings = limited({"anonymous_id": (1, "daily")})
    first, second, again = told("e1@0 u:u1 a:a1 / e2@2 u:u1 a:a2 / e3@0.5 u:u1 a:a1")
    late = line(json.loads(again.raw or b"") | {"receivedAt": "2022-06-01T00:00:00Z"})
    assert judge([first, second, late], settings).violations == []


def test_order_by_timestamp_lets_the_earlier_said_win() -> None:
    first, second = told("e1@0 u:u1 a:a1 / e2@1 u:u2 a:a1")
    late = line(json.loads(first.raw or b"") | {"receivedAt": "2022-06-01T00:00:00Z"})
    by_arrival = judge([late, second], SUGGESTED)
    assert listed(by_arrival) == [["anonymous_id:a1", "user_id:u2"], ["user_id:u1"]]
    by_timestamp = judge([late, second], replace(SUGGESTED, order_by="timestamp"))
    assert listed(by_timestamp) == [["anonymous_id:a1", "user_id:u1"], ["user_id:u2"]]


def test_rows_of_a_merged_profile_are_whole() -> None:
    world = judge(told("e1@0 a:a1 / e2@1 u:u1 / e3@2 u:u1 a:a1"), SUGGESTED)
    # Computed with coreutils: printf 'profile-lake/1\0shop\0anonymous_id\0a1' | sha256sum
    profile = "1ddcc3fb8eab0ff39a4722c1a2d52f13"
    days = [START + timedelta(days=n) for n in range(3)]
    seen = {"first_seen": days[0], "last_seen": days[2]}
    assert world.profiles == [
        {"profile_id": profile, **seen, "calls": 3, "traits": {},
         "identifiers": {"anonymous_id": ["a1"], "user_id": ["u1"]}}
    ]  # fmt: skip
    assert world.profile_identifiers == [
        {"type": "anonymous_id", "value": "a1", "profile_id": profile, **seen, "calls": 2},
        {"type": "user_id", "value": "u1", "profile_id": profile, "first_seen": days[1],
         "last_seen": days[2], "calls": 2},
    ]  # fmt: skip


def test_the_oracle_shares_no_code_with_the_product_and_is_read_in_one_go() -> None:
    own = [file for file in Path(__file__).parent.glob("*.py") if "test_" not in file.name]
    texts = [file.read_text() for file in (*own, Path(__file__).parents[1] / "linking.py")]
    nodes = [node for text in texts for node in ast.walk(ast.parse(text))]
    modules = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules |= {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)}
    assert not {name.partition(".")[0] for name in modules} & {"lake", "jobs", "pyspark"}
    assert sum(len(file.read_text().splitlines()) for file in own) <= 600
