"""Which value of a trait survives, and why the others do not: the cases of a file, in one job."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from ruamel.yaml import YAML

from lake.frames import Materialised, WorkerRows
from lake.profiles.survivorship import TraitRule, judged_values, trait_candidates, winning_traits
from lake.tables import TRAIT_OBSERVATIONS

CASES = YAML(typ="safe").load(Path(__file__).parents[1] / "cases" / "survivorship.yaml")
#: Those in which a trait is the whole value that was told: of an object, a path takes a part.
WHOLE = [case for case in CASES if "." not in case.get("trait", {}).get("name", "")]
AS_OF = datetime(2026, 1, 31, tzinfo=UTC)
CLOCK = "received_at"


@dataclass(frozen=True)
class Found:
    """What survived of each case, and the reason of every value that did not."""

    winners: dict[str, dict[str, Any]]
    lost: dict[str, dict[str, str]]


def rule_of(number: int, case: dict[str, Any]) -> TraitRule:
    said = dict(case.get("trait", {}))
    if days := said.pop("max_age", None):
        said["max_age"] = timedelta(days=int(days.split()[0]))
    name = said.pop("name", "trait")
    return TraitRule(spelt(number, name), **{**said, "sources": tuple(said.get("sources", ()))})


def profile_of(case: dict[str, Any]) -> str:
    """The case's own profile."""
    return hashlib.md5(case["case"].encode(), usedforsecurity=False).hexdigest()


def spelt(number: int, name: str) -> str:
    """The case's own trait: its rule is for it alone."""
    return (
        f"c{number}{name[0].upper()}{name[1:]}"
        if name[1:] != name.lower()[1:]
        else (f"c{number}_{name}")
    )


@pytest.fixture(scope="module")
def found(spark: SparkSession) -> Found:
    rows, homes, rules = [], [], []
    for number, case in enumerate(CASES):
        rules.append(rule_of(number, case))
        homes.append((str(number).encode(), profile_of(case)))
        for n, (day, source, value, *name) in enumerate(case["told"]):
            trait = spelt(number, name[0]) if name else rules[-1].name
            moment = (datetime(2026, 1, day), None, f"e{n}", source, "identify", None)
            row = (str(number).encode(), trait, value, source, 1, moment, moment, day)
            rows.append(row)
    values = judged_values(
        spark.createDataFrame(rows, TRAIT_OBSERVATIONS.ddl),
        spark.createDataFrame(homes, "identity_set binary, profile_id string"),
        rules,
        CLOCK,
        AS_OF,
        2,
    )
    judged = values.as_frame().toArrow()
    stored = Materialised(spark.createDataFrame(judged), judged.num_rows)
    names = {rule.name for rule in rules}
    winners = _rows(winning_traits(stored))
    lost: dict[str, dict[str, str]] = {}
    for r in _rows(trait_candidates(stored, CLOCK)):
        if r["trait"] in names:
            lost.setdefault(r["profile_id"], {})[f"{r['value']} {r['source']}"] = r["reason"]
    return Found({r["profile_id"]: r for r in winners if r["trait"] in names}, lost)


def _rows(made: WorkerRows) -> list[dict[str, Any]]:
    return made.as_frame().toArrow().to_pylist()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["case"].replace(" ", "-"))
def test_the_value_that_survives_and_the_reasons_of_the_others(
    found: Found, case: dict[str, Any]
) -> None:
    winner = found.winners.get(profile_of(case), {})
    assert winner.get("value") == case["value"]
    assert found.lost.get(profile_of(case), {}) == case.get("lost", {})
    if "rule" in case:
        assert winner["rule"] == case["rule"]
    if "message" in case:
        assert winner["message_id"] == case["message"]


@pytest.mark.parametrize("case", WHOLE, ids=lambda c: c["case"].replace(" ", "-"))
def test_every_value_survives_or_has_a_row_that_says_why_not(
    found: Found, case: dict[str, Any]
) -> None:
    told = [(v, f"{v} {source}") for _, source, v, *_ in case["told"] if v is not None]
    shown = found.winners.get(profile_of(case), {}).get("value", "")
    assert [
        v for v, key in told if v not in shown and key not in found.lost[profile_of(case)]
    ] == []
