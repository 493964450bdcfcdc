"""The simulation: the shipped presets word by word, Segment's worked cases, odd input."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from lake.cli.main import app
from lake.cli.simulate import presets, rulebook, simulation
from lake.cli.simulation import Simulation, answer, simulated
from lake.cli.steps import steps
from lake.errors import ConfigError
from lake.identity.ids import profile_id
from tests.support.cases import Case, CaseEvent, load, run_pure

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden"
PRESETS = [preset.name for preset in presets()]
SEGMENT = load("segment")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Call = Mapping[str, Any]


def told(*arguments: str, calls: bytes | None = None) -> str:
    """What the command prints."""
    result = CliRunner().invoke(app, ["simulate", *arguments], input=calls)
    assert result.exit_code == 0, result.exception
    return result.stdout


def ndjson(calls: Sequence[Call | bytes]) -> bytes:
    return b"".join((c if isinstance(c, bytes) else json.dumps(c).encode()) + b"\n" for c in calls)


def simulation_of(calls: Sequence[Call | bytes], config: Path | None = None) -> Simulation:
    return simulated(io.BytesIO(ndjson(calls)), rulebook(config, {}))


def configured(folder: Path, identity: Mapping[str, Any], **others: Any) -> Path:
    file = folder / "rules.yaml"
    file.write_text(json.dumps({"identity": identity, **others}))  # JSON is YAML
    return file


def who(simulation: Simulation) -> list[tuple[list[str], list[str]]]:
    """Each profile as its identifiers and its calls."""
    found = answer(simulation)["profiles"]
    return [([":".join(i) for i in p["identifiers"]], p["calls"]) for p in found]


# Presets.


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_reads_as_its_golden_file(preset: str) -> None:
    assert told("--preset", preset) == (GOLDEN / f"{preset}.txt").read_text("utf-8")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_answers_as_its_golden_file(preset: str) -> None:
    found = json.loads(told("--preset", preset, "--output", "json"))

    assert found == json.loads((GOLDEN / f"{preset}.json").read_text("utf-8"))


def test_there_is_a_preset_for_each_known_trap() -> None:
    assert PRESETS == ["garbage-value", "household-phone", "kiosk", "shared-browser", "sign-up"]


def test_the_newest_links_move_a_shared_browser_to_the_one_who_logged_in_last(
    tmp_path: Path,
) -> None:
    config = configured(tmp_path, {"strategy": "latest_wins"})

    said = told("--preset", "shared-browser", "--config", str(config))

    assert said == (GOLDEN / "shared-browser.latest_wins.txt").read_text("utf-8")


# Segment's worked cases.


def segment_call(event: CaseEvent) -> dict[str, Any]:
    """A case's event in Segment's shape."""
    ids = dict(event.ids)
    assert len(ids) == len(event.ids), "two values of a type have no place in a call"
    call: dict[str, Any] = {
        "type": "identify",
        "messageId": event.name,
        "receivedAt": iso(event.received),
        "timestamp": iso(event.happened),
    }
    for field, kind in (("userId", "user_id"), ("anonymousId", "anonymous_id")):
        if kind in ids:
            call[field] = ids.pop(kind)
    if "email" in ids:
        call["traits"] = {"email": ids.pop("email")}
    others = [
        {"id": v, "type": t, "collection": "users", "encoding": "none"} for t, v in ids.items()
    ]
    return {**call, "context": {"externalIds": others}} if others else call


def iso(micros: int) -> str:
    return (EPOCH + timedelta(microseconds=micros)).isoformat()


def case_config(folder: Path, case: Case, on_limit: str) -> Path:
    """A case's configuration as a file; types without a place follow by the alphabet."""
    raw = case.batches[-1].config
    types = raw.get("types", {"user_id": {"priority": 1, "limit": 1}, "email": {"priority": 2}})
    met = {kind for event in case.batches[-1].events for kind, _ in event.ids}
    order = sorted(met | set(types), key=lambda t: (types.get(t, {}).get("priority", 99), t))
    identifiers = {t: {"limit": 5, "normalise": "exact", **types.get(t, {})} for t in order}
    for settings in identifiers.values():
        settings.pop("priority", None)
    identity = {"on_limit": on_limit, "identifiers": identifiers}
    if "blocked" in raw:
        identity["blocked"] = raw["blocked"]
    return configured(folder, identity, space="shop")


@pytest.mark.parametrize("on_limit", ["drop_lowest", "drop_conflict"])
@pytest.mark.parametrize("case", SEGMENT, ids=lambda case: case.id)
def test_segments_worked_case_comes_out_as_documented(
    case: Case, on_limit: str, tmp_path: Path
) -> None:
    calls = ndjson([segment_call(event) for event in case.batches[-1].events])
    expected = case.expected("segment", on_limit)

    config = case_config(tmp_path, case, on_limit)
    found = json.loads(told("-", "--config", str(config), "--output", "json", calls=calls))

    profiles = [sorted(":".join(i) for i in p["identifiers"]) for p in found["profiles"]]
    homes = {call: n for n, p in enumerate(found["profiles"]) for call in p["calls"]}
    lost = [(v["call"], f"{v['type']}:{v['value']}", v["reason"]) for v in found["violations"]]
    # An empty value is blocked where it is an identifier; in a call it is none.
    wanted = [tuple(v) for v in expected["violations"] if not v[1].endswith(":")]
    stated = any(len(v) == 3 for v in wanted)
    assert set(found) == {"profiles", "violations", "unresolved"}
    assert profiles == [sorted(ids) for ids in expected["profiles"]]
    assert {**homes, **dict.fromkeys(found["unresolved"])} == dict(expected["events"])
    assert sorted(v if stated else v[:2] for v in lost) == sorted(wanted)


@pytest.mark.parametrize("case", SEGMENT, ids=lambda case: case.id)
def test_a_profile_has_the_id_of_its_founder_in_the_space(case: Case, tmp_path: Path) -> None:
    founders = [
        text.partition(":")[::2] for text in run_pure(case, "segment", "drop_lowest").founders
    ]

    calls = [segment_call(event) for event in case.batches[-1].events]
    found = answer(simulation_of(calls, case_config(tmp_path, case, "drop_lowest")))

    ids = [profile["profile_id"] for profile in found["profiles"]]
    assert ids == [profile_id("shop", kind, value) for kind, value in founders]


def replayed(simulation: Simulation) -> tuple[dict[tuple[str, str], int], dict[int, list[str]]]:
    """The profiles that the steps leave: of each identifier and, by those, of each number."""
    home: dict[tuple[str, str], int] = {}
    for step in steps(simulation, len(simulation.calls)):
        assert step.known == {i: home[i] for i in step.call.linking if i in home}
        for identifier, was, now in step.moved:
            assert home[identifier] == was
            home[identifier] = now
        for gone, end in step.merged:
            home = {i: end if n in gone else n for i, n in home.items()}
        for number, founder in step.created.items():
            home.setdefault(founder, number)
        for number, identifiers in step.added.items():
            home.update(dict.fromkeys(identifiers, number))
    members: dict[int, list[str]] = {}
    for (kind, value), number in home.items():
        members.setdefault(number, []).append(f"{kind}:{value}")
    return home, members


SHORT = [case for case in SEGMENT if len(case.batches[-1].events) < 50]


@pytest.mark.parametrize("strategy", ["segment", "latest_wins", "components"])
@pytest.mark.parametrize("case", SHORT, ids=lambda case: case.id)
def test_the_steps_add_up_to_the_end_state(case: Case, strategy: str, tmp_path: Path) -> None:
    file = case_config(tmp_path, case, "drop_conflict")
    said = json.loads(file.read_text())
    said["identity"]["strategy"] = strategy
    file.write_text(json.dumps(said))
    found = simulation_of([segment_call(event) for event in case.batches[-1].events], file)

    _, members = replayed(found)

    assert sorted(map(sorted, members.values())) == sorted(sorted(ids) for ids, _ in who(found))


# Order, days, repeats.


def track(message_id: str, day: str | None = None, **fields: Any) -> dict[str, Any]:
    received = {} if day is None else {"receivedAt": f"2026-03-{day}Z"}
    return {"type": "track", "messageId": message_id, **received, **fields}


def test_calls_are_taken_as_they_were_received_and_not_as_they_stand() -> None:
    found = simulation_of(
        [
            track("late", "02T10:00:00", userId="bob", anonymousId="a"),
            track("early", "01T10:00:00", userId="ann", anonymousId="a"),
        ]
    )

    assert who(found) == [
        (["user_id:ann", "anonymous_id:a"], ["early"]),
        (["user_id:bob"], ["late"]),
    ]


def test_the_order_may_be_the_one_that_calls_state(tmp_path: Path) -> None:
    calls = [
        track("x", "02T10:00:00", timestamp="2026-03-01T09:00:00Z", userId="ann", anonymousId="a"),
        track("y", "01T10:00:00", userId="bob", anonymousId="a"),
    ]

    found = simulation_of(calls, configured(tmp_path, {"order_by": "timestamp"}))

    assert who(found) == [(["user_id:ann", "anonymous_id:a"], ["x"]), (["user_id:bob"], ["y"])]


def test_calls_without_times_are_taken_in_the_order_of_their_lines() -> None:
    found = simulation_of(
        [
            track("z", userId="ann", anonymousId="a"),
            track("m", userId="bob", anonymousId="a"),
            track("a", userId="cem", anonymousId="a"),
        ]
    )

    assert [calls for _, calls in who(found)] == [["z"], ["m"], ["a"]]


def test_a_call_without_a_time_arrives_a_second_after_the_one_before_it() -> None:
    found = simulation_of(
        [track("timed", "01T10:00:00", userId="ann"), track("untimed", userId="ann")]
    )

    assert [(c.message_id, iso(c.at), c.timed) for c in found.calls] == [
        ("timed", "2026-03-01T10:00:00+00:00", True),
        ("untimed", "2026-03-01T10:00:01+00:00", False),
    ]


def test_a_set_counts_once_a_day_and_names_its_first_call() -> None:
    bob = {"userId": "bob", "anonymousId": "a"}
    found = simulation_of(
        [
            track("ann", "01T08:00:00", userId="ann", anonymousId="a"),
            track("bob-1", "01T09:00:00", **bob),
            track("bob-2", "01T23:59:59", **bob),
            track("bob-3", "02T00:00:00", **bob),
        ]
    )

    assert who(found) == [
        (["user_id:ann", "anonymous_id:a"], ["ann"]),
        (["user_id:bob"], ["bob-1", "bob-2", "bob-3"]),
    ]
    assert [lost.call for lost in found.violations] == ["bob-1", "bob-3"]


def test_a_blocked_value_is_told_once_a_day_too() -> None:
    found = simulation_of(
        [
            track("one", "01T08:00:00", userId="null"),
            track("two", "01T09:00:00", userId="null"),
            track("three", "02T09:00:00", userId="null"),
        ]
    )

    assert answer(found) == {
        "profiles": [],
        "violations": [
            {"call": call, "type": "user_id", "value": "null", "reason": "ID value blocked"}
            for call in ("one", "three")
        ],
        "unresolved": ["one", "two", "three"],
    }


KIOSK = {"context": {"device": {"type": "ios", "id": "ipad"}}}


@pytest.mark.parametrize(
    ("customers", "homes"),
    [
        (2, [(["user_id:u0", "ios.id:ipad"], ["c0", "alone"]), (["user_id:u1"], ["c1"])]),
        (3, [([f"user_id:u{n}"], [f"c{n}"]) for n in range(3)]),
    ],
)
def test_a_value_shared_by_more_than_its_limit_links_nothing(
    customers: int, homes: list[tuple[list[str], list[str]]], tmp_path: Path
) -> None:
    shared = {"mode": "limits", "limits": {"ios.id": {"user_id": 2}}}
    calls = [track(f"c{n}", userId=f"u{n}", **KIOSK) for n in range(customers)]

    found = simulation_of(
        [*calls, track("alone", **KIOSK)], configured(tmp_path, {"shared": shared})
    )

    assert who(found) == homes
    reason = "ID value shared by too many" if customers > 2 else "Identifier value limit exceeded"
    bound = ["c0", "c1", "c2", "alone"] if customers > 2 else ["c1"]
    assert [(lost.call, lost.reason) for lost in found.violations] == [(c, reason) for c in bound]
    assert found.unresolved == (("alone",) if customers > 2 else ())


def test_a_shared_value_may_be_found_by_its_degree(tmp_path: Path) -> None:
    people = [
        track(f"p{n}", userId=f"u{n}", context={"device": {"type": "ios", "id": f"own-{n}"}})
        for n in range(60)
    ]
    kiosk = [track(f"k{n}", userId=f"u{n}", **KIOSK) for n in range(40)]
    blank = [track(f"n{n}", userId=f"u{n}", anonymousId="null") for n in range(40)]

    found = simulation_of(
        [*people, *kiosk, *blank], configured(tmp_path, {"shared": {"mode": "auto"}})
    )

    assert {(lost.identifier, lost.reason) for lost in found.violations} == {
        (("ios.id", "ipad"), "ID value shared by too many"),
        (("anonymous_id", "null"), "ID value blocked"),
    }
    assert [len(calls) for _, calls in who(found)] == [3] * 40 + [1] * 20


def test_of_lines_with_one_message_id_the_earliest_received_is_the_call() -> None:
    found = simulation_of(
        [track("m", "02T10:00:00", userId="late"), track("m", "01T10:00:00", userId="early")]
    )

    assert who(found) == [(["user_id:early"], ["m"])]
    assert answer(found)["duplicates"] == [{"line": 1, "call": "m"}]


# Odd input.

ODD = ndjson(
    [
        b"no call",
        track("steers", userId="u1\x1b[31m", anonymousId="a"),
        track("steers", userId="u1"),
        {"type": "page", "messageId": "empty", "name": "Home"},
        b"",
        track("long", context={"traits": {"email": "e" * 1001}}),
        {"type": "identify", "messageId": "other", "userId": "u2", "anonymousId": "a"},
        b'{"type": "trak"}',
    ]
)


def test_odd_lines_are_told_apart_in_text() -> None:
    assert told("-", calls=ODD) == (GOLDEN / "odd-lines.txt").read_text("utf-8")


def test_odd_lines_are_told_apart_in_json() -> None:
    found = json.loads(told("-", "--output", "json", calls=ODD))

    assert found == json.loads((GOLDEN / "odd-lines.json").read_text("utf-8"))


def test_an_empty_file_has_no_profiles() -> None:
    assert answer(simulation_of([])) == {"profiles": [], "violations": [], "unresolved": []}


def test_a_file_gives_what_standard_input_gives(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    file.write_bytes(ODD)

    assert told(str(file)) == told("-", calls=ODD)


def test_only_so_many_calls_are_told_one_by_one() -> None:
    calls = ndjson([track(f"m{n:03}", "01T10:00:00", userId="u") for n in range(502)])

    said = told("-", calls=calls)

    assert said.count("goes to  profile 1") == 500
    assert "\n2 more calls, not told one by one.\n" in said


# Configuration.


def test_the_identity_block_alone_will_do(tmp_path: Path) -> None:
    config = configured(tmp_path, {"blocked": {"values": ["guest-user"]}})

    assert rulebook(config, {}).space == "demo"
    assert rulebook(config, {}).blocked.blocks("user_id", "Guest-User")


def test_what_the_rest_of_a_configuration_asks_for_need_not_be_there(tmp_path: Path) -> None:
    keys = {"access_key": "${NOT_SET}", "secret_key": "${NOT_SET}"}

    config = configured(tmp_path, {}, space="shop", root="s3a://lake/x", storage=keys)

    assert rulebook(config, {}).space == "shop"


def test_the_example_configuration_gives_its_own_rules() -> None:
    example = ROOT / "conf" / "example.yaml"
    said = YAML(typ="safe").load(example.read_text("utf-8"))

    book = rulebook(example, {})

    assert (book.space, book.rules.strategy) == (said["space"], said["identity"]["strategy"])
    assert book.rules.priority == tuple(said["identity"]["identifiers"])


def test_overrides_are_read_beside_the_configuration(tmp_path: Path) -> None:
    header = "rule,type_a,value_a,type_b,value_b\n"
    (tmp_path / "pairs.csv").write_text(f"{header}always_together,user_id,ann,user_id,anna\n")
    config = configured(tmp_path, {"overrides": "./pairs.csv"})

    found = simulation_of([track("one", userId="ann"), track("two", userId="anna")], config)

    assert who(found) == [(["user_id:ann", "user_id:anna"], ["one", "two"])]
    assert [(lost.call, lost.reason) for lost in found.violations] == [
        ("two", "Identifier value limit exceeded")
    ]


@pytest.mark.parametrize(
    ("identity", "others", "fault"),
    [
        ({"strategi": "segment"}, {}, "identity.strategi: unknown key"),
        ({}, {"spac": "shop"}, "spac: unknown key"),
        ({"overrides": "./none.csv"}, {}, "identity.overrides: cannot be read"),
        ({"shared": {"mode": "limits"}}, {}, "identity.shared.mode: found limits, wanted"),
        ({"blocked": {"values": ["${NOT_SET}"]}}, {}, "NOT_SET"),
    ],
)
def test_a_wrong_identity_block_is_refused(
    identity: dict[str, Any], others: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    config = configured(tmp_path, identity, **others)

    with pytest.raises(ConfigError) as refused:
        rulebook(config, {})

    assert str(refused.value).startswith(f"{config}:1: ")
    assert fault in str(refused.value)


@pytest.mark.parametrize(
    ("events", "preset", "fault"),
    [
        (None, None, "simulate: wanted a file of calls, - or --preset."),
        ("-", "kiosk", "simulate: wanted a file of calls, - or --preset."),
        (None, "kisok", "--preset: found another name, wanted one of these."),
        ("no/such/file", None, "no/such/file: cannot be read: No such file or directory"),
    ],
)
def test_calls_that_are_not_there_are_asked_for(
    events: str | None, preset: str | None, fault: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        simulation(events, preset, None, {})

    assert str(refused.value).splitlines()[0] == fault


def test_neither_spark_nor_a_store_is_imported() -> None:
    code = (
        "import sys; from lake.cli.main import app;"
        "app(['simulate', '--preset', 'kiosk'], standalone_mode=False);"
        "heavy = ('pyspark', 'py4j', 'delta', 'deltalake', 'boto3', 'great_expectations');"
        "sys.exit(', '.join(m for m in heavy if m in sys.modules) or 0)"
    )

    run = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == (GOLDEN / "kiosk.txt").read_text("utf-8")
