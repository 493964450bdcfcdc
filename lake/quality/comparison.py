"""Two versions of a table, row by row: what is missing, too much or different, and where."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from lake.schema import Table

MISSING, UNEXPECTED, DIFFERENT = "missing", "unexpected", "different"


def differences(
    table: Table, found: DataFrame, wanted: DataFrame, without: Sequence[str] = ()
) -> DataFrame:
    """The rows in which a table is not as it should be: (difference, columns, and its grain).

    ``found`` and ``wanted`` have the table's columns and one row a grain; columns ``without`` are
    not compared. ``difference``: *missing* (only wanted), *unexpected* (only found) or
    *different*, with the names of the ``columns`` that differ. A null equals a null. One join.
    """
    names = [n for n in table.names if n not in (*table.grain, *without)]
    kinds = {c.name: c.type for c in table.columns}
    ours = found.select(*_keys(table, "f"), F.struct(*names).alias("found"), F.lit(1).alias("in_f"))
    theirs = wanted.select(
        *_keys(table, "w"), F.struct(*names).alias("wanted"), F.lit(1).alias("in_w")
    )
    same = reduce(and_, [F.col(f"f_{k}").eqNullSafe(F.col(f"w_{k}")) for k in table.grain])
    differing = [
        F.when(~_equal(F.col(f"found.{n}"), F.col(f"wanted.{n}"), kinds[n]), n) for n in names
    ]
    columns = F.array_compact(F.array(*differing)) if names else F.array().cast("array<string>")
    difference = (
        F.when(F.col("in_f").isNull(), MISSING)
        .when(F.col("in_w").isNull(), UNEXPECTED)
        .when(F.size(columns) > 0, DIFFERENT)
    )
    grain = [F.coalesce(f"f_{k}", f"w_{k}").alias(k) for k in table.grain]
    return (
        ours.join(theirs, same, "full")
        .select(difference.alias("difference"), columns.alias("columns"), *grain)
        .where("difference is not null")
    )


def _keys(table: Table, prefix: str) -> list[Column]:
    return [F.col(k).alias(f"{prefix}_{k}") for k in table.grain]


def _equal(one: Column, other: Column, kind: str) -> Column:
    """Whether two values are the same; maps, which Spark does not compare, by their entries."""
    if kind.startswith("map<"):
        one, other = (F.array_sort(F.map_entries(c)) for c in (one, other))
    return one.eqNullSafe(other)
