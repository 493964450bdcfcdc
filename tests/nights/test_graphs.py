"""Graphs whose components are known, as calls: a night finds the same components as people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from tests.support import graphs as g
from tests.support.nights import land, partition, site

#: Name and file; the reference partition where one is published with the graph.
GRAPHS = {
    "CA-CondMat": "CA-CondMat.txt.gz",
    "CA-GrQc": "CA-GrQc.txt.gz",
    "PGP": "PGPgiantcompo.graph.gz",
    "email-Eu-core": "email-Eu-core.csv",
    "karate": "karate-disjoint.csv",
    "directed": "ldbc/example_example-directed.e",
    "undirected": "ldbc/example_example-undirected.e",
    "wcc_dir": "ldbc/wcc_dir-input",
    "wcc_undir": "ldbc/wcc_undir-input",
    "netscience": "netscience.csv",
    "p2p-31": "p2p-31.e.gz",
    "power": "power.graph.gz",
}
VERTICES = {
    "directed": "ldbc/example_example-directed.v",
    "undirected": "ldbc/example_example-undirected.v",
    "p2p-31": "p2p-31.v.gz",
}
REFERENCE = {
    "directed": "ldbc/example_example-directed-WCC",
    "undirected": "ldbc/example_example-undirected-WCC",
    "wcc_dir": "ldbc/wcc_dir-output",
    "wcc_undir": "ldbc/wcc_undir-output",
    "p2p-31": "p2p-31-WCC.gz",
}
SMALL = tuple(name for name in GRAPHS if name not in ("CA-CondMat", "p2p-31"))
WORKED = Path(__file__).resolve().parents[1] / "cases/worked/treasure_data_ex1_four_sites.json"
ANYTHING = {"strategy": "components", "unknown_types": "add"}


@pytest.mark.parametrize(
    "names", [SMALL, pytest.param(tuple(GRAPHS), marks=pytest.mark.soak)], ids=["small", "all"]
)
def test_every_graph_has_its_reference_components(
    spark: SparkSession, shared: Path, tmp_path: Path, names: tuple[str, ...]
) -> None:
    graphs = {name: edges(name) for name in names}
    land(tmp_path / "graphs" / "calls.jsonl", all_calls(graphs))
    land(tmp_path / "worked" / "calls.jsonl", worked_calls())
    sources = {"graphs": tmp_path / "graphs", "worked": tmp_path / "worked"}
    lake = site(tmp_path, sources, identity=ANYTHING, judged=False)

    lake.run()

    found: dict[str, list[tuple[Any, str]]] = {name: [] for name in names}
    worked: set[tuple[str, str]] = set()
    for row in lake.dicts("profile_identifiers"):
        if row["type"] != "node":
            worked.add((f"{row['type']}:{row['value']}", row["profile_id"]))
            continue
        name, _, node = row["value"].rpartition(":")
        found[name].append((int(node), row["profile_id"]))
    for name, graph in graphs.items():
        assert partition(found[name]) == partition(g.union_find(graph).items()), name
        if name in REFERENCE:
            reference = g.field_components(REFERENCE[name])
            assert partition(found[name]) == partition(reference.items()), name
    people = [profile for pairs in found.values() for profile in {p for _, p in pairs}]
    assert len(people) == len(set(people)), "no person is of two graphs"

    (cluster,) = json.loads(WORKED.read_text())["expect"]["clusters"]
    assert partition(worked) == partition((identifier, 0) for identifier in cluster)


def edges(name: str) -> list[g.Edge]:
    """Each edge once, in either direction, and each vertex that has none."""
    listed = g.field_graph(GRAPHS[name])
    listed += g.field_nodes(VERTICES[name]) if name in VERTICES else []
    return sorted({(min(edge), max(edge)) for edge in listed})


def all_calls(graphs: dict[str, list[g.Edge]]) -> Iterator[dict[str, Any]]:
    for name, graph in graphs.items():
        for n, edge in enumerate(graph):
            ids = [("node", f"{name}:{node}") for node in sorted(set(edge))]
            yield call(f"{name}-{n}", "2026-11-01T00:00:00Z", ids)


def worked_calls() -> Iterator[dict[str, Any]]:
    for event in json.loads(WORKED.read_text())["events"]:
        yield call(f"worked-{event['messageId']}", event["timestamp"], event["ids"])


def call(message: str, received: str, ids: list[Any]) -> dict[str, Any]:
    told = [{"id": v, "type": t, "collection": "users", "encoding": "none"} for t, v in ids]
    return {
        "type": "track",
        "messageId": message,
        "receivedAt": received,
        "context": {"externalIds": told},
    }
