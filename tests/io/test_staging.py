"""Files that the workers write hold the rows that `staged_lines` gives."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from lake.io import staging
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

    written = spark.read.schema(STAGED_LINES.ddl).parquet(*files)
    order = ("object", "kind", "line")
    assert (
        written.orderBy(*order).collect()
        == staged_lines(objects, reading).orderBy(*order).collect()
    )
    assert sorted(files) == sorted(str(p) for p in (tmp_path / "scratch").glob("*.parquet"))


def test_files_and_row_groups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "_GROUP_BYTES", 1)
    batches = [
        pa.RecordBatch.from_arrays(
            [
                pa.array([n]) if f.name == "line" else pa.nulls(1, f.type)
                for f in STAGED_LINES.arrow
            ],
            schema=STAGED_LINES.arrow,
        )
        for n in range(10)
    ]

    tables = [pq.read_table(pa.BufferReader(b)) for b in staging._bodies(batches)]

    assert [t.column("line").to_pylist() for t in tables] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
