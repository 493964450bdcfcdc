"""Files the workers write: named apart, cut by day, with bounds that hold."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lake.errors import CommitError
from lake.frames import WorkerRows
from lake.io import delta, files
from lake.io.delta import Lake, Tables, Transaction
from lake.io.files import Layout, bodies, statistics, written
from lake.io.objects import LocalObjects
from lake.parallel import together
from lake.schema import Column, Table

CALLS = Table(
    "calls",
    "Calls of a day.",
    ("id",),
    (
        Column("id", "string", ""),
        Column("day", "date", ""),
        Column("at", "timestamp", ""),
        Column("email", "string", "", personal=True),
        Column("tags", "array<struct<type:string,value:string>>", ""),
        Column("named", "map<string,array<string>>", ""),
        Column("key", "binary", ""),
        Column("n", "int", ""),
    ),
    "compact",
    partitioned_by=("day",),
)
DAYS = [date(2026, 11, 4), date(2026, 11, 5)]


def calls(spark: SparkSession, count: int = 20):
    rows = [
        (
            f"m{n:02}",
            DAYS[n % 2],
            datetime(2026, 11, 4 + n % 2, 12, 0, n, 123456, tzinfo=UTC),
            f"{n}@example.com" if n % 3 else None,
            [("user_id", str(n))],
            {"user_id": [str(n), None]} if n % 4 else None,
            bytes([n]),
            n if n % 5 else None,
        )
        for n in range(count)
    ]
    return spark.createDataFrame(rows, CALLS.ddl).repartition(2)


def lake_at(spark: SparkSession, folder: Path) -> Lake:
    return Lake(spark, Tables(str(folder)), "00000001", lambda _: None, lambda *_: None)


def content(frame) -> list[object]:
    return sorted((row.asDict(recursive=True) for row in frame.collect()), key=lambda r: r["id"])


def test_every_way_of_reading_gives_the_rows_that_were_written(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = lake_at(spark, tmp_path)
    lake.append(CALLS, calls(spark), Transaction("compact", 1))
    expected = content(calls(spark))

    by_files = content(lake.read(CALLS))
    monkeypatch.setattr(delta, "FEW_FILES", 0)
    by_delta = content(lake.read(CALLS))
    by_deltalake = lake.tables.query("select * from t order by id", t=(CALLS, None)).to_pylist()

    assert by_files == expected
    assert by_delta == expected
    for row in by_deltalake:
        row["named"] = dict(row["named"]) if row["named"] else None
        row["at"] = row["at"].replace(tzinfo=None)  # as Spark's rows have it
    assert by_deltalake == expected


def test_a_transaction_is_written_once_and_replacing_leaves_the_old_version_readable(
    spark: SparkSession, tmp_path: Path
) -> None:
    lake = lake_at(spark, tmp_path)
    lake.append(CALLS, calls(spark, 4), Transaction("compact", 1))
    lake.append(CALLS, calls(spark, 9), Transaction("compact", 1))
    assert [row["id"] for row in content(lake.read(CALLS))] == ["m00", "m01", "m02", "m03"]

    lake.replace(CALLS, calls(spark, 2), Transaction("compact", 2))

    assert [row["id"] for row in content(lake.read(CALLS))] == ["m00", "m01"]
    assert [row["id"] for row in content(lake.read(CALLS, 1))] == ["m00", "m01", "m02", "m03"]


def test_no_rows_are_a_commit_too(spark: SparkSession, tmp_path: Path) -> None:
    lake = lake_at(spark, tmp_path)
    lake.append(CALLS, calls(spark, 0), Transaction("compact", 1))
    assert lake.tables.holds(CALLS, Transaction("compact", 1))
    assert content(lake.read(CALLS)) == []


def test_a_commit_that_another_preceded_is_refused_and_its_files_are_in_no_version(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = lake_at(spark, tmp_path)
    lake.append(CALLS, calls(spark, 2), Transaction("compact", 1))
    behind = lake.tables.open(CALLS)
    lake.append(CALLS, calls(spark, 3), Transaction("compact", 2))
    monkeypatch.setattr(Tables, "open", lambda *_: behind)

    with pytest.raises(CommitError, match=r"calls: the commit of this run was not made"):
        lake.replace(CALLS, calls(spark, 1), Transaction("stitch", 1))

    monkeypatch.undo()
    assert len(content(lake.read(CALLS))) == 5


def test_the_log_tells_bounds_of_every_column_without_personal_data(
    spark: SparkSession, tmp_path: Path
) -> None:
    lake = lake_at(spark, tmp_path)
    lake.append(CALLS, calls(spark), Transaction("compact", 1))
    log = (tmp_path / "calls/_delta_log/00000000000000000001.json").read_text().splitlines()
    added = [json.loads(line)["add"] for line in log if '"add"' in line]
    told = [json.loads(action["stats"]) for action in added]
    for day in DAYS:
        own = [
            t for a, t in zip(added, told, strict=True) if a["partitionValues"] == {"day": str(day)}
        ]
        numbers = range(DAYS.index(day), 20, 2)
        assert sum(t["numRecords"] for t in own) == 10
        assert min(t["minValues"]["id"] for t in own) == f"m{numbers[0]:02}"
        assert max(t["maxValues"]["at"] for t in own) == f"{day}T12:00:{numbers[-1]}.123456Z"
        assert sum(t["nullCount"]["n"] for t in own) == len([n for n in numbers if n % 5 == 0])
    assert not any("email" in t["minValues"] | t["nullCount"] for t in told)


def test_bounds_of_long_texts_are_cut_so_that_they_hold() -> None:
    texts = ["b" * 40, "a" * 40]
    batch = pa.RecordBatch.from_pydict({"t": texts, "x": [float("nan")] * 2})
    [(_, body, rows)] = bodies([batch], Layout(""))
    told = statistics(body, ("t", "x", "absent"))
    assert rows == told["numRecords"] == 2
    assert told["minValues"] == {"t": "a" * 32}
    assert "b" * 40 <= told["maxValues"]["t"] == "b" * 32 + "\U0010ffff"


def test_a_column_of_nulls_has_no_bounds() -> None:
    column = pa.array([None, None], pa.string())
    [(_, body, _)] = bodies([pa.RecordBatch.from_pydict({"t": column})], Layout(""))
    assert statistics(body, ("t",)) == {
        "numRecords": 2,
        "minValues": {},
        "maxValues": {},
        "nullCount": {"t": 2},
    }


def test_files_and_row_groups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_GROUP_BYTES", 1)
    monkeypatch.setattr(files, "_FILE_BYTES", 150)
    rows = (pa.RecordBatch.from_pydict({"n": [n]}) for n in range(6))
    found = list(bodies(rows, Layout("")))
    tables = [pq.read_table(pa.BufferReader(body)) for _, body, _ in found]
    assert [n for table in tables for n in table["n"].to_pylist()] == list(range(6))
    assert len(found) > 1
    assert sum(count for *_, count in found) == 6


def mixed_days(rows: int, days: int) -> list[pa.RecordBatch]:
    every = [date(2026, 11, 1 + n % days) for n in range(rows)]
    whole = pa.RecordBatch.from_pydict({"n": list(range(rows)), "day": every})
    return [whole.slice(at, 7) for at in range(0, rows, 7)]


def test_days_that_come_mixed_are_a_file_each() -> None:
    found = list(bodies(mixed_days(100, 3), Layout("", partitioned_by="day")))
    assert [part for part, *_ in found] == ["2026-11-01", "2026-11-02", "2026-11-03"]
    for day, (_, body, rows) in enumerate(found):
        numbers = pq.read_table(pa.BufferReader(body))["n"].to_pylist()
        assert numbers == list(range(day, 100, 3)), "in the order they came"
        assert rows == len(numbers)


def test_where_many_days_come_mixed_the_largest_makes_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(files, "_GROUP_BYTES", 200)
    monkeypatch.setattr(files, "_FILE_BYTES", 2_000)
    held = []

    class Watched(files._Body):
        def end_group(self) -> int:
            held.append(self.waiting)
            return super().end_group()

    monkeypatch.setattr(files, "_Body", Watched)
    found = list(bodies(mixed_days(2_000, 20), Layout("", partitioned_by="day")))
    numbers = [
        n for _, body, _ in found for n in pq.read_table(pa.BufferReader(body))["n"].to_pylist()
    ]
    assert sorted(numbers) == list(range(2_000))
    assert len(found) > 20
    assert max(held) <= 2 * 200


def sizes(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows of each batch that comes."""
    for batch in batches:
        yield pa.RecordBatch.from_pydict({"rows": [batch.num_rows]})


@pytest.mark.parametrize("long_rows", [True, False])
def test_batches_of_long_rows_are_bounded_in_bytes_too(
    spark: SparkSession, tmp_path: Path, *, long_rows: bool
) -> None:
    bound = "spark.sql.execution.arrow.maxBytesPerBatch"
    before = str(spark.conf.get(bound))
    texts = spark.range(100).selectExpr("repeat('x', 10000) as text").coalesce(1)
    rows = WorkerRows(texts, sizes, "rows bigint")
    spark.conf.set(bound, "65536")
    try:
        [file] = written(rows, LocalObjects(), Layout(str(tmp_path), long_rows=long_rows))
        assert spark.conf.get(bound) == "65536", "for the next rows it is as it was"
    finally:
        spark.conf.set(bound, before)
    found = pq.read_table(file.uri)["rows"].to_pylist()
    assert sum(found) == 100
    assert max(found) <= 10 if long_rows else found == [100]


def test_batches_are_bounded_while_anything_written_has_long_rows(spark: SparkSession) -> None:
    key = "spark.sql.execution.arrow.maxBytesPerBatch"
    bound = str(spark.conf.get(key))
    seen = []
    with files._batches.of(spark, long_rows=False):
        seen.append(spark.conf.get(key))
        with files._batches.of(spark, long_rows=True):
            seen.append(spark.conf.get(key))
            with files._batches.of(spark, long_rows=False):
                seen.append(spark.conf.get(key))
        seen.append(spark.conf.get(key))

    assert seen == [files._NO_BOUND, bound, bound, files._NO_BOUND]
    assert spark.conf.get(key) == bound


def test_two_writers_of_one_table_never_meet(spark: SparkSession, tmp_path: Path) -> None:
    lake = lake_at(spark, tmp_path)
    first = {f.uri for f in lake._files(CALLS, calls(spark))}
    second = {f.uri for f in lake._files(CALLS, calls(spark))}
    assert first
    assert second
    assert not first & second


def test_scratch_is_whole_or_not_there(spark: SparkSession, tmp_path: Path) -> None:
    lake = lake_at(spark, tmp_path)
    frame = calls(spark)
    kept = lake.scratch("calls", frame)
    again = lake.scratch("calls", calls(spark, 1))
    assert (kept.rows, again.rows) == (20, 20)
    assert content(kept.frame) == content(again.frame) == content(frame)
    (tmp_path / "_scratch/00000001/calls.json").unlink()
    assert lake.scratch("calls", calls(spark, 1)).rows == 1
    assert content(kept.frame) == content(frame), "no writer touches another's files"


def test_rows_are_stored_once_however_many_threads_ask(spark: SparkSession, tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    lake = lake_at(spark, tmp_path)
    lake.after_commit = lambda *said: told.append(said)
    asked = [partial(lake.scratch, "calls", calls(spark, n)) for n in (20, 20, 1, 1)]

    found = together(*asked)

    assert [verb for _, verb in sorted(told)] == ["kept", "kept", "kept", "wrote"]
    assert len({kept.files for kept in found}) == 1


def test_a_folder_may_have_any_name(spark: SparkSession, tmp_path: Path) -> None:
    lake = lake_at(spark, tmp_path / "a {lake} [of 100%]")
    lake.append(CALLS, calls(spark), Transaction("compact", 1))
    stored = lake.scratch("calls", lake.read(CALLS))
    assert content(lake.read(CALLS)) == content(stored.frame) == content(calls(spark))


def test_no_rows_are_scratch_too(spark: SparkSession, tmp_path: Path) -> None:
    nothing = lake_at(spark, tmp_path).scratch("nothing", calls(spark, 0))
    assert (nothing.rows, nothing.frame.dtypes) == (0, calls(spark).dtypes)
    assert nothing.frame.collect() == []


def test_a_frame_that_fails_names_no_value(spark: SparkSession, tmp_path: Path) -> None:
    bad = calls(spark).selectExpr("cast(email as int) as n")
    with pytest.raises(CommitError) as raised:
        lake_at(spark, tmp_path).scratch("bad", bad)
    assert "example.com" not in str(raised.value)


def test_files_are_in_the_order_of_the_frame(spark: SparkSession, tmp_path: Path) -> None:
    frame = spark.range(100).orderBy("id").selectExpr("id").coalesce(1)
    [file] = written(frame, LocalObjects(), Layout(str(tmp_path)))
    assert pq.read_table(file.uri)["id"].to_pylist() == list(range(100))
    assert file.size == Path(file.uri).stat().st_size


def test_an_update_takes_out_the_rows_of_its_keys_and_leaves_other_files_alone(
    spark: SparkSession, tmp_path: Path
) -> None:
    lake = lake_at(spark, tmp_path)
    before = content(calls(spark))
    for half in ("id < 'm10'", "id >= 'm10'"):
        lake.append(CALLS, calls(spark).where(half), Transaction(half, 1))
    files = set(lake.tables.files(CALLS))
    first = lake.read(CALLS).where("id in ('m01', 'm02')")
    # Its key is the id with the number: of a row that has the id alone, nothing is taken.
    keys = first.select("id", "n").unionByName(
        spark.createDataFrame([("m03", 99), ("nobody", 1)], "id string, n int")
    )
    rows = first.where("id = 'm02'").withColumn("email", F.lit("new@example.com"))
    for _ in range(2):
        lake.update(CALLS, keys, rows, Transaction("update", 1))

    assert lake.tables.version(CALLS) == 3
    changed = {r["id"]: r for r in content(lake.read(CALLS))}
    assert "m01" not in changed
    assert changed["m02"]["email"] == "new@example.com"
    others = [r for r in before if r["id"] not in ("m01", "m02")]
    assert [changed[r["id"]] for r in others] == others
    assert len(changed) == len(others) + 1
    kept = files & set(lake.tables.files(CALLS))
    assert len(kept) == len(files) - 2, "the rows' two days each had one file written anew"
    assert content(lake.read(CALLS, 2)) == before


def test_small_files_are_written_together_once_there_are_many(
    spark: SparkSession, tmp_path: Path
) -> None:
    lake = lake_at(spark, tmp_path)
    one_day = calls(spark).where(F.col("day") == F.lit(DAYS[0]))
    for n in range(10):
        rows = one_day.where(f"id = 'm{2 * n:02}'")
        lake.append(CALLS, rows, Transaction("append", n))
    nobody = spark.createDataFrame([("nobody",)], "id string")
    lake.update(CALLS, nobody, lake.empty(CALLS), Transaction("update", 1))
    assert len(lake.tables.files(CALLS)) == 1
    assert content(lake.read(CALLS)) == content(one_day)
