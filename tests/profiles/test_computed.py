"""What calls come to and who is in an audience: the cases of two files, each in one job."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from ruamel.yaml import YAML

from lake.language.parsing import audience, computed
from lake.language.tree import computed_in
from lake.profiles.activity import activity, measures, with_computed
from lake.profiles.audiences import with_audiences
from lake.tables import EVENTS

FOLDER = Path(__file__).parents[1] / "cases"
CASES = YAML(typ="safe").load(FOLDER / "computed.yaml")
CONDITIONS = YAML(typ="safe").load(FOLDER / "audiences.yaml")
AS_OF = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)
CLOCK = "received_at"
TYPES = {
    "plan": ("string", "string"),
    "age": ("number", "double"),
    "visits": ("integer", "bigint"),
    "vip": ("boolean", "boolean"),
    "born": ("date", "date"),
    "seen": ("timestamp", "timestamp"),
    "tags": ("list of string", "array<string>"),
}
USED = (
    *("type", "event", "name", "properties", "identity_set"),
    *("source", "batch", "received_at", "timestamp", "message_id"),
)


def event(number: int, n: int, told: list[Any]) -> tuple[Any, ...]:
    day, said, *properties = told
    kind, name = said.split() if " " in said else ("track", said)
    hour = round((day - int(day)) * 100)
    at = datetime(2026, 1, int(day), hour, 59 if hour else 0)
    names = (name, None) if kind == "track" else (None, name)
    text = json.dumps(properties[0]) if properties else None
    # Two batches, so that what is shown is always added up.
    return (kind, *names, text, str(number).encode(), "web", n % 2, at, None, f"e{n}")


@pytest.fixture(scope="module")
def values(spark: SparkSession) -> dict[str, dict[str, Any]]:
    """By profile, which has the name of its case, what its calls come to."""
    asked = {f"c{n}": computed(case["is"]) for n, case in enumerate(CASES)}
    rows = [
        event(number, n, told)
        for number, case in enumerate(CASES)
        for n, told in enumerate(case["calls"])
    ]
    homes = [(str(n).encode(), case["case"]) for n, case in enumerate(CASES)]
    kinds = {c.name: c.type for c in EVENTS.columns}
    events = spark.createDataFrame(rows, ", ".join(f"{c} {kinds[c]}" for c in USED))
    facts = activity(measures(asked.values()), events, CLOCK).as_frame()
    sets = spark.createDataFrame(homes, "identity_set binary, profile_id string")
    found = with_computed(sets.select("profile_id"), facts, sets, asked, CLOCK, AS_OF)
    shown = found.collect()
    return {row["profile_id"]: row.asDict() for row in shown}


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: CASES[n]["case"])
def test_what_calls_come_to(values: dict[str, dict[str, Any]], number: int) -> None:
    case = CASES[number]
    assert values[case["case"]][f"c{number}"] == case["value"]


@pytest.fixture(scope="module")
def met(spark: SparkSession) -> list[bool]:
    """Of each condition, whether the profile beside it meets it."""
    types = {name: kind for name, (kind, _) in TYPES.items()}
    conditions = {f"c{n:03}": audience(text, types) for n, (_, text, _) in enumerate(CONDITIONS)}
    asked = {
        f"asked{n}": each
        for n, each in enumerate({a for c in conditions.values() for a in computed_in(c)})
    }
    rows = [
        (f"p{n}", *(read(name, told) for name in TYPES)) for n, (told, *_) in enumerate(CONDITIONS)
    ]
    ddl = ", ".join(f"{name} {kind}" for name, (_, kind) in TYPES.items())
    frame = spark.createDataFrame(rows, f"profile_id string, {ddl}")
    frame = frame.withColumns({name: F.lit(0) for name in asked})
    found = with_audiences(frame, conditions, asked, AS_OF).collect()
    inside = {row["profile_id"]: row["audiences"] for row in found}
    return [f"c{n:03}" in inside[f"p{n}"] for n in range(len(CONDITIONS))]


def read(name: str, told: dict[str, Any]) -> Any:
    value = told.get(name)
    match TYPES[name][0]:
        case "number" if value is not None:
            return float(value)
        case "date" if isinstance(value, str):
            return date.fromisoformat(value)
        case "timestamp" if value is not None:
            return datetime.fromisoformat(value)
        case _:
            return value


@pytest.mark.parametrize("number", range(len(CONDITIONS)), ids=lambda n: CONDITIONS[n][1])
def test_who_meets_a_condition(met: list[bool], number: int) -> None:
    assert met[number] is CONDITIONS[number][2]
