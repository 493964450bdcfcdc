"""Archive the classes that a local session loads, in jars/lib/classes.jsa, once; run by ``make
classes``.

A session loads some 19,000 classes out of 300 jars and checks each, which is half of what it takes
to start. The JVM can map them, checked, from a file instead: class data sharing (JEP 350). The
file is good for this JDK and these jars; with others the JVM passes over it. It takes as long to
make as ten sessions to start, and 200 MB.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from lake.io.session import class_archive, spark_session  # noqa: E402

_MINUTES_TO_WRITE = 10


def main() -> int:
    """Start a session, let it do a little of everything, and keep what it loaded."""
    archive = class_archive(HERE / "lib")
    archive.unlink(missing_ok=True)  # a session that starts from one archives nothing
    made = archive.with_suffix(".new")
    options = f"-XX:+UseParallelGC -XX:TieredStopAtLevel=1 -XX:ArchiveClassesAtExit={made}"
    silent = f"{options} -Xlog:disable"
    spark = spark_session("classes", HERE / "lib", conf={"spark.driver.extraJavaOptions": silent})
    with tempfile.TemporaryDirectory() as folder:
        a_little_of_everything(spark, folder)
    gateway = spark.sparkContext._gateway
    assert gateway is not None
    spark.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(timeout=60 * _MINUTES_TO_WRITE)
    if not made.is_file():
        print("This JDK archived no classes: sessions start without, as before.")
        return 0
    made.replace(archive)
    return 0


def a_little_of_everything(spark: SparkSession, folder: str) -> None:
    """The kinds of queries that a night has: workers' rows, Delta, each join, sums, windows."""
    given = pa.table({"key": pa.array([1, 2], pa.int32()), "text": ["a", "b"]})
    rows = spark.createDataFrame(given).repartitionById(2, F.col("key"))
    rows.write.format("delta").save(f"{folder}/table")
    stored = spark.read.format("delta").load(f"{folder}/table")
    keys = rows.select("key")
    made = rows.drop("key").mapInArrow(_as_they_are, "text string")
    hashed = F.xxhash64("key").alias("hash")
    ranked = F.row_number().over(Window.partitionBy("key").orderBy("text"))
    moments = F.collect_list(F.struct("key"))
    queries: list[DataFrame] = [
        stored.join(F.broadcast(made), "text").groupBy("text").agg(F.min("key"), F.count("key")),
        stored.join(keys.hint("merge"), "key").select(ranked, hashed).orderBy("hash"),
        stored.join(keys.hint("shuffle_hash"), "key").groupBy("key").agg(moments.alias("all")),
        stored.select("key").union(keys).distinct().orderBy("key"),
    ]
    for query in queries:
        query.toArrow()
    queries[2].select(F.explode("all")).collect()


def _as_they_are(batches):  # type: ignore[no-untyped-def]
    return iter(batches)


if __name__ == "__main__":
    sys.exit(main())
