"""`profile-lake explain` on a small published lake: one night of a dozen calls."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import deltalake
import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from jobs import PIPELINE
from lake.cli.main import app
from lake.config import load
from lake.errors import ConfigError, NotFound
from lake.identity.ids import profile_id
from lake.io.at_run import INTERNAL
from lake.progress import Progress
from lake.run.night import night
from lake.run.place import Place

AS_OF = datetime(2026, 11, 5, tzinfo=UTC)


def call(name: str, day: int, kind: str = "track", **carried: Any) -> dict[str, Any]:
    at = f"2026-11-{day:02}T10:00:00.000Z"
    said = {"messageId": name, "type": kind, "receivedAt": at, "timestamp": at, **carried}
    return said | ({"event": "Order"} if kind == "track" else {})


def identify(name: str, day: int, email: str, **carried: Any) -> dict[str, Any]:
    return call(name, day, "identify", traits={"email": email}, **carried)


CALLS = [
    # Ann: an anonymous profile, a known one, and the call that shows they are one.
    call("ann1", 1, anonymousId="browser"),
    identify("ann2", 1, "ann@example.com", userId="ann"),
    identify("ann3", 2, "ann@example.com", anonymousId="browser"),
    call("ann4", 2, userId="ann", anonymousId="phone"),
    call("ann5", 3, userId="ann", anonymousId="phone"),
    # Bob was once logged in with Ann's address; the limit of one user_id keeps them apart.
    identify("bob1", 1, "bob@example.com", userId="bob"),
    identify("bob2", 3, "ann@example.com", userId="bob"),
    # Both wrote to the shop from an address that is blocked.
    identify("eve1", 2, "shop@example.com", userId="eve"),
    identify("eve2", 3, "shop@example.com"),
    identify("ann6", 3, "shop@example.com", userId="ann"),
]
ANN = profile_id("shop", "anonymous_id", "browser")
BOB = profile_id("shop", "user_id", "bob")
EVE = profile_id("shop", "user_id", "eve")
ANNS = [
    *(["user_id", "ann"], ["email", "ann@example.com"]),
    *(["anonymous_id", "browser"], ["anonymous_id", "phone"]),
]


IDENTITY: dict[str, Any] = {
    "identifiers": {
        "user_id": {"limit": 1},
        "email": {"limit": 5, "normalise": "email"},
        "anonymous_id": {"limit": 5},
    },
    "blocked": {"values": ["shop@example.com"]},
}


def refused(call: str, kind: str, value: str, reason: str) -> dict[str, str]:
    return {"call": call, "type": kind, "value": value, "reason": reason}


@dataclass(frozen=True)
class Shop:
    config: Path

    def text(self, *arguments: str) -> str:
        told = CliRunner().invoke(app, ["explain", *arguments, "--config", str(self.config)])
        if told.exception is not None:
            raise told.exception
        return told.stdout

    def json(self, *arguments: str) -> dict[str, Any]:
        found = json.loads(self.text(*arguments, "--output", "json"))
        assert isinstance(found, dict)
        return found

    def copy(self, folder: Path) -> Shop:
        """The same lake once more, to be changed."""
        said = json.loads(self.config.read_text())
        shutil.copytree(said["root"], folder / "lake")
        config = folder / "lake.yaml"
        config.write_text(json.dumps(said | {"root": str(folder / "lake")}))
        return Shop(config)

    def reconfigured(self, identity: dict[str, Any]) -> Shop:
        """The same lake under another identity block; in place."""
        said = json.loads(self.config.read_text())
        self.config.write_text(json.dumps(said | {"identity": identity}))
        return self

    @property
    def root(self) -> Path:
        return Path(json.loads(self.config.read_text())["root"])


@pytest.fixture(scope="module")
def shop(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("explain")
    landing = folder / "landing"
    landing.mkdir()
    lines = "".join(f"{json.dumps(one)}\n" for one in CALLS)
    (landing / "calls.ndjson").write_text(lines)
    config = folder / "lake.yaml"
    said = {
        "space": "shop",
        "root": str(folder / "lake"),
        "sources": {"web": {"path": str(landing)}},
        "identity": IDENTITY,
    }
    config.write_text(json.dumps(said))
    night(load(config, os.environ), PIPELINE, as_of=AS_OF, progress=Progress(quiet=True))
    return Shop(config)


def tied(found: dict[str, Any], key: str = "links") -> list[tuple[str, str, list[str], str]]:
    """(from, to, calls, first call) of each link."""
    return [
        (":".join(x["from"]), ":".join(x["to"]), x["calls"], x["first"]["message_id"])
        for x in found[key]
    ]


def test_one_identifier_is_told_with_its_whole_profile_and_what_was_refused(shop):
    found = shop.json("user_id", "ann")
    assert found["profiles"] == [
        {
            "profile_id": ANN,
            "identifiers": ANNS,
            "calls": ["ann1", "ann2", "ann3", "ann4", "ann5", "ann6"],
        }
    ]
    assert tied(found) == [
        ("user_id:ann", "email:ann@example.com", ["ann2"], "ann2"),
        ("anonymous_id:browser", "email:ann@example.com", ["ann3"], "ann3"),
        ("user_id:ann", "anonymous_id:phone", ["ann4", "ann5"], "ann4"),
    ]
    assert found["violations"] == [
        refused("ann6", "email", "shop@example.com", "ID value blocked"),
        refused("bob2", "email", "ann@example.com", "Identifier value limit exceeded"),
    ]
    (history,) = found["history"]
    assert (history["founder"], history["created"]["message_id"]) == (
        ["anonymous_id", "browser"],
        "ann1",
    )
    assert [(m["absorbed"], m["by"]["message_id"]) for m in history["merges"]] == [
        (["user_id", "ann"], "ann3")
    ]
    rest = ("unresolved", "refused_links", "guarded", "cut", "notes", "faults")
    assert [found[name] for name in rest] == [[], [], [], None, [], []]


def test_its_text_tells_founder_merge_ties_and_refusals(shop):
    assert (
        shop.text("user_id", "ann")
        == f"""\
user_id ann is on profile {ANN} (publication 1)
  4 identifiers, 6 calls in 5 identity sets

How it came to be
  founded by anonymous_id browser: track “Order” ann1 of web, 2026-11-01 10:00:00 UTC
  took in the profile of user_id ann, because email ann@example.com was seen with \
anonymous_id browser: identify ann3 of web, 2026-11-02 10:00:00 UTC

Its identifiers, as they were first seen
  anonymous_id browser: track “Order” ann1 of web, 2026-11-01 10:00:00 UTC
  user_id ann: identify ann2 of web, 2026-11-01 10:00:00 UTC
  email ann@example.com: identify ann2 of web, 2026-11-01 10:00:00 UTC
      with user_id ann; 1 call in 1 identity set says so
  anonymous_id phone: track “Order” ann4 of web, 2026-11-02 10:00:00 UTC
      with user_id ann; 2 calls in 1 identity set say so

What was refused
  email shop@example.com: ID value blocked
      identify ann6 of web, 2026-11-03 10:00:00 UTC
  email ann@example.com: Identifier value limit exceeded (user_id: 1 ever)
      identify bob2 of web, 2026-11-03 10:00:00 UTC
      keeps apart {ANN} and {BOB}
"""
    )


def test_two_of_one_person_are_told_by_the_shortest_path_and_the_smallest_cut(shop):
    found = shop.json("email", " ANN@Example.com", "anonymous_id", "phone")
    assert [p["profile_id"] for p in found["profiles"]] == [ANN]
    assert tied(found) == [
        ("email:ann@example.com", "user_id:ann", ["ann2"], "ann2"),
        ("user_id:ann", "anonymous_id:phone", ["ann4", "ann5"], "ann4"),
    ]
    assert found["cut"] == {
        "identity_sets": [found["links"][0]["first"]["identity_set"]],
        "calls": ["ann2"],
        "in_every_path": [[["user_id", "ann"]]],
        "override": "never_together,email,ann@example.com,anonymous_id,phone",
        "blocked": [{"type": "user_id", "value": "ann"}],
    }
    text = shop.text("email", "ann@example.com", "anonymous_id", "phone").splitlines()
    assert text[0] == (
        f"email ann@example.com and anonymous_id phone are one person: profile {ANN} "
        "(publication 1)"
    )
    assert "  No evidence ties them without 1 call in 1 identity set:" in text
    assert "    never_together,email,ann@example.com,anonymous_id,phone" in text
    assert '    identity: {blocked: {by_type: {user_id: {values: ["ann"]}}}}' in text


def test_two_people_whom_a_limit_keeps_apart_are_told_by_the_call_that_lost(shop):
    found = shop.json("user_id", "ann", "user_id", "bob")
    assert [p["profile_id"] for p in found["profiles"]] == [ANN, BOB]
    assert found["violations"] == [
        refused("bob2", "email", "ann@example.com", "Identifier value limit exceeded")
    ]
    assert tied(found, "refused_links") == [
        ("user_id:ann", "email:ann@example.com", ["ann2"], "ann2"),
        ("email:ann@example.com", "user_id:bob", ["bob2"], "bob2"),
    ]
    assert (found["links"], found["cut"]) == ([], None)


def test_two_people_who_share_only_a_blocked_address_are_told_so(shop):
    found = shop.json("user_id", "ann", "user_id", "eve")
    assert [p["profile_id"] for p in found["profiles"]] == [ANN, EVE]
    assert found["guarded"] == [["email", "shop@example.com"]]
    assert found["violations"] == [
        refused("eve1", "email", "shop@example.com", "ID value blocked"),
        refused("ann6", "email", "shop@example.com", "ID value blocked"),
    ]
    assert (found["links"], found["refused_links"]) == ([], [])


def test_a_blocked_identifier_links_nothing_and_is_counted(shop):
    found = shop.json("email", "shop@example.com")
    assert (found["profiles"], found["unresolved"], found["asked"][0]["guard"]) == (
        [],
        ["eve2"],
        "blocked",
    )
    assert (
        shop.text("email", "shop@example.com")
        == """\
email shop@example.com links nothing (publication 1)
  ID value blocked: identity.blocked of the configuration names it.
  3 calls in 3 identity sets on 2 days carried it, first identify eve1 of web, \
2026-11-02 10:00:00 UTC.
  By what else they carry, these sets belong to 2 profiles.
"""
    )


def test_what_is_not_there_and_what_is_half_asked_are_refused_without_the_value(shop):
    with pytest.raises(NotFound) as unknown:
        shop.text("email", "nobody@example.com")
    with pytest.raises(ConfigError) as half:
        shop.text("user_id", "ann", "email")
    with pytest.raises(NotFound):
        shop.text("user_id", "ann", "--publication", "2")
    assert unknown.value.exit_code == 1
    assert half.value.exit_code == 2
    assert "nobody" not in str(unknown.value)


def test_rules_that_changed_since_are_named_where_they_would_answer_otherwise(shop, tmp_path):
    changed = shop.copy(tmp_path).reconfigured(
        {**IDENTITY, "identifiers": {**IDENTITY["identifiers"], "user_id": {"limit": 2}}}
    )
    found = changed.json("user_id", "bob")
    assert found["faults"] == [
        f"The rules put this user_id on profile {ANN}, published it is on profile {BOB}.",
        "2 of 7 identity sets were published on another profile.",
        "Violations that differ from those that were stored: 1.",
    ]
    assert found["notes"] == [
        "The configuration has changed since run 00000001; this answer goes by the rules of "
        "today, the next run will publish it."
    ]
    # Where the run had these very rules, the difference is a fault of the product.
    plan = changed.root / "_control" / "runs" / "00000001" / "plan.json"
    said = json.loads(plan.read_text())
    plan.write_text(json.dumps(said | {"config": load(changed.config, os.environ).fingerprint}))
    assert changed.json("user_id", "bob")["notes"] == []
    assert "FAULT: The rules put this user_id on profile" in changed.text("user_id", "bob")


def test_internal_tables_are_read_as_the_publication_s_run_left_them(shop, tmp_path):
    """A later run has emptied them, and was not published."""
    later = shop.copy(tmp_path)
    tables = Place(load(later.config, os.environ)).tables
    for table in INTERNAL:
        deltalake.write_deltalake(
            tables.path(table),
            table.arrow.empty_table(),
            mode="overwrite",
            commit_properties=deltalake.CommitProperties(
                custom_metadata={"userMetadata": json.dumps({"run": "00000002"})}
            ),
        )
    assert later.json("user_id", "ann") == shop.json("user_id", "ann")
