"""Graphs with known components: made up, exhaustive and from the field.

A graph is a list of edges between integers; an edge of a node to itself names a node that may
have no other.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Edge = tuple[int, int]
Keys = npt.NDArray[np.int64]

DATA = Path(__file__).resolve().parents[2] / "../shared/data"


def union_find(edges: Iterable[Edge]) -> dict[int, int]:
    """The smallest node that each node is connected to: the definition, in ten lines."""
    parent: dict[int, int] = {}

    def root(node: int) -> int:
        while parent.setdefault(node, node) != node:
            parent[node] = node = parent[parent[node]]
        return node

    for a, b in edges:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return {node: root(node) for node in parent}


def of_a_million(shape: str) -> tuple[Keys, Keys]:
    """The ends of a million edges: a chain in order or shuffled, a star, or a hairball with a
    million nodes; the keys are scattered but for the chain in order."""
    rng = np.random.default_rng(3)
    node = np.arange(1_000_001)
    if shape == "star":
        pairs = np.column_stack((np.full(10**6, 10**6), node[:-1]))
    elif shape == "hairball":
        pairs = rng.integers(0, 10**6, (10**6, 2))
    else:
        pairs = np.column_stack((node[:-1], node[1:]))
    if shape == "chain":
        return pairs[:, 0].copy(), pairs[:, 1].copy()
    key = np.unique(rng.integers(-(2**63), 2**63 - 1, 1_001_000))[: len(node)]
    rng.shuffle(key)
    rng.shuffle(pairs)
    return key[pairs[:, 0]], key[pairs[:, 1]]


def by_scipy(a: Keys, b: Keys) -> tuple[Keys, Keys]:
    """The nodes of edges in order, and the smallest node that each is connected to."""
    nodes, codes = np.unique(np.concatenate((a, b)), return_inverse=True)
    shape = (len(nodes), len(nodes))
    graph = coo_array((np.ones(len(a)), (codes[: len(a)], codes[len(a) :])), shape=shape)
    _, label = connected_components(graph, directed=False)
    _, first = np.unique(label, return_index=True)
    return nodes, nodes[first][label]


def ends(edges: Iterable[Edge]) -> tuple[Keys, Keys]:
    """The edges as two arrays of keys."""
    pairs = np.array(list(edges), dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0].copy(), pairs[:, 1].copy()


def sorted_rows(nodes: Keys, components: Keys) -> list[Edge]:
    """``(node, component)`` pairs in order, so that lists of them can be compared."""
    order = np.lexsort((components, nodes))
    return list(zip(nodes[order].tolist(), components[order].tolist(), strict=True))


def scattered(key: int) -> int:
    """One of the 64-bit integers for each of them, as scattered as hashes; half are negative."""
    mixed = (key * 0x9E3779B97F4A7C15 + 0x5851F42D4C957F2D) % 2**64
    mixed = (mixed ^ (mixed >> 31)) * 0xBF58476D1CE4E5B9 % 2**64
    return mixed - 2**64 if mixed >= 2**63 else mixed


def loops(nodes: Iterable[int]) -> list[Edge]:
    return [(node, node) for node in nodes]


def chain(nodes: int) -> list[Edge]:
    return [(node, node + 1) for node in range(nodes - 1)]


def star(leaves: int, hub: int) -> list[Edge]:
    return [(hub, leaf) for leaf in range(leaves)]


def hairball(nodes: int, edges: int, seed: int = 1) -> list[Edge]:
    """Many edges at random between few nodes, repeats and loops included."""
    rng = random.Random(seed)
    return [(rng.randrange(nodes), rng.randrange(nodes)) for _ in range(edges)]


def shuffled(edges: list[Edge], seed: int = 1) -> list[Edge]:
    """The same edges in another order, half of them turned round."""
    rng = random.Random(seed)
    turned = [(b, a) if rng.random() < 0.5 else (a, b) for a, b in edges]
    rng.shuffle(turned)
    return turned


def five_node_graphs() -> Iterator[list[Edge]]:
    """Every graph of the nodes 0 to 4: 2 ** 10 of them."""
    pairs = list(combinations(range(5), 2))
    for bits in range(1 << len(pairs)):
        yield loops(range(5)) + [pair for i, pair in enumerate(pairs) if bits >> i & 1]


def side_by_side(graphs: Iterable[list[Edge]], relabel: Callable[[int], int]) -> list[Edge]:
    """One graph of all of them, none touching another, its nodes relabelled one to one."""
    edges: list[Edge] = []
    start = 0
    for graph in graphs:
        edges.extend((relabel(start + a), relabel(start + b)) for a, b in graph)
        start += 1 + max((max(edge) for edge in graph), default=-1)
    return edges


def field_graph(path: str) -> list[Edge]:
    """A graph of `../shared/data/graphs` by its name there, `.gz` included."""
    lines = [line.split() for line in _lines(path) if not line.startswith("#")]
    name = path.removesuffix(".gz")
    if name.endswith(".graph"):  # METIS: a head, then one line a node, from 1
        return [(node, int(other)) for node, line in enumerate(lines[1:], 1) for other in line]
    if name.endswith("-input"):  # a node and its neighbours a line
        return [(int(node), int(b)) for node, *others in lines for b in (node, *others)]
    return [(int(line[0]), int(line[1])) for line in lines]


def field_nodes(path: str) -> list[Edge]:
    """The nodes of a list of nodes, one a line, as loops."""
    return loops(int(line.split()[0]) for line in _lines(path))


def field_components(path: str) -> dict[int, int]:
    """``node component`` lines as published with a graph."""
    return {int(node): int(label) for node, label in map(str.split, _lines(path))}


def _lines(path: str) -> list[str]:
    stored = (DATA / "graphs" / path).read_bytes()
    return (gzip.decompress(stored) if path.endswith(".gz") else stored).decode().splitlines()
