"""Paths and cuts in a bipartite graph of evidence: what ties identifiers, and the identifiers.

*Evidence* maps what ties (an identity set, or a `Bond`) to the identifiers it ties. Its order is
the order of preference: every choice between equals goes to what stands first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Hashable, Mapping
from itertools import pairwise
from typing import NamedTuple

from lake.identity.resolve import Identifier

Evidence = Mapping[Hashable, tuple[Identifier, ...]]


class Bond(NamedTuple):
    """A class of identifiers that ``always_together`` pairs join."""

    number: int


class Step(NamedTuple):
    """Two identifiers that ``by``, an identity set or a bond, ties."""

    start: Identifier
    by: Hashable
    end: Identifier


class Cut(NamedTuple):
    """The fewest identity sets without which no evidence ties two identifiers.

    ``hubs``: each identifier between the two that is in every path of evidence, in the order of
    the shortest path. Identifiers that the very same sets carry, as a device's two ids, are one
    hub: every path goes through one of them.
    """

    sets: tuple[Hashable, ...]
    hubs: tuple[tuple[Identifier, ...], ...]


def shortest_path(
    evidence: Evidence, one: Identifier, other: Identifier
) -> tuple[Step, ...] | None:
    """The fewest ties that lead from one identifier to another; None where none do.

    Among equals, at each step the tie that stands first, then its first identifier.
    """
    ties_of = _ties_of(evidence)
    far = _distances(evidence, ties_of, other)
    if one not in far:
        return None
    path, here = [], one
    while here != other:
        nearer = far[here] - 1
        steps = (Step(here, by, i) for by in ties_of[here] for i in evidence[by])
        path.append(next(step for step in steps if far[step.end] == nearer))
        here = path[-1].end
    return tuple(path)


def cut(evidence: Evidence, one: Identifier, other: Identifier) -> Cut | None:
    """The smallest cut between two identifiers; None where an override joins them or nothing does.

    By maximum flow, each set of capacity one (Menger: as many as there are paths without a
    common set). Of several smallest cuts the one nearest to ``one``.
    """
    path = shortest_path(evidence, one, other)
    sets = _fewest_sets(evidence, one, other) if path else None
    if path is None or not sets:
        return None
    ties_of = _ties_of(evidence)
    hubs = []
    for step, _ in pairwise(path):
        ties = ties_of[step.end]
        hub = {i for i in evidence[ties[0]] if ties_of[i] == ties} - {one, other}
        if one not in _distances(evidence, ties_of, other, without=hub):
            hubs.append(tuple(sorted(hub)))
    return Cut(sets, tuple(hubs))


def _ties_of(evidence: Evidence) -> dict[Identifier, list[Hashable]]:
    found: dict[Identifier, list[Hashable]] = {}
    for by, identifiers in evidence.items():
        for identifier in identifiers:
            found.setdefault(identifier, []).append(by)
    return found


def _distances(
    evidence: Evidence,
    ties_of: Mapping[Identifier, list[Hashable]],
    source: Identifier,
    without: Container[Identifier] = (),
) -> dict[Identifier, int]:
    """How many ties each identifier is away from the source; those it reaches."""
    far, waiting, used = {source: 0}, deque([source]), set[Hashable]()
    while waiting:
        here = waiting.popleft()
        for by in ties_of.get(here, ()):
            if by in used:
                continue
            used.add(by)
            for i in evidence[by]:
                if i not in far and i not in without:
                    far[i] = far[here] + 1
                    waiting.append(i)
    return far


def _fewest_sets(
    evidence: Evidence, one: Identifier, other: Identifier
) -> tuple[Hashable, ...] | None:
    """A minimum cut of sets; None where it would have to go through a bond.

    Each set is two nodes, in and out, with its capacity between them; all else is unlimited.
    """
    import numpy as np
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    nodes = {i: n for n, i in enumerate(_ties_of(evidence))}
    unlimited = len(evidence) + 1
    edges: list[tuple[int, int, int]] = []
    for n, (by, identifiers) in enumerate(evidence.items()):
        enter = len(nodes) + 2 * n
        edges.append((enter, enter + 1, unlimited if isinstance(by, Bond) else 1))
        for i in identifiers:
            edges += [(nodes[i], enter, unlimited), (enter + 1, nodes[i], unlimited)]
    start, end, room = np.array(edges, dtype=np.int32).T
    size = len(nodes) + 2 * len(evidence)
    capacity = csr_array((room, (start, end)), shape=(size, size))
    flow = maximum_flow(capacity, nodes[one], nodes[other])
    if flow.flow_value >= unlimited:
        return None
    left = csr_array(capacity - flow.flow)
    left.eliminate_zeros()
    reached = set(breadth_first_order(left, nodes[one], return_predecessors=False).tolist())
    first = range(len(nodes), size, 2)
    keys = zip(evidence, first, strict=True)
    return tuple(by for by, n in keys if n in reached and n + 1 not in reached)
