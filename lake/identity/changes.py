"""What became of each profile between two publications.

A pure function of who had which identifier before and now: no profile keeps a history of its own.
An id that is no longer current leads on: to the one profile that has all its identifiers now
(*merged*), to several (*split*), or to none (*retired*). An id that is current again, after an
un-merge, leads nowhere any more. No id is ever given to somebody else: it is a hash of its
founder, see `lake.identity.ids`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from lake.frames import columns_of
from lake.lookups import looked_up
from lake.ordered import ascending, begins
from lake.packing import gathered
from lake.tables import IDENTITY_CHANGES

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from lake.frames import Rows, WorkerRows
    from lake.sums import Numbers

_KEY = ["type", "value"]


def moves(before: DataFrame, now: DataFrame) -> DataFrame:
    """How many identifiers went from which profile to which: (was, becomes, identifiers).

    ``before`` and ``now`` are two versions of ``profile_identifiers``. ``was`` is null for new
    identifiers, ``becomes`` for those that are on no profile any more.
    """
    was = before.select(*_KEY, F.col("profile_id").alias("was"))
    becomes = now.select(*_KEY, F.col("profile_id").alias("becomes"))
    return (
        was.join(becomes, _KEY, "full")
        .groupBy("was", "becomes")
        .agg(F.count(F.lit(1)).alias("identifiers"))
    )


def identity_changes(moves: DataFrame, causes: DataFrame) -> DataFrame:
    """One row a change: (profile_id, change, others, identifiers, cause_set).

    *born*: it was not there before; ``identifiers`` counts its new ones. *grown*: it was, and has
    new identifiers. *merged*: it is gone, and all that is left of it is on one other. *split*:
    what it had is on several now, or partly on others. *moved*: it took over identifiers from
    profiles that did not merge into it. *retired*: it is gone and nothing of it is left.
    ``others`` are the profiles it went to or took from, sorted. ``causes`` is (profile_id,
    cause_set): a new identity set of each profile; null where no new set but a rule changed it.
    Most profiles stay as they are, or only get new identifiers: these are counted, and all that is
    gathered of others is gathered of those alone between which something moved.
    """
    moving = moves.where("was is not null and not was <=> becomes")
    ends = moving.select(F.explode(F.array("was", "becomes")).alias("p"))
    involved = ends.where("p is not null")
    # Of what moves both ends are involved; of all else the two are one, or there is one.
    either = F.coalesce("becomes", "was") == F.col("p")
    kept = _kept(moves.join(involved, either, "left_anti"))
    changed = _changed(moves.join(involved, either, "left_semi"))
    # A merge is caused by a set of the profile that took the other in.
    taker = F.when(F.col("change") == "merged", F.get("others", F.lit(0)))
    rows = kept.select("*", F.col("profile_id").alias("by")).unionByName(
        changed.select("*", F.coalesce(taker, "profile_id").alias("by"))
    )
    owners = causes.select(F.col("profile_id").alias("by"), "cause_set")
    return rows.join(owners, "by", "left").drop("by")


def _kept(moves: DataFrame) -> DataFrame:
    """The changes of profiles from which nothing went, and to which only new identifiers came:
    (profile_id, change, others, identifiers)."""
    new, known = F.when(F.col("was").isNull(), F.col("identifiers")), F.col("was").isNotNull()
    return (
        moves.groupBy(F.col("becomes").alias("profile_id"))
        .agg(F.sum(new).alias("identifiers"), F.max(known).alias("known"))
        .where("identifiers is not null")
        .select(
            "profile_id",
            F.when(F.col("known"), "grown").otherwise("born").alias("change"),
            _nobody().alias("others"),
            "identifiers",
        )
    )


def _changed(moves: DataFrame) -> DataFrame:
    """The changes of all other profiles, in the same columns."""
    other = F.when(F.col("was") != F.col("becomes"), F.col("becomes"))
    went = (
        moves.where("was is not null")
        .groupBy(F.col("was").alias("p"))
        .agg(
            F.array_sort(F.collect_set(other)).alias("to"),
            F.sum(F.when(other.isNotNull(), F.col("identifiers"))).alias("left"),
            F.sum(F.when(F.col("becomes").isNull(), F.col("identifiers"))).alias("lost"),
            F.max(F.coalesce(F.col("was") == F.col("becomes"), F.lit(False))).alias("stays"),  # noqa: FBT003
        )
    )
    whole = went.where((F.size("to") == 1) & ~F.col("stays")).select(
        F.col("p").alias("was"),
        F.lit(True).alias("whole"),  # noqa: FBT003
    )
    taken = F.when(F.col("was") != F.col("becomes"), F.col("was"))
    came = (
        moves.where("becomes is not null")
        .join(whole, "was", "left")
        .groupBy(F.col("becomes").alias("p"))
        .agg(
            F.sum(F.when(F.col("was").isNull(), F.col("identifiers"))).alias("new"),
            F.array_sort(F.collect_set(F.when(F.col("whole").isNull(), taken))).alias("from"),
            F.sum(F.when(taken.isNotNull() & F.col("whole").isNull(), F.col("identifiers"))).alias(
                "took"
            ),
        )
    )
    both = went.join(came, "p", "full")
    told = F.filter(F.array(*_changes()), lambda change: change["change"].isNotNull())
    return both.select("p", F.explode(told).alias("c")).select(
        F.col("p").alias("profile_id"), "c.change", "c.others", "c.identifiers"
    )


def _changes() -> list[Column]:
    """The changes a profile can have gone through, each null where it has not."""
    before, now = F.col("to").isNotNull(), F.col("from").isNotNull()
    gone, others = before & ~now, F.size("to")
    kinds = [
        ("born", now & ~before, "none", F.coalesce("new", F.lit(0))),
        ("grown", before & (F.col("new") > 0), "none", F.col("new")),
        ("merged", gone & (others == 1), "to", F.col("left")),
        ("split", (gone & (others > 1)) | (now & (others > 0)), "to", F.col("left")),
        ("moved", now & (F.size("from") > 0), "from", F.col("took")),
        ("retired", gone & (others == 0), "none", F.col("lost")),
    ]
    return [
        F.struct(
            F.when(holds, name).alias("change"),
            (_nobody() if names == "none" else F.col(names)).alias("others"),
            count.cast("bigint").alias("identifiers"),
        )
        for name, holds, names, count in kinds
    ]


def _nobody() -> Column:
    return F.array().cast("array<string>")


def redirects(earlier: DataFrame, changes: DataFrame, current: DataFrame) -> DataFrame:
    """Every id ever published and no longer current: (old_profile_id, profile_id, outcome).

    ``earlier`` are the redirects before, ``changes`` this publication's, ``current`` the
    (profile_id) of now. Flat: an earlier redirect to a profile that is gone now leads where that
    one went, never along a chain.
    """
    went = changes.where("change in ('merged', 'split', 'retired')").select(
        F.col("profile_id").alias("old_profile_id"),
        F.when(F.col("change") == "merged", F.get("others", F.lit(0))).alias("profile_id"),
        F.col("change").alias("outcome"),
    )
    on = went.select(
        F.col("old_profile_id").alias("profile_id"),
        F.col("profile_id").alias("further"),
        F.col("outcome").alias("then"),
    ).join(current, "profile_id", "left_anti")
    followed = earlier.join(on, "profile_id", "left").select(
        "old_profile_id",
        F.when(F.col("then").isNull(), F.col("profile_id"))
        .otherwise(F.col("further"))
        .alias("profile_id"),
        F.coalesce("then", "outcome").alias("outcome"),
    )
    known = followed.join(went.select("old_profile_id"), "old_profile_id", "left_anti")
    back = current.select(F.col("profile_id").alias("old_profile_id"))
    return known.unionByName(went).join(back, "old_profile_id", "left_anti")


def numbered(found: DataFrame, number: int) -> DataFrame:
    """The `identity_changes` of a publication: the columns of the table of this name."""
    cause = F.when(F.col("cause_set").isNull(), "rules").otherwise("calls")
    return found.withColumns({"cause": cause, "publication": F.lit(number).cast("bigint")})


def causes(new_sets: Rows, set_profiles: Rows) -> WorkerRows:
    """The first of each profile's new identity sets: (profile_id, cause_set). One shuffle."""
    own = _owned(new_sets, set_profiles)
    return gathered(own, "profile_id", _least, "profile_id string, cause_set binary")


def first_changes(now: Rows, new_sets: Rows, set_profiles: Rows, number: int) -> WorkerRows:
    """The same as `numbered` where nothing was published before, so that every profile is born:
    ``now`` are the rows of ``profile_identifiers``. One shuffle, and Spark joins nothing."""
    one = columns_of(now, ("profile_id",)).then(_one, "profile_id string, identifiers bigint")
    told = [one, _owned(new_sets, set_profiles)]
    return gathered(told, "profile_id", partial(_born, number), IDENTITY_CHANGES.ddl)


def _owned(sets: Rows, set_profiles: Rows) -> WorkerRows:
    """The sets with the profile they belong to: (identity_set, profile_id)."""
    return looked_up(sets, ("identity_set",), set_profiles, "identity_set", ("profile_id",))


def _one(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for rows in batches:
        yield rows.append_column("identifiers", pa.array(np.ones(len(rows), np.int64)))


def _least(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    every = list(filter(len, batches))
    if every:
        rows, first = _by_profile(every)
        own = rows.take(pa.array(first))
        yield from pa.table(
            [own["profile_id"], own["identity_set"]], ["profile_id", "cause_set"]
        ).to_batches()


def _born(number: int, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    every = list(filter(len, batches))
    if not every:
        return
    rows, first = _by_profile(every)
    own = rows.take(pa.array(first))
    counted = np.add.reduceat(pc.fill_null(rows["identifiers"], 0).to_numpy(), first)
    caused = pc.if_else(own["identity_set"].is_valid(), "calls", "rules")
    size = len(first)
    told = {
        "publication": pa.repeat(number, size),
        "profile_id": own["profile_id"],
        "change": pa.repeat("born", size),
        "others": pa.repeat(pa.scalar([], pa.list_(pa.string())), size),
        "identifiers": pa.array(counted),
        "cause": caused,
        "cause_set": own["identity_set"],
    }
    # Profiles of which no identifier is published have not been born.
    born = pa.table(told).filter(pa.array(counted > 0)).select(IDENTITY_CHANGES.names)
    yield from born.to_batches()


def _by_profile(rows: Sequence[pa.RecordBatch]) -> tuple[pa.Table, Numbers]:
    """The rows by profile, those of each by identity set, and where each profile begins."""
    found = ascending(pa.Table.from_batches(rows), ["profile_id", "identity_set"])
    return found, begins(found["profile_id"])
