"""The generated world: what lands can be counted, and who is who is known.

Every claim is checked on the landed bytes, read here with zlib and json, not on the generator's
own notes.
"""

from __future__ import annotations

import doctest
import gzip
import hashlib
import json
import re
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import phonenumbers
import pytest

from lake.cli import world as world_module
from lake.cli.score import pairwise
from lake.cli.world import ACCEPTED_KINDS, BLOCKED_USER_IDS, REJECTED_KINDS, Landed, World

CALLS = 6_000
DAY_MS = 86_400_000
FIRST_MIDNIGHT = int(datetime(2026, 11, 2, tzinfo=UTC).timestamp()) * 1000
CALL_TYPES = {"identify", "track", "page", "screen", "group", "alias"}
LAYOUT = re.compile(
    r"(?P<source>[a-z]+)/segment-logs/[0-9A-Za-z]{10}/(?P<folder>\d{13})/"
    r"(?P<written>\d{13})\.[0-9a-f]{12}\.[0-9a-f]{7}\."
    r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.gz"
)


@dataclass(frozen=True)
class Line:
    """A landed line as read back; ``call`` is None where it is refused, with its reason."""

    day: int
    path: str
    raw: bytes
    verdict: str
    call: dict[str, Any] | None


@dataclass(frozen=True)
class Shop:
    world: World
    landed: list[Landed]
    lines: list[Line]
    objects: dict[str, bytes]

    @property
    def accepted(self) -> list[Line]:
        return [line for line in self.lines if line.verdict == "accepted"]


def unpacked(packed: bytes) -> tuple[bytes, bool]:
    """What can be read of a gzip object, and whether it is whole."""
    reader = zlib.decompressobj(31)
    return reader.decompress(packed), reader.eof


def verdict(raw: bytes, known: set[str]) -> tuple[str, dict[str, Any] | None]:
    """What becomes of a line, by the rules of the lake; ``known`` messageIds grow."""
    if len(raw) > 1024 * 1024:
        return "over_long", None
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return "invalid_utf8", None
    try:
        call = json.loads(text)
    except json.JSONDecodeError as error:
        return "two_values" if error.msg == "Extra data" else "invalid_json", None
    if call["type"] not in CALL_TYPES:
        return "unknown_type", None
    key = call.get("messageId") or hashlib.sha256(raw).hexdigest()
    if key in known:
        return "duplicate", call
    known.add(key)
    return "accepted", call


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A small world, landed day by day and read back."""
    world, landing = World(calls=CALLS), tmp_path_factory.mktemp("landing")
    landed, lines, objects = [], [], {}
    known: set[str] = set()
    for day in range(3):
        landed.append(world.write_day(landing, day))
        for path in sorted(landing.rglob("*.gz")):
            name = str(path.relative_to(landing))
            if name not in objects:
                objects[name] = path.read_bytes()
                lines += read(day, name, objects[name], known)
    return Shop(world, landed, lines, objects)


def read(day: int, name: str, packed: bytes, known: set[str]) -> list[Line]:
    text, whole = unpacked(packed)
    *good, rest = text.split(b"\n")
    found = [Line(day, name, raw, *verdict(raw, known)) for raw in good]
    return found if whole else [*found, Line(day, name, rest, "unreadable_rest", None)]


def identifiers(call: dict[str, Any]) -> set[tuple[str, str]]:
    """A call's identifiers from the documented places, for the types of the truth."""
    context, found = call["context"], set()
    found |= {("user_id", str(call["userId"]))} if "userId" in call else set()
    found |= {("anonymous_id", call["anonymousId"])} if "anonymousId" in call else set()
    for place in (call.get("traits"), context.get("traits"), call.get("properties")):
        if place and place.get("email"):
            found.add(("email", place["email"].strip().lower()))
        if place and place.get("phone"):
            number = phonenumbers.parse(place["phone"], "US")
            e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            found.add(("phone", e164))
    if device := context.get("device"):
        found.add((f"{device['type']}.id", device["id"]))
        if "token" in device:
            found.add((f"{device['type']}.push_token", device["token"]))
        if device["adTrackingEnabled"]:
            found.add((f"{device['type']}.idfa", device["advertisingId"]))
    if analytics := context.get("integrations", {}).get("Google Analytics"):
        found.add(("ga_client_id", analytics["clientId"]))
    found |= {(e["type"], e["id"]) for e in context.get("externalIds", ())}
    return found


def components(lines: list[Line], ignored: set[tuple[str, str]]) -> dict[tuple[str, str], object]:
    """Connected components of the calls' identifiers, by union and find."""
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        while parent.setdefault(node, node) != node:
            parent[node] = node = parent[parent[node]]
        return node

    for line in lines:
        first, *others = sorted(identifiers(line.call) - ignored) or [("", "")]
        for other in others:
            parent[root(other)] = root(first)
        root(first)
    return {node: root(node) for node in parent if node != ("", "")}


def received_day(line: Line) -> int:
    return (date.fromisoformat(line.call["receivedAt"][:10]) - date(2026, 11, 2)).days


def folder_day(line: Line) -> int:
    return (int(LAYOUT.fullmatch(line.path)["folder"]) - FIRST_MIDNIGHT) // DAY_MS


# -- the same bytes ----------------------------------------------------------------------------


def landed_bytes(landing: Path, **world: Any) -> dict[str, bytes]:
    generated = World(**world)
    for day in range(3):
        generated.write_day(landing, day)
    return {str(p.relative_to(landing)): p.read_bytes() for p in sorted(landing.rglob("*.gz"))}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path):
    first = landed_bytes(tmp_path / "first", calls=1_200)
    assert landed_bytes(tmp_path / "second", calls=1_200) == first
    other = landed_bytes(tmp_path / "other", calls=1_200, seed=8)
    assert not first.keys() & other.keys()


def test_the_lines_of_seed_7_are_these_on_every_machine(tmp_path):
    digest = hashlib.sha256()
    for name, packed in landed_bytes(tmp_path, calls=1_200).items():
        digest.update(name.encode() + b"\n" + unpacked(packed)[0])
    expected = "b8c891e29c2c46c5abb7535c2b8975575236e8928b097278797bbeaee76e83d8"
    assert digest.hexdigest() == expected


def test_days_may_be_written_in_any_order_and_again(tmp_path, shop):
    world = World(calls=CALLS)
    assert [world.write_day(tmp_path, day) for day in (2, 0, 1, 2)] == [
        shop.landed[day] for day in (2, 0, 1, 2)
    ]
    written = {str(p.relative_to(tmp_path)): p for p in tmp_path.rglob("*.gz")}
    assert {name: path.read_bytes() for name, path in written.items()} == shop.objects
    changed = {name: path.stat().st_mtime_ns // 1_000_000 for name, path in written.items()}
    assert changed == {name: int(LAYOUT.fullmatch(name)["written"]) for name in shop.objects}


# -- what lands --------------------------------------------------------------------------------


def test_objects_lie_as_segment_puts_them(shop):
    found = [LAYOUT.fullmatch(name) for name in shop.objects]
    assert all(found)
    folders = {(int(match["folder"]) - FIRST_MIDNIGHT) / DAY_MS for match in found}
    assert folders == {0, 1, 2}
    assert {match["source"]: match["source"] for match in found} == shop.world.sources
    assert [landed.files for landed in shop.landed] == [19, 20, 19]


def test_landed_lines_are_those_that_a_reader_accepts_refuses_and_knows_already(shop):
    for day, landed in enumerate(shop.landed):
        read = Counter(line.verdict for line in shop.lines if line.day == day)
        refused = {kind: n for kind, n in landed.kinds.items() if kind in REJECTED_KINDS}
        assert read == {"accepted": landed.accepted, "duplicate": landed.duplicate, **refused}
        assert landed.lines == landed.accepted + landed.duplicate + landed.rejected
        assert landed.lines == sum(landed.kinds.values()) == read.total()


def test_about_as_many_lines_land_as_were_asked_for(shop):
    assert sum(landed.lines for landed in shop.landed) == pytest.approx(CALLS, rel=0.03)


def test_each_way_to_be_odd_occurs(shop):
    kinds = Counter()
    for landed in shop.landed:
        kinds.update(landed.kinds)
    assert {kind for kind, n in kinds.items() if n} == {
        *ACCEPTED_KINDS,
        *("repeat", "retry", "copy"),
        *REJECTED_KINDS,
    }
    assert [kinds[kind] for kind in REJECTED_KINDS] == [9, 9, 9, 9, 1, 1]


def test_odd_calls_that_are_accepted_are_odd_as_counted(shop):
    calls = [line.call for line in shop.accepted]
    counted = Counter()
    for landed in shop.landed:
        counted.update(landed.kinds)
    iso = re.compile(r"2026-(10-2[89]|10-3\d|11-0[1-5])T\d\d:\d\d:\d\d\.\d{3}Z")
    assert counted["missing_message_id"] == sum("messageId" not in call for call in calls)
    assert counted["bad_timestamp"] == sum(not iso.fullmatch(call["timestamp"]) for call in calls)
    assert counted["numeric_user_id"] == sum(isinstance(call.get("userId"), int) for call in calls)
    blocked = [call["userId"] for call in calls if call.get("userId") in BLOCKED_USER_IDS]
    assert (counted["blocked_user_id"], set(blocked)) == (len(blocked), set(BLOCKED_USER_IDS))


def test_late_calls_happened_a_day_or_more_before_they_arrived(shop):
    def age(call: dict[str, Any]) -> float:
        made, arrived = (datetime.fromisoformat(call[k]) for k in ("timestamp", "receivedAt"))
        return (arrived - made).total_seconds() / 86_400

    dated = [line.call for line in shop.accepted if line.call["timestamp"].startswith("2026-1")]
    late = [age(call) for call in dated if age(call) > 0.5]
    counted = sum(landed.kinds["late_call"] for landed in shop.landed)
    assert counted <= len(late) <= counted * 1.1  # the others of a late visit are odd otherwise
    assert min(late) >= 1
    assert max(late) < 5.01


def test_a_few_calls_land_a_day_late_in_either_folder(shop):
    held = Counter(
        (received_day(line), folder_day(line), line.day)
        for line in shop.accepted
        if received_day(line) != line.day
    )
    assert set(held) == {(0, 0, 1), (0, 1, 1), (1, 1, 2), (1, 2, 2)}


def test_a_repeat_has_the_same_bytes_and_a_retry_other_times_of_sending(shop):
    first = {line.call.get("messageId"): line for line in shop.accepted}
    differing: Counter[tuple[str, ...]] = Counter()
    days = set()
    for line in shop.lines:
        if line.verdict == "duplicate" and "messageId" in line.call:
            origin = first[line.call["messageId"]]
            # What a truncated object lost may join its own repeats; other sources tell.
            assert line.path != origin.path or line.path.startswith("android/")
            differing[tuple(k for k in line.call if line.call[k] != origin.call[k])] += 1
            days.add(line.day)
    assert set(differing) == {(), ("receivedAt", "sentAt")}
    assert days == {0, 1, 2}


def test_one_object_is_a_renamed_copy_of_another(shop):
    by_content = defaultdict(list)
    for name, packed in shop.objects.items():
        by_content[packed].append(name)
    (copies,) = [names for names in by_content.values() if len(names) > 1]
    days = {name: {line.day for line in shop.lines if line.path == name} for name in copies}
    assert sorted(days.values(), key=sorted) == [{0}, {1}]


def test_every_call_that_was_made_is_accepted_once(shop):
    assert len(shop.accepted) == len(shop.world._diary.calls)


def test_one_object_is_truncated_after_its_good_lines(shop):
    (cut,) = [name for name, packed in shop.objects.items() if not unpacked(packed)[1]]
    with pytest.raises(EOFError):
        gzip.decompress(shop.objects[cut])
    found = Counter(line.verdict for line in shop.lines if line.path == cut)
    assert found.keys() <= {"accepted", "duplicate", "unreadable_rest"}
    assert (found["unreadable_rest"], found["accepted"] > 20) == (1, True)


def test_the_over_long_line_is_2_mib_in_a_small_object(shop):
    (line,) = [line for line in shop.lines if line.verdict == "over_long"]
    assert 2 * 1024 * 1024 < len(line.raw) < 2 * 1024 * 1024 + 2_000
    assert len(shop.objects[line.path]) < 8_000
    together = [other.verdict for other in shop.lines if other.path == line.path]
    assert together == ["duplicate", "over_long", "duplicate"]


def test_calls_have_the_size_and_the_fields_of_segments(shop):
    sizes = sorted(len(line.raw) for line in shop.accepted)
    assert sizes[0] > 400
    assert sizes[-1] < 1_500
    assert 700 < sizes[len(sizes) // 2] < 1_000
    common = {"channel", "context", "integrations", "originalTimestamp", "receivedAt", "sentAt"}
    assert all(
        line.call.keys() >= common | {"timestamp", "type", "version"} for line in shop.accepted
    )
    assert all(
        "userId" in line.call or "anonymousId" in line.call or "email" in line.call["properties"]
        for line in shop.accepted
    )
    assert {line.call["type"] for line in shop.accepted} == CALL_TYPES


def test_traits_are_spelled_in_many_ways_change_and_are_removed(shop):
    traits = [line.call["traits"] for line in shop.accepted if line.call["type"] == "identify"]
    emails = [t["email"] for t in traits]
    assert any(e != e.lower() for e in emails)
    assert any(e != e.strip() for e in emails)
    assert any(t.get("phone", "") is None for t in traits)
    plans = defaultdict(set)
    for t in traits:
        plans[t["email"].strip().lower()].add(t["plan"])
    assert any(len(values) > 1 for values in plans.values())


def test_people_have_fictional_numbers_that_are_valid():
    numbers = [p.phone for p in World().people if p.phone]
    assert len(set(numbers)) == len(numbers) > 1_500
    assert all(re.fullmatch(r"\+1\d{3}55501\d\d", number) for number in numbers)
    assert all(phonenumbers.is_valid_number(phonenumbers.parse(n)) for n in numbers)


# -- who is who --------------------------------------------------------------------------------


@pytest.mark.parametrize("nights", [1, 2, 3])
def test_the_truth_knows_every_identifier_of_the_nights_so_far_and_no_other(shop, nights):
    seen = [identifiers(line.call) for line in shop.accepted if line.day < nights]
    assert shop.world.truth(nights).keys() == set().union(*seen)


def test_a_person_owns_what_carries_their_name(shop):
    truth, people = shop.world.truth(), {p.key: p for p in shop.world.people}
    for (kind, value), owner in truth.items():
        if owner is not None and kind in ("user_id", "phone", "loyalty_id"):
            assert getattr(people[owner], kind) == value
        if owner is not None and kind == "email":
            assert value in (people[owner].email, people[owner].later_email)


def test_a_call_carries_identifiers_of_one_person_apart_from_what_is_shared(shop):
    truth = shop.world.truth()
    owners = [{truth[i] for i in identifiers(line.call)} - {None} for line in shop.accepted]
    assert {len(people) for people in owners} <= {0, 1}


def test_the_kiosk_the_household_and_the_call_centre_belong_to_nobody(shop):
    used_by = defaultdict(set)
    for line in shop.accepted:
        users = {v for k, v in identifiers(line.call) if k == "user_id"} - set(BLOCKED_USER_IDS)
        for identifier in identifiers(line.call):
            used_by[identifier] |= users
    nobody = [i for i, owner in shop.world.truth().items() if owner is None]
    shared = {i: len(used_by[i]) for i in nobody if i[0] != "user_id"}
    assert sorted((kind, n) for (kind, _), n in shared.items() if kind in MAIN_TYPES) == [
        ("anonymous_id", 2),
        ("anonymous_id", 12),
        ("email", 30),
        ("ios.id", 12),
    ]
    assert shared["email", "noreply@example.com"] == 30
    assert {v for k, v in nobody if k == "user_id"} == set(BLOCKED_USER_IDS)
    assert {i for i, users in used_by.items() if len(users) > 1} == set(shared)


MAIN_TYPES = ("anonymous_id", "email", "ios.id")


def test_ann_is_seen_on_three_devices_from_the_first_day(shop):
    truth = shop.world.truth()
    ann = truth["email", "ann@example.com"]
    days = defaultdict(set)
    for line in shop.accepted:
        if ("email", "ann@example.com") in identifiers(line.call):
            days[line.call.get("anonymousId")].add(line.day)
    assert set().union(*days.values()) == {0, 1, 2}
    assert sum(owner == ann for (kind, _), owner in truth.items() if kind == "ios.id") == 1
    assert sum(owner == ann for (kind, _), owner in truth.items() if kind == "anonymous_id") >= 3


def test_later_nights_merge_what_the_first_kept_apart(shop):
    nobody = {i for i, owner in shop.world.truth().items() if owner is None}
    merged = []
    for night in (1, 2):
        before = components([x for x in shop.accepted if x.day < night], nobody)
        after = components([x for x in shop.accepted if x.day <= night], nobody)
        parts = defaultdict(set)
        for identifier, part in before.items():
            parts[after[identifier]].add(part)
        merged.append(sum(len(p) > 1 for p in parts.values()))
    assert min(merged) >= 5


def test_without_the_shared_identifiers_every_link_is_true_and_with_them_few_are(shop):
    truth = shop.world.truth()
    nobody = {i for i, owner in truth.items() if owner is None}
    clean = pairwise(components(shop.accepted, nobody), truth)
    naive = pairwise(components(shop.accepted, set()), truth)
    assert clean.precision == 1.0
    assert 0.6 < clean.recall < 1.0
    assert naive.precision < 0.5


@pytest.mark.parametrize("size", [{"calls": 1_199}, {"calls": 1_999, "days": 5}, {"days": 0}])
def test_a_world_too_small_for_its_stories_is_refused(size):
    with pytest.raises(ValueError, match="at least a day, 1,200 calls and 400 calls a day"):
        World(**size)


def test_a_day_the_world_does_not_have_is_refused(tmp_path):
    with pytest.raises(ValueError, match="between 0 and 2"):
        World(calls=1_200).write_day(tmp_path, 3)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_world_of_one_day_has_everything_too(tmp_path, seed):
    landed = World(seed=seed, calls=1_200, days=1).write_day(tmp_path, 0)
    assert {kind: landed.kinds[kind] for kind in REJECTED_KINDS} == {
        "invalid_json": 3,
        "two_values": 3,
        "invalid_utf8": 3,
        "unknown_type": 3,
        "over_long": 1,
        "unreadable_rest": 1,
    }
    assert landed.kinds["copy"] > 20


def test_the_examples_in_the_docstrings_hold():
    results = doctest.testmod(world_module)
    assert (results.failed, results.attempted > 0) == (0, True)
