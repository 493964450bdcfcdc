"""Partition-forest contraction: the kernels that shrink a graph to its components.

An edge is two signed 64-bit keys. A *star* is a pair of arrays ``(nodes, roots)`` that names
every node once beside the smallest key it is known to be connected to. Three kernels make
components of edges that no single task could hold:

=========  =====================================  ============================================
kernel     sees                                   says
=========  =====================================  ============================================
`forests`  any slice of the edges                 the star of each slice of bounded size
`unions`   every star row of some of the nodes    one root a node, and the links between roots
`finish`   all edges, or all links that are left  the component of each node
=========  =====================================  ============================================

Links connect exactly the roots that the edges connect, and there are several times fewer of
them. A label is always a minimum, so the component of a node is the smallest key it can reach,
whatever the slices, their order or how often a task was tried. The functions on arrays are
pure; those on Arrow batches are the bodies of ``DataFrame.mapInArrow``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lake.errors import ContractError

Keys = npt.NDArray[np.int64]
Codes = npt.NDArray[np.signedinteger[Any]]

CHUNK_EDGES = 4_000_000
"""Edges that `forests` solves at once; with `BYTES_PER_EDGE` this bounds its memory."""

BYTES_PER_EDGE = 105
"""Peak memory of `finish` an edge, measured with as many nodes as edges, their batches included."""

#: What can be wrong with components.
REPEATED = "identifiers are in two components"
BROKEN = "links lead from one component to another"
OVER_MERGED = "components fall apart without links that are not there"

_ROWS_PER_BATCH = 1 << 18
_NONE: Keys = np.empty(0, dtype=np.int64)


def finish_edges(worker_bytes: int) -> int:
    """Edges that one Python worker of this much memory finishes at once, with 30 % to spare."""
    return int(0.7 * worker_bytes / BYTES_PER_EDGE)


def star(a: Keys, b: Keys) -> tuple[Keys, Keys]:
    """The nodes of the edges ``a[i] - b[i]``, each once, and the smallest key of its component.

    An edge of a node to itself is how a node without edges is named. O(m log n) at worst.
    """
    codes, nodes = _encoded(np.concatenate((a, b)))
    return nodes, nodes[_lowest_reachable(codes[: len(a)], codes[len(a) :], len(nodes))]


def union(node: Keys, root: Keys) -> tuple[Keys, Keys, Keys, Keys]:
    """One root a node, and what that leaves to be said: ``(nodes, roots, linked, into)``.

    In: star rows, all those of a node together. The smallest root of a node stays with it; the
    others are linked to it, and links that follow from one another are left out.
    """
    codes, nodes = _encoded(node)
    roots = np.full(len(nodes), np.iinfo(np.int64).max, dtype=np.int64)
    np.minimum.at(roots, codes, root)
    smallest = roots[codes]
    several = root != smallest
    linked, into = star(root[several], smallest[several])
    kept = linked != into
    return nodes, roots, linked[kept], into[kept]


def parts(component: Keys, a: Keys, b: Keys) -> tuple[Keys, Keys]:
    """Each component among the rows, and into how many pieces its own edges leave it.

    In: the nodes of a component as edges to themselves, and its edges, ``a`` being the node
    that is in the component. One piece is right. This is a check, so it shares nothing with
    `star`: numpy encodes and scipy solves.
    """
    nodes, codes = np.unique(np.concatenate((a, b)), return_inverse=True)
    ends = (codes[: len(a)], codes[len(a) :])
    graph = coo_array((np.ones(len(a)), ends), shape=(len(nodes), len(nodes)))
    pieces, piece = connected_components(graph, directed=False)
    names, component_code = np.unique(component, return_inverse=True)
    met = np.unique(component_code * np.int64(max(pieces, 1)) + piece[ends[0]])
    return names, np.bincount(met // max(pieces, 1), minlength=len(names)).astype(np.int64)


def faults(node: Keys, component: Keys, a: Keys, b: Keys) -> dict[str, int]:
    """What is wrong with components of a graph, and how often; nothing is right.

    In: ``(node, component)``, the edges ``a[i] - b[i]``. A node may be in one component alone, an
    edge within one, and a component may not fall into pieces. A check too: see `parts`.
    """
    if not len(node):
        return {REPEATED: 0, BROKEN: len(a), OVER_MERGED: 0}
    order = np.argsort(node, kind="stable")
    nodes, components = node[order], component[order]

    def component_of(ends: Keys) -> tuple[Keys, npt.NDArray[np.bool_]]:
        place = np.minimum(np.searchsorted(nodes, ends), len(nodes) - 1)
        return components[place], nodes[place] == ends

    (of_a, known_a), (of_b, known_b) = component_of(a), component_of(b)
    within = known_a & known_b & (of_a == of_b)
    own = (np.concatenate(two) for two in ((component, of_a), (node, a), (node, b)))
    _, pieces = parts(*own)
    return {
        REPEATED: int(np.count_nonzero(nodes[1:] == nodes[:-1])),
        BROKEN: int(np.count_nonzero(~within)),
        OVER_MERGED: int(np.count_nonzero(pieces > 1)),
    }


def fault_counts(
    components: Callable[[], Iterator[pa.RecordBatch]], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """All edges ``(a, b)`` in; ``(kind, count)`` of `faults` out. ``components``: what gives all
    their rows ``(node, component)``."""
    node, component = next(_chunks(components(), None), (_NONE, _NONE))
    for a, b in _chunks(batches, None):
        found = faults(node, component, a, b)
        yield pa.RecordBatch.from_pydict({"kind": list(found), "count": list(found.values())})


def forests(
    batches: Iterable[pa.RecordBatch], chunk_edges: int = CHUNK_EDGES
) -> Iterator[pa.RecordBatch]:
    """Edges ``(a, b)`` in; ``(node, root)`` out: the star of each chunk, one after another."""
    for a, b in _chunks(batches, chunk_edges):
        yield from _rows(("node", "root"), star(a, b))


def unions(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Star rows ``(node, root)`` in; ``(node, root, link)`` out.

    A row with ``link`` false is a node and its root; one with ``link`` true is an edge between
    two roots. Holds all rows of its partition, which must have every row of its nodes.
    """
    for node, root in _chunks(batches, None):
        nodes, roots, linked, into = union(node, root)
        names = ("node", "root", "link")
        yield from _rows(names, (nodes, roots, np.zeros(len(nodes), dtype=np.bool_)))
        yield from _rows(names, (linked, into, np.ones(len(linked), dtype=np.bool_)))


def finish(
    batches: Iterable[pa.RecordBatch], chunk_edges: int = CHUNK_EDGES
) -> Iterator[pa.RecordBatch]:
    """All edges ``(a, b)`` in; ``(node, component)`` out, every node once.

    More than a chunk is folded chunk by chunk into one star, so that memory grows with the
    nodes and never with the edges.
    """
    solved = (_NONE, _NONE)
    for a, b in _chunks(batches, chunk_edges):
        if len(solved[0]):
            solved = star(np.concatenate((solved[0], a)), np.concatenate((solved[1], b)))
        else:
            solved = star(a, b)
    yield from _rows(("node", "component"), solved)


def part_counts(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Rows ``(component, a, b)`` of whole components in; ``(component, parts)`` out: `parts`."""
    for component, a, b in _chunks(batches, None):
        yield from _rows(("component", "parts"), parts(component, a, b))


def _encoded(keys: Keys) -> tuple[Codes, Keys]:
    """A code for every key, and the key of every code: from 0, in the order of the keys."""
    found, places = _sorted(keys)
    first = np.ones(len(keys), dtype=np.bool_)
    np.not_equal(found[1:], found[:-1], out=first[1:])
    nodes = found[first]
    del found  # what is held together here is the peak of the whole solution
    narrow: type[np.signedinteger[Any]] = (
        np.int32 if len(keys) <= np.iinfo(np.int32).max else np.int64
    )
    number = np.cumsum(first, dtype=narrow)
    number -= 1
    codes: Codes = np.empty(len(keys), dtype=narrow)
    codes[places] = number
    return codes, nodes


def _sorted(keys: Keys) -> tuple[Keys, Keys]:
    """The keys in order, and the places they stood at: `np.argsort` at less than half its cost.

    Sorts words that hold a key's leading bits above its place. Keys with the same leading bits
    may then stand in the wrong order; where they do, those few are sorted by themselves.
    """
    if not len(keys):
        return _NONE, _NONE
    lowest = keys.min().view(np.uint64)
    words = keys.view(np.uint64) - lowest
    place_bits = len(keys).bit_length()
    lost = np.uint64(max(0, int(words.max()).bit_length() + place_bits - 64))
    words >>= lost
    words <<= np.uint64(place_bits)
    words |= np.arange(len(keys), dtype=np.uint64)
    words.sort()
    words &= np.uint64((1 << place_bits) - 1)
    places: Keys = words.view(np.int64)
    found = keys[places]
    wrong = found[1:] < found[:-1]
    if wrong.any():
        leading = (found.view(np.uint64) - lowest) >> lost
        again = np.isin(leading, leading[1:][wrong])
        places[again] = places[again][np.argsort(found[again])]
        found[again] = keys[places[again]]
    return found, places


def _lowest_reachable(x: Codes, y: Codes, nodes: int) -> Codes:
    """The smallest code that each of the codes below ``nodes`` can reach over the edges x - y.

    In every round each root hooks onto its smallest neighbour and paths are flattened. A root
    that nobody hooked onto, and that had no smaller neighbour itself, has one in the next round:
    so the roots of a component at least halve in two rounds.
    """
    label = np.arange(nodes, dtype=x.dtype)
    while len(x):
        high = np.maximum(x, y)
        np.minimum.at(label, high, np.minimum(x, y))
        _flatten(label, high)
        x, y = label[x], label[y]
        apart = x != y
        x, y = x[apart], y[apart]
    _flatten(label, slice(None))
    return label


def _flatten(label: Codes, at: Codes | slice) -> None:
    """Follow labels from the given places to their ends, doubling the step each time."""
    here = label[at]
    while True:
        further = label[here]
        if np.array_equal(further, here):
            return
        label[at] = here = further


def _chunks(batches: Iterable[pa.RecordBatch], rows: int | None) -> Iterator[tuple[Keys, ...]]:
    """The columns of the batches, joined until another batch would exceed ``rows`` (None: all)."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        if held and rows is not None and count + batch.num_rows > rows:
            yield _columns(held)
            count = 0
        if batch.num_rows:
            held.append(batch)
            count += batch.num_rows
    if held:
        yield _columns(held)


def _columns(batches: list[pa.RecordBatch]) -> tuple[Keys, ...]:
    """The columns of the batches, which are taken out of the list so that they can be freed."""
    table = pa.Table.from_batches(batches)
    batches.clear()
    nulls = sum(column.null_count for column in table.columns)
    if nulls:
        raise ContractError(
            f"{nulls} null keys among {table.num_rows} edges; "
            "an edge has two ends: leave out edges to nothing before the graph is built"
        )
    return tuple(column.to_numpy() for column in table.columns)


def _rows(
    names: tuple[str, ...], columns: tuple[npt.NDArray[Any], ...]
) -> Iterator[pa.RecordBatch]:
    """The columns as batches that are small enough to be streamed."""
    whole = pa.RecordBatch.from_arrays([pa.array(c) for c in columns], names=list(names))
    for start in range(0, whole.num_rows, _ROWS_PER_BATCH):
        yield whole.slice(start, _ROWS_PER_BATCH)
