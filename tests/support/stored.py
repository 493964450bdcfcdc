"""Stored tables as a run has them, in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from lake.frames import Materialised, Storable, as_frame
from lake.io.objects import LocalObjects
from lake.io.scratch import Stored, read_back


class Scratch:
    """Scratch tables as Parquet folders, and the rows of each."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: dict[str, int] = {}

    def __call__(self, name: str, rows: Storable) -> Materialised:
        path, frame = self.root / name, as_frame(rows)
        frame.write.mode("overwrite").parquet(str(path))
        files = sorted(str(file) for file in path.glob("*.parquet"))
        self.rows[name] = sum(pq.read_metadata(file).num_rows for file in files)
        stored = frame.sparkSession.read.schema(frame.schema).parquet(str(path))
        return read_back(stored, Stored(tuple(files), self.rows[name]), LocalObjects())

    def of(
        self, spark: SparkSession, name: str, rows: Sequence[Any], schema: str, files: int = 2
    ) -> Materialised:
        """Rows of these columns (DDL) in so many files."""
        return self(name, spark.createDataFrame(rows, schema).repartition(files))
