"""The objects of a plan as a frame, spread over tasks by their bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import functions as F

from lake.io.control import Landed

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

#: Packed bytes a task reads at most, unless one object alone is larger: some ten seconds of work.
TASK_BYTES = 16 << 20
#: What opening an object costs, in bytes read meanwhile.
OPEN_BYTES = 1 << 18


def planned_objects(spark: SparkSession, landed: Sequence[Landed]) -> DataFrame:
    """(source, object, etag, size, last_modified), a row an object, a partition a task.

    The largest objects are dealt first, each to the task with the least bytes so far.
    """
    cores = spark.sparkContext.defaultParallelism if hasattr(spark, "_jsc") else 8
    total = sum(item.version.size + OPEN_BYTES for item in landed)
    # As many rounds as are needed, and all cores busy in each: tasks are of one size.
    rounds = max(1, -(-total // (TASK_BYTES * cores)))
    tasks = max(1, min(len(landed), rounds * cores))
    loads = [0] * tasks
    dealt = []
    for item in sorted(landed, key=lambda i: (-i.version.size, i.version.uri)):
        task = loads.index(min(loads))
        loads[task] += item.version.size + OPEN_BYTES
        dealt.append((task, item))
    rows = pa.table(
        {
            "task": pa.array([task for task, _ in dealt], pa.int32()),
            "source": [item.source for _, item in dealt],
            "object": [item.version.uri for _, item in dealt],
            "etag": [item.version.etag for _, item in dealt],
            "size": pa.array([item.version.size for _, item in dealt], pa.int64()),
            "last_modified": pa.array(
                [item.version.last_modified for _, item in dealt], pa.timestamp("us", tz="UTC")
            ),
        }
    )
    return spark.createDataFrame(rows).repartitionById(tasks, F.col("task")).drop("task")
