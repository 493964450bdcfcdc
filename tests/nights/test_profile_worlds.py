"""What is published about profiles beside an independent judge, on random worlds, in one night."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.profile_oracle import Told, Verdict, activity, calls_of, consent, judged
from tests.profile_oracle.traits import typed
from tests.support.nights import Site, land, site
from tests.support.profile_worlds import AS_OF, AUDIENCES, COMPUTED, TRAITS, Landed, rules, worlds

SAMPLE, ALL, SEED = 60, 1_000, 1


def test_sixty_worlds_are_those_of_the_judge(spark: SparkSession, tmp_path: Path) -> None:
    assert differences(tmp_path, worlds(SAMPLE, SEED)) == []


@pytest.mark.soak
def test_a_thousand_worlds_are_those_of_the_judge(spark: SparkSession, tmp_path: Path) -> None:
    assert differences(tmp_path, worlds(ALL, SEED + 1)) == []


def lake(folder: Path, landed: Landed) -> Site:
    """All worlds in one lake, in which whatever shares an identifier is one person."""
    for source in ("web", "crm", "app"):
        land(folder / source / "1.jsonl", [call for own, call in landed if own == source])
    return site(
        folder,
        {source: folder / source for source in ("web", "crm", "app")},
        identity={
            "strategy": "components",
            "order_by": "timestamp",
            "unknown_types": "ignore",
            "identifiers": {"user_id": {"limit": None}, "anonymous_id": {"limit": None}},
        },
        judged=False,
        traits=TRAITS,
        computed={name: said for name, (said, _) in COMPUTED.items()},
        audiences={name: said for name, (said, _) in AUDIENCES.items()},
        consent=True,
    )


def differences(folder: Path, landed: Landed) -> list[tuple[str, Any, Any]]:
    """What the judge says and what the lake shows, where they are not the same."""
    found = lake(folder, landed)
    found.run(AS_OF)
    home = {r["identity_set"]: r["profile_id"] for r in found.dicts("set_profiles")}
    profile_of = {r["message_id"]: home[r["identity_set"]] for r in found.dicts("events")}
    people: dict[str, list[Told]] = defaultdict(list)
    for call in calls_of(landed):
        people[profile_of[call.body["messageId"]]].append(call)
    assert same_people(people)
    wanted, shown = expected(people), published(found)
    return [
        (f"{name} {key}", wanted[name].get(key), shown[name].get(key))
        for name in shown
        for key in sorted({**wanted[name], **shown[name]}, key=str)
        if wanted[name].get(key) != shown[name].get(key)
    ][:10]


def same_people(people: dict[str, list[Told]]) -> bool:
    """Whether no identifier is on two profiles: then calls that share one are together."""
    owners = defaultdict(set)
    for profile, calls in people.items():
        for call in calls:
            for one in call.ids:
                owners[one].add(profile)
    return all(len(own) == 1 for own in owners.values())


Rows = dict[str, dict[Any, Any]]


def expected(people: dict[str, list[Told]]) -> Rows:
    """Every table as the judge has it, by the key of its rows."""
    found: Rows = defaultdict(dict)
    members: dict[str, set[str]] = defaultdict(set)
    for profile, calls in people.items():
        row: dict[str, Any] = {"bad_casts": 0}
        for rule in rules():
            verdict = judged(rule, calls, AS_OF)
            tell_trait(found, profile, rule.name, verdict)
            if rule.type:
                tell_typed(row, rule, verdict)
        row |= {name: count(calls) for name, (_, count) in COMPUTED.items()}
        row["audiences"] = sorted(n for n, (_, holds) in AUDIENCES.items() if holds(row, calls))
        found["profiles"][profile] = row
        for category, state in consent(calls).items():
            found["profile_consents"][profile, category] = state
        own_calls: dict[str, int] = defaultdict(int)
        for call in calls:
            if call.body["type"] == "group":
                own_calls[call.body["groupId"]] += 1
        for group, count in own_calls.items():
            found["account_members"][group, profile] = (count, *activity(group, calls))
            members[group].add(profile)
    everything = [call for calls in people.values() for call in calls]
    for group, own in members.items():
        told = sorted(
            (c for c in everything if c.body.get("groupId") == group),
            key=lambda c: c.order,
        )
        size = told[-1].body["traits"]["size"]
        traits = {} if size is None else {"size": str(size)}
        found["accounts"][group] = (len(told), len(own), traits, *activity(group, everything))
    return found


def tell_trait(found: Rows, profile: str, trait: str, verdict: Verdict) -> None:
    if verdict.value is not None:
        found["profile_traits"][profile, trait] = (verdict.value, verdict.message)
    for (value, source), lost in verdict.lost.items():
        found["profile_trait_candidates"][profile, trait, value, source] = lost


def tell_typed(row: dict[str, Any], rule: Any, verdict: Verdict) -> None:
    column = rule.name.replace(".", "_")
    row[column] = None
    if verdict.value is None:
        return
    value = json.loads(verdict.value)
    if rule.rule == "list":
        texts = [v if isinstance(v, str) else json.dumps(v, separators=(",", ":")) for v in value]
        row[column] = texts
        return
    row[column] = typed(rule.type, value if isinstance(value, str) else verdict.value)
    row["bad_casts"] += row[column] is None


def published(found: Site) -> Rows:
    """The same tables as readers see them."""
    shown = found.publication()
    columns = [t.replace(".", "_") for t, said in TRAITS.items() if said.get("type")]
    names = (*columns, *COMPUTED, "bad_casts", "audiences")
    declared = {rule.name for rule in rules()}
    active = ("activity", "active_days", "first_active", "last_active")

    def rows(table: str) -> list[dict[str, Any]]:
        return [dict(row) for row in shown.arrow(table).to_pylist()]

    return {
        "profiles": {r["profile_id"]: {n: r[n] for n in names} for r in rows("profiles")},
        "profile_traits": {
            (r["profile_id"], r["trait"]): (r["value"], r["message_id"])
            for r in rows("profile_traits")
            if r["trait"] in declared
        },
        "profile_trait_candidates": {
            (r["profile_id"], r["trait"], r["value"], r["source"]): (r["reason"], r["calls"])
            for r in rows("profile_trait_candidates")
            if r["trait"] in declared
        },
        "profile_consents": {
            (r["profile_id"], r["category"]): r["consent"] for r in rows("profile_consents")
        },
        "account_members": {
            (r["group_id"], r["profile_id"]): (r["calls"], *(r[n] for n in active))
            for r in rows("account_members")
        },
        "accounts": {
            r["group_id"]: (r["calls"], r["members"], dict(r["traits"]), *(r[n] for n in active))
            for r in rows("accounts")
        },
    }
