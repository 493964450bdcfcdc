"""Five systems that know the same people: whose name survives, beside a few lines of pandas."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

from tests.support.nights import land, site

SOURCES = ("crm", "billing", "support")


def test_the_name_is_that_of_crm_then_billing_then_support(
    spark: SparkSession, shared: Path, tmp_path: Path
) -> None:
    file = shared / "multi-source-crm" / "segment_events.jsonl.gz"
    if not file.exists():
        pytest.skip("the CRM set (../shared/data/multi-source-crm) is not beside this checkout")
    calls: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in gzip.decompress(file.read_bytes()).splitlines():
        call = json.loads(line)
        if call["type"] == "identify":
            calls[call["context"]["source"]].append(named(call))
    for source, own in calls.items():
        land(tmp_path / source / "calls.jsonl", own)
    lake = site(
        tmp_path,
        {source: tmp_path / source for source in calls},
        identity={},
        judged=False,
        traits={"name": {"sources": list(SOURCES), "type": "string"}},
    )
    lake.run()

    homes = pd.DataFrame(lake.dicts("set_profiles"))
    told = pd.DataFrame(lake.dicts("events"))[
        ["message_id", "identity_set", "source", "received_at", "timestamp"]
    ].merge(homes, on="identity_set")
    names = {c["messageId"]: c["traits"].get("name") for own in calls.values() for c in own}
    told["name"] = told.message_id.map(names)
    told["rank"] = [SOURCES.index(s) if s in SOURCES else len(SOURCES) for s in told.source]
    best = (
        told.dropna(subset=["name"])
        .sort_values(["received_at", "timestamp", "message_id"], ascending=False)
        .sort_values("rank", kind="stable")
        .groupby("profile_id")
        .name.first()
    )
    shown = {p["profile_id"]: p["name"] for p in lake.dicts("profiles") if p["name"] is not None}
    assert shown == best.to_dict()
    assert len(shown) > 1000


def named(call: dict[str, Any]) -> dict[str, Any]:
    """The call with a name made of its parts, where it has no other."""
    traits = call["traits"]
    parts = [traits.get("firstName"), traits.get("lastName")]
    if "name" not in traits and any(parts):
        traits["name"] = " ".join(part for part in parts if part)
    return call
