"""Connected components of an identity graph: who is linked to whom, over any number of hops.

Up to `FINISH_EDGES` edges are solved by one task, which is faster than any plan that spreads
them. Larger graphs are contracted first, level by level (`lake.identity.contraction`): one
shuffle of forests a level, never of the edges, until what is left fits one task.

    edges ─► forests ─shuffle by node─► unions ─► level 1: node → root
                                           └─► links 1 ─► … ─► links n ─► finish
                                                                             │
    node → component  ◄─ join ─ level 1  ◄─ …  ◄─ join ─ level n  ◄──────────┘

Every frame that is used twice is materialised: a table that was written is a fact, whereas a
plan would be computed again, and its size estimates grow with each join until planning hangs.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

import structlog
from pyspark.sql import DataFrame
from pyspark.sql import functions as f

from lake.frames import Materialised, Storable, WorkerRows
from lake.identity import contraction

FINISH_EDGES = contraction.finish_edges(2 << 30)
"""Edges that are finished in one task: what fits a Python worker of 2 GiB."""

MAX_LEVELS = 8
ROWS_PER_PARTITION = 3_000_000
BROADCAST_ROWS = 4_000_000
"""Rows of a join's smaller side that are sent to every executor, about 64 MB."""

_SLOW = 0.8
_log = structlog.get_logger(__name__)


COMPONENT = "node bigint, component bigint"
UNITED = "node bigint, root bigint, link boolean"


class Materialise(Protocol):
    """Stores rows as a scratch table of this name and gives them back as read from there.

    The name is unique within one call of `connected_components`, a letter and then letters,
    digits and underscores. A name that is stored already may be given back as it is: it holds
    the same rows. The columns are bigint or boolean and never null. ``rows`` is what the write
    itself counted; no job need count it.
    """

    def __call__(self, name: str, rows: Storable) -> Materialised:
        """The stored rows."""


def connected_components(
    edges: DataFrame | Materialised,
    materialise: Materialise,
    *,
    finish_edges: int = FINISH_EDGES,
    partitions: int | None = None,
) -> Materialised:
    """Every node of the edges once, ``(node bigint, component bigint)``: its smallest fellow.

    In: ``(a bigint, b bigint)``, a row an edge; repeated, reversed and self edges are welcome,
    and a node without edges is named by an edge to itself. A frame is materialised first.

    The result depends on nothing but the set of edges, and is stored as ``solved``. Cost of the
    large case, an edge: one hash, about 1.4 shuffled rows of 18 bytes, a union in Python; 5 jobs
    with one level and 3 more with each further one. ``partitions`` of the shuffle are sized by
    rows unless given. A null key fails the job with a ContractError.
    """
    if isinstance(edges, Materialised):
        stored = edges
    else:
        stored = materialise("edges", edges.select("a", "b"))
    levels: list[Materialised] = []
    slow = 0
    while stored.rows > finish_edges and len(levels) < MAX_LEVELS:
        spread = partitions or max(2, -(-stored.rows // ROWS_PER_PARTITION))
        level = len(levels) + 1
        # A long chain cut at random keeps most of its links; with the edges of a hub in one
        # slice it does not.
        local = Materialised(stored.frame.repartition(spread, "b"), stored.rows)
        stars = forests(local if slow >= 2 else stored, spread)
        both = materialise(f"level_{level}", WorkerRows(stars, contraction.unions, UNITED))
        links = materialise(f"links_{level}", links_of(both.frame))
        levels.append(Materialised(roots_of(both.frame), both.rows - links.rows))
        slow += links.rows > _SLOW * stored.rows
        stored = links
    if stored.rows > finish_edges:
        _log.warning("components.levels_exhausted", levels=len(levels), links=stored.rows)
    chunk_edges = max(finish_edges, contraction.CHUNK_EDGES)
    finish = partial(contraction.finish, chunk_edges=chunk_edges)
    last = stored.through(finish, COMPONENT).in_one_task()
    if not levels:
        return materialise("solved", last)
    return materialise("solved", unwound(levels, Materialised(last.as_frame(), stored.rows)))


def forests(edges: Materialised, partitions: int) -> DataFrame:
    """``(node, root)``, star rows of slices of the edges, all those of a node in one partition."""
    # The count must be given: by it Spark neither splits nor merges, and `unions` has to see
    # all rows of a node.
    rows = edges.through(contraction.forests, "node bigint, root bigint").as_frame()
    return rows.repartition(partitions, "node")


def links_of(level: DataFrame) -> DataFrame:
    """The links of a level as the edges ``(a, b)`` of the next, ``b`` being the smaller key."""
    return level.where("link").select(f.col("node").alias("a"), f.col("root").alias("b"))


def roots_of(level: DataFrame) -> DataFrame:
    """The ``(node, root)`` of every node of a level."""
    return level.where("not link").select("node", "root")


def unwound(levels: list[Materialised], last: Materialised) -> DataFrame:
    """``(node, component)`` of the nodes of the first level, from those of the last links."""
    # A root that is its own component needs no row, so there are no more rows than links.
    known, rows = last.frame.where("node != component"), last.rows
    for level in reversed(levels):
        known = followed(level.frame, f.broadcast(known) if rows <= BROADCAST_ROWS else known)
        rows = level.rows
    return known


def followed(roots: DataFrame, known: DataFrame) -> DataFrame:
    """``(node, component)`` from ``(node, root)`` and the components of those roots that moved."""
    further = known.select(f.col("node").alias("root"), f.col("component"))
    component = f.coalesce("component", "root").alias("component")
    return roots.join(further, "root", "left").select("node", component)


def faults(edges: Materialised, components: Materialised) -> DataFrame:
    """What is wrong with components that one task could solve: ``(kind, count)``, all counts 0
    where they are right. One task looks at all of them (`lake.identity.contraction.faults`)."""
    kernel = partial(contraction.fault_counts, components.reader())
    return edges.through(kernel, "kind string, count bigint").in_one_task().as_frame()


def repeated_nodes(components: DataFrame) -> DataFrame:
    """Nodes that are in more than one component, of which there must be none: (node)."""
    counted = components.groupBy("node").agg(f.count("*").alias("n"))
    return counted.where("n > 1").select("node")


def broken_links(edges: DataFrame, components: DataFrame) -> DataFrame:
    """Edges whose ends are not in one component, of which there must be none.

    Out: ``(a, b, component_a, component_b)``; a node that has no component shows a null and
    counts as broken. Two joins of all edges: for a nightly check.
    """
    of_a = components.select(f.col("node").alias("a"), f.col("component").alias("component_a"))
    of_b = components.select(f.col("node").alias("b"), f.col("component").alias("component_b"))
    both = edges.select("a", "b").join(of_a, "a", "left").join(of_b, "b", "left")
    broken = both.where("component_a is null or component_b is null or component_a != component_b")
    return broken.select("a", "b", "component_a", "component_b")


def over_merged(
    edges: DataFrame, components: DataFrame, *, largest: int = 100, sampled: int = 10_000
) -> DataFrame:
    """Components that their own edges do not hold together, of which there must be none.

    Out: ``(component, parts)``, the number of pieces where it is above one. Looks at the
    ``largest`` and at ``sampled`` others, chosen by a hash of their key, and solves them again
    in one task by an independent kernel. ``components`` must be stored.
    """
    sizes = components.groupBy("component").agg(f.count("*").alias("nodes")).where("nodes > 1")
    chosen = (
        sizes.orderBy(f.desc("nodes"), "component")
        .limit(largest)
        .union(sizes.orderBy(f.xxhash64("component"), "component").limit(sampled))
        .select("component")
        .distinct()
    )
    members = components.join(f.broadcast(chosen), "component", "left_semi")
    own = edges.select("a", "b").join(
        members.select(f.col("node").alias("a"), "component"), "a", "inner"
    )
    rows = members.select("component", f.col("node").alias("a"), f.col("node").alias("b"))
    solved = rows.unionByName(own.select("component", "a", "b")).coalesce(1)
    counts = solved.mapInArrow(contraction.part_counts, "component bigint, parts bigint")
    return counts.where("parts > 1")
