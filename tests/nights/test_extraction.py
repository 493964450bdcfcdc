"""The cases of extraction, as calls that are landed and compacted: a lake for each set of rules."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from ruamel.yaml import YAML

from lake.identity.identifiers import SEGMENT_DEFAULTS
from tests.support.nights import land, site

CASES = YAML(typ="safe").load(Path(__file__).parents[1] / "cases" / "extraction.yaml")


def identity(rules: dict[str, Any]) -> dict[str, Any]:
    """The rules of a case as a configuration has them; values are compared as they are."""
    told = {"identifiers": [{"type": each.type} for each in SEGMENT_DEFAULTS], **rules}
    told["identifiers"] = {
        rule["type"]: {"normalise": "exact"}
        | {k: v for k, v in rule.items() if k not in ("type", "options")}
        | rule.get("options", {})
        for rule in told["identifiers"]
    }
    return told


@pytest.mark.soak
def test_a_landed_call_has_the_identifiers_of_its_case(spark: SparkSession, tmp_path: Path) -> None:
    by_rules: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for case in CASES:
        by_rules[json.dumps(case.get("rules", {}))].append(case)
    wrong = {}
    for number, (rules, cases) in enumerate(by_rules.items()):
        folder = tmp_path / str(number)
        calls = [{**c["call"], "messageId": c["id"]} for c in cases]
        land(folder / "landing" / "calls.jsonl", calls)
        lake = site(folder, {"web": folder / "landing"}, identity=identity(json.loads(rules)))
        lake.run(until="compact")
        found = {
            row["message_id"]: [[i["type"], i["value"]] for i in row["identifiers"] or []]
            for row in lake.dicts("events")
        }
        wrong |= {c["id"]: found[c["id"]] for c in cases if found[c["id"]] != c["found"]}
    assert wrong == {}
