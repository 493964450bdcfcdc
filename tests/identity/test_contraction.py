"""One level of contraction, in numpy: stars, their roots and the edges that are left."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import ContractError
from lake.identity import contraction as c
from tests.support import graphs as g

LOWEST, HIGHEST = -(2**63), 2**63 - 1


def components(edges: list[g.Edge]) -> dict[int, int]:
    nodes, roots = c.star(*g.ends(edges))
    assert len(set(nodes.tolist())) == len(nodes)
    return dict(zip(nodes.tolist(), roots.tolist(), strict=True))


def batches(*columns: list[int] | g.Keys, rows: int = 7) -> Iterator[pa.RecordBatch]:
    arrays = [pa.array(column, pa.int64()) for column in columns]
    whole = pa.RecordBatch.from_arrays(arrays, names=["a", "b"])
    for start in range(0, whole.num_rows, rows):
        yield whole.slice(start, rows)


def rows(out: Iterator[pa.RecordBatch]) -> list[tuple[int, ...]]:
    return [tuple(row.values()) for batch in out for row in batch.to_pylist()]


def contracted(edges: list[g.Edge], slices: int, partitions: int, chunk: int) -> list[g.Edge]:
    """The whole contraction without Spark: slices at random, partitions by node, three levels."""
    rng = random.Random(len(edges) * 31 + slices)
    levels: list[dict[int, int]] = []
    while edges and len(levels) < 3:
        rng.shuffle(edges)
        stars = []
        for i in range(slices):
            part = edges[i::slices]
            stars += rows(c.forests(batches(*g.ends(part)), chunk)) if part else []
        rng.shuffle(stars)
        level: dict[int, int] = {}
        edges = []
        for p in range(partitions):
            part = [row for row in stars if row[0] % partitions == p]
            for node, root, link in rows(c.unions(batches(*g.ends(part)))) if part else []:
                if link:
                    edges.append((node, root))
                else:
                    assert node not in level
                    level[node] = root
        levels.append(level)
    known = dict(rows(c.finish(batches(*g.ends(edges)), chunk))) if edges else {}
    for level in reversed(levels):
        known = {node: known.get(root, root) for node, root in level.items()}
    return sorted(known.items())


def test_a_component_is_named_by_its_smallest_key() -> None:
    edges = [(5, 3), (3, -7), (9, 8), (HIGHEST, LOWEST)]
    assert components(edges) == {
        5: -7, 3: -7, -7: -7, 9: 8, 8: 8, HIGHEST: LOWEST, LOWEST: LOWEST,
    }  # fmt: skip


def test_no_edges_have_no_nodes() -> None:
    assert components([]) == {}
    assert rows(c.forests(iter(()))) == []
    assert rows(c.unions(iter(()))) == []
    assert rows(c.finish(iter(()))) == []


def test_a_node_without_edges_is_named_by_a_loop() -> None:
    assert components([(4, 4), (-1, -1)]) == {4: 4, -1: -1}


def test_repeated_and_reversed_edges_say_nothing_new() -> None:
    assert components([(1, 2), (2, 1), (1, 2), (2, 2)]) == {1: 1, 2: 1}


def test_every_graph_of_five_nodes_is_solved() -> None:
    for number, edges in enumerate(g.five_node_graphs()):
        relabelled = [(g.scattered(a), g.scattered(b)) for a, b in edges]
        assert components(relabelled) == g.union_find(relabelled), number


@pytest.mark.parametrize(
    "edges",
    [
        g.chain(2_000),
        g.shuffled(g.chain(2_000)),
        g.chain(100_000),
        g.shuffled(g.chain(100_000)),
        g.star(5_000, hub=HIGHEST),
        g.star(5_000, hub=LOWEST),
        g.hairball(2_000, 20_000),
        g.shuffled(g.chain(3_000)) + g.star(3_000, hub=-1),
        [(i, j) for i in range(40) for j in range(1_000, 1_040)],
    ],
    ids=["chain", "chain shuffled", "long chain", "long chain shuffled", "star of the largest",
         "star of the smallest", "hairball", "wheel", "two sides"],
)  # fmt: skip
@pytest.mark.parametrize("relabel", [int, g.scattered], ids=["small keys", "scattered keys"])
def test_a_shape_is_solved(edges: list[g.Edge], relabel: type[int]) -> None:
    relabelled = [(relabel(a), relabel(b)) for a, b in edges]
    assert components(relabelled) == g.union_find(relabelled)


def test_keys_with_the_same_leading_bits_are_told_apart() -> None:
    # Two far ends leave no room for the low bits of the many keys between them.
    rng = random.Random(5)
    crowd = [rng.randrange(10**6) for _ in range(4_000)]
    edges = [(LOWEST, HIGHEST), *zip(crowd, crowd[1:2_000] + crowd[:1], strict=False)]
    edges += g.loops(crowd) + g.loops(2**40 + key for key in reversed(crowd))
    assert components(edges) == g.union_find(edges)


@pytest.mark.parametrize("shape", ["chain", "chain shuffled", "star", "hairball"])
def test_a_shape_of_a_million_is_solved(shape: str) -> None:
    a, b = g.of_a_million(shape)
    nodes, components = g.by_scipy(a, b)
    found, roots = c.star(a, b)
    assert np.array_equal(found, nodes)
    assert np.array_equal(roots, components)


KEY = st.integers(-6, 6) | st.integers(LOWEST, HIGHEST)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.tuples(KEY, KEY), max_size=40))
def test_any_edges_are_solved(edges: list[g.Edge]) -> None:
    assert components(edges) == g.union_find(edges)


def test_contraction_agrees_with_union_find_however_the_edges_are_cut() -> None:
    for seed in range(250):
        rng = random.Random(seed)
        nodes = rng.choice((2, 5, 20, 80))
        edges = g.hairball(nodes, rng.randrange(1, 3 * nodes), seed)
        edges += [(a - 500, b - 500) for a, b in g.shuffled(g.chain(nodes), seed)]
        edges += g.loops(range(1_000, 1_003))
        expected = sorted(g.union_find(edges).items())
        cut = rng.randrange(1, 9), rng.randrange(1, 9), rng.randrange(1, 30)
        assert contracted(edges, *cut) == expected, (seed, cut)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))), st.data())
def test_what_is_solved_and_new_edges_are_solved_as_all_at_once(
    edges: list[g.Edge], slices: st.DataObject
) -> None:
    # A base, then deltas: each time only the labels and the new edges are looked at.
    known: dict[int, int] = {}
    rest = list(slices.draw(st.permutations(edges)))
    while rest:
        size = slices.draw(st.integers(1, len(rest)))
        delta, rest = rest[:size], rest[size:]
        known = components([*known.items(), *delta])
    assert known == g.union_find(edges)


def test_forests_see_one_chunk_at_a_time() -> None:
    out = c.forests(batches([1, 2, 2, 3], [2, 3, 3, 4], rows=1), 2)
    assert sorted(rows(out)) == [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (4, 2)]


def test_unions_keep_the_smallest_root_and_link_the_others_once() -> None:
    node, root = [7, 7, 7, 8, 8, 9, 7], [3, 1, 5, 5, 3, 9, 5]
    out = rows(c.unions(batches(node, root)))
    assert sorted(row for row in out if not row[2]) == [(7, 1, False), (8, 3, False), (9, 9, False)]
    # 3 - 5 of node 8 follows from 1 - 3 and 1 - 5 of node 7.
    assert sorted(row for row in out if row[2]) == [(3, 1, True), (5, 1, True)]


@pytest.mark.parametrize("chunk", [1, 2, 50, 10_000])
def test_finish_gives_the_same_whatever_its_chunk(chunk: int) -> None:
    edges = g.hairball(300, 250) + g.loops(range(400, 420))
    out = rows(c.finish(batches(*g.ends(edges)), chunk))
    assert sorted(out) == sorted(g.union_find(edges).items())


def test_results_are_handed_over_in_batches_of_bounded_size() -> None:
    nodes = np.arange(600_000, dtype=np.int64)
    out = list(c.finish(batches(nodes, nodes, rows=50_000), 10**6))
    assert [batch.num_rows for batch in out] == [262_144, 262_144, 75_712]
    assert pa.Table.from_batches(out)["component"].to_numpy().tolist() == nodes.tolist()


def test_a_null_key_is_refused() -> None:
    with pytest.raises(ContractError, match="2 null keys among 3 edges"):
        list(c.finish(batches([1, None, 3], [2, 2, None])))  # type: ignore[list-item]


def test_parts_counts_the_pieces_of_each_component() -> None:
    # 1 is held together by its edges, 4 falls into {4, 5} and {6}, 7 is alone; 12 is held
    # together by a node that another component claims.
    nodes = {1: [1, 2, 3], 4: [4, 5, 6], 7: [7], 12: [12, 13]}
    edges = [(1, 1, 2), (1, 2, 3), (4, 5, 4), (12, 12, 20), (12, 13, 20)]
    told = [(k, n, n) for k, members in nodes.items() for n in members] + edges
    component, a, b = (np.array(column, dtype=np.int64) for column in zip(*told, strict=True))
    names, counts = c.parts(component, a, b)
    assert dict(zip(names.tolist(), counts.tolist(), strict=True)) == {1: 1, 4: 2, 7: 1, 12: 1}


def test_a_worker_of_two_gib_finishes_the_edges_that_fit_seven_tenths_of_it() -> None:
    assert c.finish_edges(2 << 30) == int(0.7 * 2 * 1024**3 / c.BYTES_PER_EDGE)
