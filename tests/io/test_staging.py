"""Files that the workers write hold the rows that `staged_lines` gives."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession

from lake.events.dedupe import PLACE
from lake.frames import Materialised
from lake.io.landing import Reading, staged_lines
from lake.io.objects import LocalObjects
from lake.io.scratch import read_back, stored_rows
from lake.io.staging import accepted_calls, staged_files
from lake.tables import EVENTS, STAGED_LINES

MANIFEST = "source string, object string, etag string, size bigint, last_modified timestamp"


def planned(spark: SparkSession, landing: Path) -> DataFrame:
    """Three objects of fifty calls and a broken line each, as a manifest."""
    landing.mkdir()
    for i in range(3):
        calls = [{"type": "track", "messageId": f"m{i}-{n}", "userId": f"u{n}"} for n in range(50)]
        text = "\n".join([*map(json.dumps, calls), "nonsense"])
        (landing / f"{i}.gz").write_bytes(gzip.compress(text.encode()))
    versions = [
        ("web", v.uri, v.etag, v.size, datetime(2026, 3, 9, tzinfo=UTC))
        for v in LocalObjects().versions(str(landing))
    ]
    return spark.createDataFrame(versions, MANIFEST).repartition(2)


def test_the_files_hold_the_rows_of_staged_lines(spark: SparkSession, tmp_path: Path) -> None:
    objects = planned(spark, tmp_path / "landing")
    reading = Reading(LocalObjects(), 1)

    files = staged_files(objects, reading, LocalObjects(), f"{tmp_path}/scratch/")

    written = spark.read.schema(STAGED_LINES.ddl).parquet(*files.files)
    order = ("object", "kind", "line")
    assert (
        written.orderBy(*order).collect()
        == staged_lines(objects, reading).as_frame().orderBy(*order).collect()
    )
    assert files.rows == written.count()
    # Of earlier events Spark makes the keys itself.
    by_spark = "if(kind = 'call', xxhash64(message_id), null)"
    assert written.where(f"message_key is distinct from {by_spark}").isEmpty()
    assert list(files.files) == sorted(str(p) for p in (tmp_path / "scratch").glob("*.parquet"))


def test_the_calls_that_are_not_lost_are_the_events(spark: SparkSession, tmp_path: Path) -> None:
    store = LocalObjects()
    objects = planned(spark, tmp_path / "landing")
    files = staged_files(objects, Reading(store, 1), store, f"{tmp_path}/staged/")
    lines = spark.read.schema(STAGED_LINES.ddl).parquet(*files.files)
    staged = read_back(lines, files, store)
    calls = lines.where("kind = 'call'")

    # The same line of another version of the object is another place.
    lost = calls.where("line % 7 = 0 or (line = 3 and object like '%1.gz')").select(*PLACE)
    others = lost.selectExpr("object", "'other' as etag", "line + 1 as line")
    places = stored_rows(lost.unionByName(others), store, f"{tmp_path}/lost/")
    accepted = accepted_calls(staged, read_back(lost, places, store), store).as_frame()

    wanted = calls.join(lost, list(PLACE), "left_anti").select(*EVENTS.names)
    assert lost.count() == 22
    assert accepted.orderBy("message_id").collect() == wanted.orderBy("message_id").collect()
    nothing = Materialised(lost, 0, (), None)
    assert accepted_calls(staged, nothing, store).as_frame().count() == calls.count() == 150
