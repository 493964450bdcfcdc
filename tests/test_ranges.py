"""Ranges of a hash: each a task of its own, in the order of the hash."""

from __future__ import annotations

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lake.ranges import in_ranges, names_of_tasks

ROWS = 5_000
HASHES = {
    "profile_id": "md5(cast(id as string))",
    "identity_set": "unhex(md5(cast(id as string)))",
    "identifier_key": "xxhash64(id)",
}


@pytest.fixture(scope="module")
def people(spark: SparkSession) -> DataFrame:
    return spark.range(ROWS).selectExpr(*(f"{said} as {name}" for name, said in HASHES.items()))


def bounds(rows: DataFrame, key: str) -> list[tuple[object, object, int]]:
    """The least and the greatest key of each task that has any, and its rows, task by task."""
    found = rows.groupBy(F.spark_partition_id().alias("task")).agg(
        F.min(key).alias("least"), F.max(key).alias("greatest"), F.count("*").alias("rows")
    )
    return [(r["least"], r["greatest"], r["rows"]) for r in found.sort("task").collect()]


@pytest.mark.parametrize("ranges", [1, 2, 7, 64])
def test_the_name_of_a_task_is_sent_to_it(spark: SparkSession, ranges: int) -> None:
    named = spark.createDataFrame([(n,) for n in names_of_tasks(ranges)], "range int")
    tasks = named.select(F.expr(f"pmod(hash(range), {ranges})").alias("task")).collect()
    assert [row["task"] for row in tasks] == list(range(ranges))


@pytest.mark.parametrize("key", HASHES)
def test_each_task_has_one_range_of_the_key_and_about_as_many_rows(
    people: DataFrame, key: str
) -> None:
    found = bounds(in_ranges(people.select(key), (key,), 7), key)
    assert len(found) == 7
    assert sum(count for *_, count in found) == ROWS
    assert min(count for *_, count in found) > ROWS / 7 * 0.8
    edges = [edge for least, greatest, _ in found for edge in (least, greatest)]
    assert edges == sorted(edges)  # type: ignore[type-var]
