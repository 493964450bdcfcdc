"""Files that the workers write hold the rows that `staged_lines` gives."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

from pyspark.sql import SparkSession

from lake.io.landing import Reading, staged_lines
from lake.io.objects import LocalObjects
from lake.io.staging import staged_files
from lake.tables import STAGED_LINES

MANIFEST = "source string, object string, etag string, size bigint, last_modified timestamp"


def test_the_files_hold_the_rows_of_staged_lines(spark: SparkSession, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    for i in range(3):
        calls = [{"type": "track", "messageId": f"m{i}-{n}", "userId": f"u{n}"} for n in range(50)]
        text = "\n".join([*map(json.dumps, calls), "nonsense"])
        (landing / f"{i}.gz").write_bytes(gzip.compress(text.encode()))
    versions = [
        ("web", v.uri, v.etag, v.size, datetime(2026, 3, 9, tzinfo=UTC))
        for v in LocalObjects().versions(str(landing))
    ]
    objects = spark.createDataFrame(versions, MANIFEST).repartition(2)
    reading = Reading(LocalObjects(), 1)

    files = staged_files(objects, reading, LocalObjects(), f"{tmp_path}/scratch/")

    written = spark.read.schema(STAGED_LINES.ddl).parquet(*files.files)
    order = ("object", "kind", "line")
    assert (
        written.orderBy(*order).collect()
        == staged_lines(objects, reading).as_frame().orderBy(*order).collect()
    )
    assert files.rows == written.count()
    assert list(files.files) == sorted(str(p) for p in (tmp_path / "scratch").glob("*.parquet"))
