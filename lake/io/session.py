"""The Spark session and every setting of it, each with its reason."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pyspark.sql import SparkSession

from lake.errors import SetupError

if TYPE_CHECKING:
    from lake.io.objects import StorageSettings

#: Settings that decide results or what other readers can open; the same everywhere.
MEANING = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    # The default, INT96, has no minimum and maximum in Parquet's footers.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
}

#: Settings that only cost or save time; `spark-submit --conf` and the configuration outrank them.
SPEED = {
    "spark.ui.showConsoleProgress": "false",
    "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
    # For each row it gives a worker Spark walks again over the empty lists before it in the batch:
    # 117 µs a row with two such columns in batches of 100,000, and 4 in these.
    "spark.sql.execution.arrow.maxRecordsPerBatch": "2000",
    # Calls may be long: without it a worker could be handed gigabytes at once.
    "spark.sql.execution.arrow.maxBytesPerBatch": "67108864",
    # Of a lake of some million people every second join has a side that every task can hold.
    "spark.sql.autoBroadcastJoinThreshold": "67108864",
    # One task a column chunk of a small log instead of Delta's default of 50.
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.databricks.delta.optimize.maxFileSize": "268435456",
    # Years of calls in a first load are thousands of small files: more of them to a task.
    "spark.sql.files.openCostInBytes": "262144",
    # A table that is small in each partition is hashed; without it both sides are sorted to join.
    "spark.sql.adaptive.maxShuffledHashJoinLocalMapThreshold": "67108864",
    # A dead endpoint fails in seconds; with the defaults it hangs for many minutes.
    "spark.hadoop.fs.s3a.attempts.maximum": "3",
    "spark.hadoop.fs.s3a.retry.limit": "3",
    # Stores other than AWS know nothing of the accelerator's reads.
    "spark.hadoop.fs.s3a.input.stream.type": "classic",
}

#: Settings of a session that this process starts itself (no cluster, no spark-submit).
LOCAL = {
    "spark.master": "local[*]",
    "spark.ui.enabled": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.memory": "4g",
    # Nobody looks at this session's pages; what they would show is kept in memory.
    "spark.sql.ui.retainedExecutions": "10",
    "spark.ui.retainedJobs": "50",
    "spark.ui.retainedStages": "50",
    # A night compiles some hundreds of small classes, and Spark keeps a hundred by default.
    "spark.sql.codegen.cache.maxEntries": "2000",
    # Delta's own plan strings are long and hold literals; keep them out of the driver's memory.
    "spark.sql.debug.maxToStringFields": "5",
    # Prepended to extraJavaOptions, which the configuration may replace.
    # The JVM drops compiled code early where it may keep only 48 MB, as with C1 alone.
    "spark.driver.defaultJavaOptions": "-Duser.timezone=UTC -XX:ReservedCodeCacheSize=256m "
    f"-Dlog4j2.configurationFile=file:{Path(__file__).with_name('log4j2.properties')}",
    "spark.driver.extraJavaOptions": "-XX:+UseParallelGC",
}

#: What is said to the JVM of its compilers. A night runs hundreds of queries, each once, and what
#: plans and compiles them runs for seconds: the second compiler's work on it all was a quarter of
#: what 2,000,000 calls cost. So it is asked later, and for what handles rows alone: 191 s of CPU
#: instead of 209.
COMPILERS = (
    "-XX:Tier4InvocationThreshold=30000 -XX:Tier4MinInvocationThreshold=3000 "
    "-XX:Tier4CompileThreshold=90000 -XX:Tier4BackEdgeThreshold=300000 "
    # Else it says on standard output that it has read the file.
    "-XX:+UnlockDiagnosticVMOptions -XX:-DisplayVMOutput "
    f"-XX:CompilerDirectivesFile={Path(__file__).with_name('compiler.json')}"
)
#: The same where a session has little to do: 200,000 calls took 52 s of CPU without the second
#: compiler and 65 with it, 600,000 calls 92 and 99. Its code is faster, which pays from then on.
BRIEF = "-XX:TieredStopAtLevel=1"
_BRIEF_BYTES, _BRIEF_EVENTS = 40 << 20, 500_000


def is_brief(landed: int, events: int) -> bool:
    """Whether there is little to do: so many bytes have landed beside so many events.

    >>> is_brief(1 << 20, 20_000), is_brief(1 << 20, 2_000_000), is_brief(1 << 30, 0)
    (True, False, False)
    """
    return landed < _BRIEF_BYTES and events < _BRIEF_EVENTS


def spark_session(
    app: str,
    jars: Path | None = None,
    storage: StorageSettings | None = None,
    conf: Mapping[str, str] | None = None,
    *,
    brief: bool = False,
) -> SparkSession:
    """The one session of this process; ``brief`` where there is little to do.

    Under spark-submit the cluster's master, memory and jars stand; otherwise a local session is
    started with the jars of ``jars`` (default: ``$PROFILE_LAKE_JARS``, else ``jars/lib`` of the
    checkout). Raises SetupError if there is no Java or a jar is missing.
    """
    settings = {**SPEED, **MEANING, **s3a(storage)}
    if not submitted():
        cores = os.cpu_count() or 2
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        folder = jars_folder(jars)
        settings |= LOCAL | {
            "spark.driver.extraClassPath": f"{folder}/*",
            "spark.sql.shuffle.partitions": str(2 * cores),
            # Of few large partitions Spark would make fewer, say three for two cores.
            "spark.sql.adaptive.coalescePartitions.minPartitionNum": str(2 * cores),
            "spark.default.parallelism": str(cores),
        }
        settings["spark.driver.defaultJavaOptions"] += _archived(class_archive(folder))
        settings["spark.driver.extraJavaOptions"] += f" {BRIEF if brief else COMPILERS}"
    builder = SparkSession.builder.appName(app)
    for key, value in {**settings, **(conf or {})}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def class_archive(jars: Path) -> Path:
    """Where the classes that a local session loads of these jars are archived, if they are; made
    by ``jars/classes.py``. With it a session starts in half the time: 6 s instead of 12, and a
    night of 5,000 calls takes 46 s instead of 57."""
    return jars / "classes.jsa"


def _archived(archive: Path) -> str:
    """What is said to the JVM of an archive of classes. One that it cannot use, made by another
    JDK or of other jars, is passed over without a word, for it would say it on standard output."""
    if not archive.is_file():
        return ""
    return f" -XX:SharedArchiveFile={archive} -Xshare:auto -Xlog:cds*=off -Xlog:class+path=off"


def submitted() -> bool:
    """Whether spark-submit started this process: the cluster's settings stand then, and what goes
    to standard error comes out on standard output (Spark's PythonRunner joins the two)."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def jars_folder(given: Path | None = None) -> Path:
    """The folder of jars; SetupError, in one sentence, if Java or the jars are missing."""
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        raise SetupError("Java is missing: install a JDK 17 (Debian: openjdk-17-jdk-headless).")
    checkout = Path(__file__).resolve().parents[2] / "jars" / "lib"
    named = os.environ.get("PROFILE_LAKE_JARS")
    folder = given or (Path(named) if named else checkout)
    if not any(folder.glob("delta-spark_*.jar")):
        raise SetupError(
            f"The Delta jars are not in {folder}: run `make jars`, "
            "or set PROFILE_LAKE_JARS to the folder that holds them."
        )
    return folder.resolve()


def s3a(storage: StorageSettings | None) -> dict[str, str]:
    """Spark's settings for an S3-compatible store; none on AWS, where its own chain is used."""
    if storage is None or not storage.endpoint:
        return {}
    prefix = "spark.hadoop.fs.s3a"
    settings = {
        f"{prefix}.endpoint": storage.endpoint,
        f"{prefix}.endpoint.region": storage.region or "us-east-1",
        f"{prefix}.path.style.access": "true",
        f"{prefix}.connection.ssl.enabled": str(storage.endpoint.startswith("https")).lower(),
    }
    if storage.access_key and storage.secret_key:
        provider = "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider"
        settings |= {
            f"{prefix}.aws.credentials.provider": provider,
            f"{prefix}.access.key": storage.access_key,
            f"{prefix}.secret.key": storage.secret_key,
        }
    return settings
