"""Seeded graphs for the benches, as arrays of 64-bit keys: identity graphs, and hard shapes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.int64]

#: Large components, as shares of all nodes.
HAIRBALLS = (0.016, 0.004, 0.001, 0.0005, 0.0002)
#: Nodes of the chain: cookies that each knew only the one before.
CHAIN = 2_000
#: Edges that say nothing new, as a share of those that do.
REDUNDANT = 0.25
#: Nodes around one centre, for every million edges.
HUB = 20_000


def identity_edges(edges: int, seed: int = 7) -> tuple[Keys, Keys]:
    """About so many edges, in random order, of a graph as identity graphs are.

    97 % of the components have fewer than ten nodes, a fifth of the edges are redundant, one
    hairball holds 1.6 % of the nodes beside four smaller ones, one chain has 2,000 nodes, and for
    every million edges one value is shared by 20,000. A small component is a random tree, and
    edges beside it. Keys are random.
    """
    rng = np.random.default_rng(seed)
    nodes = int(edges * 1.07)
    long = min(CHAIN, edges // 500)
    hub = min(HUB, edges // 50)
    hubs = max(1, edges // 1_000_000)
    large = [max(3, int(share * nodes)) for share in HAIRBALLS]
    small = 1 + rng.geometric(0.355, nodes // 3)
    small = small[np.cumsum(small) <= max(2, nodes - sum(large) - long - hub * hubs)]
    sizes = np.concatenate((large, small))
    start = np.repeat(np.cumsum(sizes) - sizes, sizes)
    node = np.arange(len(start))
    rest = node[node > start]
    child = np.concatenate((rest, rng.choice(node, int(REDUNDANT * len(rest)))))
    below = np.concatenate((rest - start[rest], np.repeat(sizes, sizes)[child[len(rest) :]]))
    other = start[child] + (rng.random(len(child)) * below).astype(np.int64)
    chain = len(node) + np.arange(long)
    leaves = len(node) + long + np.arange(hub * hubs)
    centres = leaves[::hub]
    a = np.concatenate((child, chain[1:], leaves))
    b = np.concatenate((other, chain[:-1], np.repeat(centres, hub)))
    order = rng.permutation(len(a))
    key = random_keys(len(node) + long + len(leaves), rng)
    return key[a[order]], key[b[order]]


def random_keys(count: int, rng: np.random.Generator) -> Keys:
    """So many distinct 64-bit integers, in random order."""
    key = np.unique(rng.integers(-(2**63), 2**63 - 1, count + 1_000))
    rng.shuffle(key)
    return key[:count]
