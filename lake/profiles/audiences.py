"""Audiences: which profiles meet a condition, and when they came and went."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from lake.language.tree import Computed
from lake.profiles.conditions import holds

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from lake.language.tree import Condition


def with_audiences(
    profiles: DataFrame,
    audiences: Mapping[str, Condition],
    asked: Mapping[str, Computed],
    as_of: datetime,
) -> DataFrame:
    """The profiles with ``audiences``, the names of those they are in, by the alphabet.

    In: profiles with a column for each trait and each of what is ``asked`` of calls.
    """
    names = {each: name for name, each in asked.items()}

    def column(value: Any) -> Column:
        if isinstance(value, Computed):
            return F.col(names[value])
        return F.col(value.name.replace(".", "_"))

    met = [
        F.when(holds(condition, column, as_of), F.lit(name))
        for name, condition in sorted(audiences.items())
    ]
    return profiles.withColumn("audiences", F.array_compact(F.array(*met)))


def members(before: DataFrame, profiles: DataFrame, publication: int, as_of: datetime) -> DataFrame:
    """The columns of ``audience_members``, from those of the last publication.

    In: ``audience_members`` before, and the profiles with their ``audiences``. A profile whose id
    is no longer current has left; one that comes back enters again.
    """
    now = profiles.select("profile_id", F.explode("audiences").alias("audience")).withColumn(
        "is_in", F.lit(1)
    )
    number, moment = F.lit(publication).cast("bigint"), F.lit(as_of)
    left = F.col("is_in").isNull()
    still = before.where(F.col("exited").isNull()).join(now, ["audience", "profile_id"], "full")
    return still.select(
        "audience",
        "profile_id",
        F.coalesce("entered", number).alias("entered"),
        F.coalesce("entered_at", moment).alias("entered_at"),
        F.when(left, number).alias("exited"),
        F.when(left, moment).alias("exited_at"),
    ).unionByName(before.where(F.col("exited").isNotNull()))
