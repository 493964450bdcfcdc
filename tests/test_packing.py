"""Packed rows: whatever they hold, each comes out once, in the task of its key."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lake import packing
from lake.frames import WorkerRows, unchanged, widened
from lake.packing import gathered, sorted_by
from lake.ranges import in_ranges, range_of_each
from lake.schema import ddl_of

KEYS = {
    "profile_id": "md5(cast(id as string))",
    "identity_set": "unhex(md5(cast(id as string)))",
    "identifier_key": "xxhash64(id)",
}
ROW = (
    "identifier_key bigint, day date, text string, told array<struct<a:string,b:bigint>>, "
    "seen struct<at:timestamp,source:string>"
)


def some_rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Rows with nulls in every place that may be null, and one that is longer than a value."""
    draw = random.Random(seed)

    def perhaps(value: Any) -> Any:
        return None if draw.random() < 0.2 else value

    rows = [
        {
            "identifier_key": draw.randrange(-(2**63), 2**63),
            "day": None,
            "text": perhaps("é" * draw.randrange(5)),
            "told": perhaps([{"a": perhaps("x"), "b": perhaps(n)} for n in range(n % 3)]),
            "seen": perhaps({"at": None, "source": perhaps(f"s{n}")}),
        }
        for n in range(count)
    ]
    rows[0]["text"] = "long" * packing._BYTES
    return rows


def tagged(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Each row with a number for the run of the kernel that it came to."""
    every = [batch for batch in batches if len(batch)]
    run = min((batch["identifier_key"][0].as_py() for batch in every), default=0)
    for batch in every:
        yield batch.append_column("run", pa.array([run] * len(batch), pa.int64()))


@pytest.mark.parametrize("ranges", [1, 5, None])
@pytest.mark.parametrize("size", [64, 32 << 10])
def test_every_row_comes_out_once_as_it_went_in(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, size: int, ranges: int | None
) -> None:
    rows = some_rows(300, 1)
    monkeypatch.setattr(packing, "_BYTES", size)
    frame = spark.createDataFrame(rows, ROW).repartition(3)
    told = unchanged(frame)
    packed = packing.Packing({"": packing.arrow_schema(ROW)}, "identifier_key", range(7))
    batches = frame.toArrow().to_batches(max_chunksize=50)
    unpacked = packed.unpacked(packed.packed("", batch) for batch in batches)
    again = Counter(repr(row) for _, rows in unpacked for row in rows.to_pylist())
    assert again == Counter(repr(row) for batch in batches for row in batch.to_pylist())
    found = gathered(told, "identifier_key", tagged, f"{ROW}, run bigint", ranges).as_frame()
    assert found.drop("run").exceptAll(frame).isEmpty()
    assert found.count() == len(rows)


def test_rows_of_one_key_meet_in_one_run_whichever_frame_they_are_of(spark: SparkSession) -> None:
    ids = spark.range(2_000).repartition(4)
    one = unchanged(ids.selectExpr("xxhash64(id % 50) as identifier_key", "id as a"))
    other = unchanged(ids.selectExpr("xxhash64(id % 70) as identifier_key", "'b' as b"))
    schema = "identifier_key bigint, a bigint, b string, run bigint"
    found = gathered([one, other], "identifier_key", tagged, schema, 6).as_frame()
    runs = found.groupBy("identifier_key").agg(
        F.count_distinct("run").alias("runs"), F.count("a").alias("a"), F.count("b").alias("b")
    )
    counted = runs.agg(F.max("runs"), F.sum("a"), F.sum("b"), F.count("*")).first()
    assert tuple(counted or ()) == (1, 2_000, 2_000, 70)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("ranges", [1, 7, 200])
def test_a_worker_finds_the_range_that_spark_finds(
    spark: SparkSession, key: str, ranges: int
) -> None:
    some = spark.range(500).selectExpr(f"if(id % 50 = 0, null, {KEYS[key]}) as {key}")
    tasks = in_ranges(some, (key,), ranges).select(key, F.spark_partition_id().alias("task"))
    found = tasks.toArrow()
    own = range_of_each(found.column(key).combine_chunks(), ranges)
    assert own.tolist() == found.column("task").to_pylist()


@pytest.mark.parametrize("key", KEYS)
def test_sorted_rows_come_in_the_files_and_the_order_of_spark(
    spark: SparkSession, key: str
) -> None:
    some = spark.range(3_000).repartition(3).selectExpr(f"{KEYS[key]} as {key}", "id % 7 as n")
    by_spark = in_ranges(some, (key, "n"), 5)
    by_workers = sorted_by(unchanged(some), (key, "n"), 5).as_frame()
    place = F.spark_partition_id().alias("task")
    assert by_workers.select(place, "*").collect() == by_spark.select(place, "*").collect()


def test_rows_without_columns_that_others_have_are_null_there() -> None:
    rows = pa.RecordBatch.from_pydict({"b": ["x"]})
    wide = widened(rows, packing.arrow_schema("a bigint, b string"))
    assert wide.to_pylist() == [{"a": None, "b": "x"}]


def test_nothing_comes_of_nothing(spark: SparkSession) -> None:
    none = WorkerRows(spark.range(3).repartition(2), partial(filter, len), ddl_of({"id": "bigint"}))
    empty = none.then(lambda batches: (b.slice(0, 0) for b in batches), "id bigint")
    made = gathered(empty, "id", tagged, "id bigint, run bigint")
    assert made.as_frame().isEmpty()
