"""Components as Spark finds them: right against union-find, and in few jobs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession
from structlog.testing import capture_logs

from lake.frames import Materialised, Storable
from lake.identity import contraction
from lake.identity.components import broken_links, connected_components, faults, over_merged
from tests.support import graphs as g
from tests.support.stored import Scratch

needs_field_graphs = pytest.mark.skipif(
    not (g.DATA / "graphs").is_dir(), reason="the reference graphs of ../shared/data are absent"
)


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path / "scratch")


@pytest.fixture
def stored(spark: SparkSession, tmp_path: Path) -> Callable[[list[g.Edge]], DataFrame]:
    """Edges as a stored table of eight files."""

    def edges_frame(edges: list[g.Edge]) -> DataFrame:
        a, b = g.ends(edges)
        path = tmp_path / f"edges_{len(list(tmp_path.iterdir()))}"
        path.mkdir()
        for i in range(8):
            part = pa.table({"a": a[i::8], "b": b[i::8]})
            pq.write_table(part, path / f"{i}.parquet")
        return spark.read.schema("a bigint, b bigint").parquet(str(path))

    return edges_frame


def rows(found: Materialised) -> list[g.Edge]:
    table = found.frame.select("node", "component").toArrow()
    return g.sorted_rows(table["node"].to_numpy(), table["component"].to_numpy())


@cache
def all_shapes() -> tuple[list[g.Edge], list[g.Edge]]:
    """Every graph of five nodes, and every hard shape, in one graph; and its components."""
    shapes = [
        *g.five_node_graphs(),
        g.chain(2_000),
        g.shuffled(g.chain(2_000)),
        g.star(5_000, hub=5_000),
        g.hairball(2_000, 20_000),
        [(0, 1)] * 1_000 + [(1, 0)] * 1_000,
        g.loops(range(500)),
    ]
    edges = [*g.side_by_side(shapes, g.scattered), (-5, -4), (-4, -3)]
    return edges, sorted(g.union_find(edges).items())


@cache
def long_chains() -> tuple[list[g.Edge], list[g.Edge]]:
    edges = g.side_by_side(
        [g.chain(100_000), g.shuffled(g.chain(20_000))], lambda key: key - 70_000
    )
    return edges, sorted(g.union_find(edges).items())


def test_all_shapes_are_solved_by_one_task(stored, scratch) -> None:
    edges, expected = all_shapes()
    assert rows(connected_components(Materialised(stored(edges), len(edges)), scratch)) == expected
    assert scratch.rows == {"solved": len(expected)}


def test_edges_of_unknown_number_are_stored_and_counted_first(stored, scratch) -> None:
    edges, expected = all_shapes()
    assert rows(connected_components(stored(edges), scratch)) == expected
    assert scratch.rows == {"edges": len(edges), "solved": len(expected)}


@pytest.mark.parametrize(("slices", "partitions", "levels"), [(1, 1, 1), (8, 3, 2)])
def test_all_shapes_are_solved_by_contraction(stored, scratch, slices, partitions, levels) -> None:
    edges, expected = all_shapes()
    frame = stored(edges).repartition(slices)
    found = connected_components(
        Materialised(frame, len(edges)), scratch, finish_edges=400, partitions=partitions
    )
    assert rows(found) == expected
    assert f"level_{levels}" in scratch.rows
    assert scratch.rows["links_1"] < len(edges) // 2


def test_long_chains_are_solved_by_contraction(stored, scratch) -> None:
    edges, expected = long_chains()
    frame = stored(edges).repartition(8)
    found = connected_components(Materialised(frame, len(edges)), scratch, finish_edges=100_000)
    assert rows(found) == expected


def test_a_join_too_large_to_broadcast_gives_the_same(stored, scratch, monkeypatch) -> None:
    monkeypatch.setattr("lake.identity.components.BROADCAST_ROWS", 0)
    edges, expected = all_shapes()
    found = connected_components(
        Materialised(stored(edges).repartition(4), len(edges)), scratch, finish_edges=5_000
    )
    assert rows(found) == expected


class Killed(BaseException):
    """The run ends at once."""


class Mortal(Scratch):
    """Dies in the middle of storing each table, and again when it is stored; what a run before
    this one has stored is given back."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.begun: list[str] = []
        self.kept: dict[str, Materialised] = {}

    def __call__(self, name: str, rows: Storable) -> Materialised:
        if name in self.kept:
            return self.kept[name]
        if name not in self.begun:
            self.begun.append(name)
            (self.root / name).mkdir(parents=True)
            (self.root / name / "half.parquet").write_bytes(b"PAR1")
            raise Killed
        self.kept[name] = super().__call__(name, rows)
        raise Killed


def test_killed_at_every_level_and_started_again_it_gives_the_same(stored, tmp_path) -> None:
    edges = g.side_by_side(
        [g.shuffled(g.chain(400)), g.star(300, hub=300), g.hairball(200, 900)], g.scattered
    )
    scratch = Mortal(tmp_path / "mortal")
    found, runs = None, 0
    while found is None:
        runs += 1
        # Each run cuts the edges otherwise.
        frame = stored(edges).repartition(1 + runs % 4)
        with suppress(Killed):
            found = connected_components(
                Materialised(frame, len(edges)), scratch, finish_edges=100, partitions=2
            )
    assert {"level_1", "links_1", "level_2", "links_2", "solved"} <= set(scratch.begun)
    assert runs == 2 * len(scratch.begun) + 1
    assert rows(found) == sorted(g.union_find(edges).items())


@pytest.mark.soak
@pytest.mark.parametrize("shape", ["chain", "chain shuffled", "star", "hairball"])
def test_a_shape_of_a_million_is_solved_by_contraction(stored, scratch, shape) -> None:
    a, b = g.of_a_million(shape)
    nodes, components = g.by_scipy(a, b)
    edges = stored(np.column_stack((a, b)))
    found = connected_components(
        Materialised(edges.repartition(8), len(a)), scratch, finish_edges=len(a) // 10
    )
    assert "level_1" in scratch.rows
    table = found.frame.select("node", "component").toArrow().sort_by("node")
    assert np.array_equal(table["node"].to_numpy(), nodes)
    assert np.array_equal(table["component"].to_numpy(), components)


def test_contraction_that_does_not_end_is_finished_with_a_warning(
    stored, scratch, monkeypatch
) -> None:
    monkeypatch.setattr("lake.identity.components.MAX_LEVELS", 3)
    monkeypatch.setattr("lake.identity.components._SLOW", 0.1)
    edges, expected = long_chains()
    with capture_logs() as logs:
        found = connected_components(
            Materialised(stored(edges).repartition(8), len(edges)),
            scratch,
            finish_edges=0,
            partitions=8,
        )
    assert rows(found) == expected
    assert logs == [
        {
            "event": "components.levels_exhausted",
            "log_level": "warning",
            "levels": 3,
            "links": scratch.rows["links_3"],
        }
    ]


@pytest.mark.parametrize("finish_edges", [10, 0], ids=["one task", "contraction"])
@pytest.mark.parametrize(
    ("edges", "expected"),
    [([], []), ([(3, -2)], [(-2, -2), (3, -2)]), ([(6, 6)], [(6, 6)])],
    ids=["none", "one", "a loop"],
)
def test_the_smallest_graphs(stored, scratch, edges, expected, finish_edges) -> None:
    found = connected_components(
        Materialised(stored(edges), len(edges)), scratch, finish_edges=finish_edges
    )
    assert rows(found) == expected
    assert found.frame.dtypes == [("node", "bigint"), ("component", "bigint")]


def test_one_level_takes_no_more_than_twelve_jobs(spark, stored, scratch) -> None:
    edges, _ = all_shapes()
    frame = stored(edges)
    spark.sparkContext.setJobGroup("one level", "counted")
    try:
        rows(connected_components(Materialised(frame, len(edges)), scratch, finish_edges=15_000))
        jobs = spark.sparkContext.statusTracker().getJobIdsForGroup("one level")
    finally:
        spark.sparkContext.setLocalProperty("spark.jobGroup.id", None)
    assert set(scratch.rows) == {"level_1", "links_1", "solved"}
    assert 3 <= len(jobs) <= 12


def test_broken_links_are_edges_between_components_or_to_nothing(spark) -> None:
    edges = spark.createDataFrame([(1, 2), (2, 3), (3, 9), (4, 4)], "a bigint, b bigint")
    components = spark.createDataFrame(
        [(1, 1), (2, 1), (3, 3), (4, 4)], "node bigint, component bigint"
    )
    found = broken_links(edges, components).collect()
    assert sorted(map(tuple, found)) == [(2, 3, 1, 3), (3, 9, 3, None)]


def test_over_merged_components_come_back_with_their_pieces(spark) -> None:
    edges = spark.createDataFrame([(1, 2), (4, 5), (6, 6), (8, 9)], "a bigint, b bigint")
    components = spark.createDataFrame(
        [(1, 1), (2, 1), (4, 4), (5, 4), (6, 4), (8, 8), (9, 8)], "node bigint, component bigint"
    )
    assert [tuple(row) for row in over_merged(edges, components).collect()] == [(4, 2)]
    assert [tuple(row) for row in over_merged(edges, components, sampled=0).collect()] == [(4, 2)]
    assert over_merged(edges, components, largest=0, sampled=0).collect() == []


def test_components_of_all_shapes_break_no_invariant(stored, spark) -> None:
    edges, expected = all_shapes()
    nodes, components = g.ends(expected)
    table = spark.createDataFrame(pa.table({"node": nodes, "component": components}))
    assert broken_links(stored(edges), table).collect() == []
    assert over_merged(stored(edges), table, largest=10, sampled=500).collect() == []


ARRAYS = [
    # edges, (node, component), how many are repeated, broken, over-merged
    ([(1, 2), (4, 4)], [(1, 1), (2, 1), (4, 4)], (0, 0, 0)),
    ([(1, 2), (2, 3), (3, 9), (4, 4)], [(1, 1), (2, 1), (3, 3), (4, 4)], (0, 2, 0)),
    (
        [(1, 2), (4, 5), (6, 6), (8, 9)],
        [(1, 1), (2, 1), (4, 4), (5, 4), (6, 4), (8, 8), (9, 8)],
        (0, 0, 1),
    ),
    ([(1, 2)], [(1, 1), (2, 1), (2, 2)], (1, 0, 0)),
    ([(-7, 7)], [(-7, -7), (7, -7)], (0, 0, 0)),
    ([(1, 2)], [], (0, 1, 0)),
    ([], [], (0, 0, 0)),
]


@pytest.mark.parametrize(("edges", "components", "wanted"), ARRAYS)
def test_one_task_finds_every_fault_of_components(
    edges: list[g.Edge], components: list[g.Edge], wanted: tuple[int, int, int]
) -> None:
    a, b = np.array(edges, np.int64).reshape(-1, 2).T
    node, component = np.array(components, np.int64).reshape(-1, 2).T
    assert tuple(contraction.faults(node, component, a, b).values()) == wanted


def test_what_connected_components_stored_has_no_fault_and_altered_rows_have(
    scratch: Scratch, spark: SparkSession
) -> None:
    edges, _ = all_shapes()
    ends = pa.table(dict(zip("ab", np.array(edges, np.int64).T, strict=True)))
    told = scratch("told", spark.createDataFrame(ends))
    solved = connected_components(told, scratch)
    assert {row["count"] for row in faults(told, solved).collect()} == {0}
    altered = solved.frame.selectExpr("node", "if(node = component, node + 1, component) component")
    found = {
        row["kind"]: row["count"] for row in faults(told, scratch("altered", altered)).collect()
    }
    assert found[contraction.BROKEN] > 0


FIELD = {
    "CA-CondMat.txt": "CA-CondMat.txt.gz",
    "CA-GrQc.txt": "CA-GrQc.txt.gz",
    "PGPgiantcompo.graph": "PGPgiantcompo.graph.gz",
    "email-Eu-core.csv": "email-Eu-core.csv",
    "karate-disjoint.csv": "karate-disjoint.csv",
    "ldbc/example-directed": "ldbc/example_example-directed.e",
    "ldbc/example-undirected": "ldbc/example_example-undirected.e",
    "netscience.csv": "netscience.csv",
    "p2p-31.e": "p2p-31.e.gz",
    "power.graph": "power.graph.gz",
}
REFERENCE = {
    "ldbc/example-directed": "ldbc/example_example-directed-WCC",
    "ldbc/example-undirected": "ldbc/example_example-undirected-WCC",
    "ldbc/wcc_dir": "ldbc/wcc_dir-output",
    "ldbc/wcc_undir": "ldbc/wcc_undir-output",
    "p2p-31.e": "p2p-31-WCC.gz",
}


def field_graphs() -> dict[str, list[g.Edge]]:
    """The reference graphs by name; two of them name their nodes in a list of their own."""
    graphs = {name: g.field_graph(path) for name, path in FIELD.items()}
    graphs["p2p-31.e"] += g.field_nodes("p2p-31.v.gz")
    for name in ("ldbc/wcc_dir", "ldbc/wcc_undir"):
        graphs[name] = g.field_graph(f"{name}-input")
    return graphs


@needs_field_graphs
@pytest.mark.parametrize("finish_edges", [10**6, 20_000], ids=["one task", "contraction"])
def test_reference_graphs_have_their_published_components(stored, scratch, finish_edges) -> None:
    graphs = field_graphs()
    # All in one graph: the n-th has the keys from n * 1,000,000.
    edges = [
        (n * 10**6 + a, n * 10**6 + b) for n, graph in enumerate(graphs.values()) for a, b in graph
    ]
    frame = stored(edges).repartition(6)
    found = rows(
        connected_components(Materialised(frame, len(edges)), scratch, finish_edges=finish_edges)
    )
    assert found == sorted(g.union_find(edges).items())
    figures = json.loads((g.DATA / "expected.json").read_text())
    for n, name in enumerate(graphs):
        components = {
            node - n * 10**6: label - n * 10**6 for node, label in found if node // 10**6 == n
        }
        if name in REFERENCE:
            assert groups(components) == groups(g.field_components(REFERENCE[name])), name
        if name in FIELD:
            expected = figures[f"graphs/{name}"]
            sizes = Counter(Counter(components.values()).values())
            assert len(components) == expected["vertices"], name
            assert {str(k): v for k, v in sizes.items()} == expected["size_histogram"], name


def groups(components: dict[int, int]) -> set[frozenset[int]]:
    """The partition itself, whatever its components are called."""
    members: dict[int, set[int]] = {}
    for node, label in components.items():
        members.setdefault(label, set()).add(node)
    return {frozenset(nodes) for nodes in members.values()}
