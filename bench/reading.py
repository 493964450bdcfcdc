"""Reading landing objects: ours against Spark's own JSON reader, on the same files.

    python bench/reading.py [calls] [cores]

All read 24 gz objects and write Parquet, in one session on the same cores, each three times to
warm up and then three times alternately: `staged_files` from the Python workers and `staged_lines`
as a frame that Spark writes, packed at zstd's level 1; Spark's reader packed likewise, and with
snappy, which is Spark's default. Printed are CPU seconds of all processes (driver, JVM, Python
workers) and wall seconds; a turn begins when the JVM has nothing more to compile of the one before.
Spark's reader gets the same fields, all as strings, nested objects as text; ours besides types the
times, extracts identifiers, hashes every line and says why it refuses one. Objects are spread over
tasks as compact does it.

Behind them stand the other steps by which compact makes its four tables of what was read, marked
with a plus.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = str(ROOT)

from pyspark.sql import SparkSession  # noqa: E402

from bench.support import Watch  # noqa: E402
from lake.events import dedupe  # noqa: E402
from lake.events.calls import Call  # noqa: E402
from lake.events.ledger import counted_lines, ledger  # noqa: E402
from lake.frames import Materialised  # noqa: E402
from lake.io.control import Landed  # noqa: E402
from lake.io.delta import Lake, Tables, Transaction  # noqa: E402
from lake.io.landing import Reading, staged_lines  # noqa: E402
from lake.io.manifest import planned_objects  # noqa: E402
from lake.io.objects import LocalObjects  # noqa: E402
from lake.io.scratch import Stored, read_back  # noqa: E402
from lake.io.staging import accepted_calls, staged_files  # noqa: E402
from lake.tables import (  # noqa: E402
    DUPLICATE_CALLS,
    EVENTS,
    INGEST_LEDGER,
    REJECTED_CALLS,
    STAGED_LINES,
)

OBJECTS = 24
FIELDS = Call.__struct_encode_fields__
SENT = ("receivedAt", "sentAt", "timestamp", "originalTimestamp")
AGENT = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36"
)


def calls(count: int, people: int, seed: int) -> Iterator[bytes]:
    """Calls of a shop's site and app, about 950 bytes each, as JSON lines; a person has two
    devices and signs in for six calls of ten."""
    draw = random.Random(seed)
    for _ in range(count):
        person = draw.randrange(people)
        device = str(uuid.UUID(int=random.Random(2 * person + draw.randrange(2)).getrandbits(128)))
        at = datetime.fromtimestamp(1_772_000_000 + draw.randrange(86_400_000) / 1000, UTC)
        stamp = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
        context = {
            "ip": f"10.{draw.randrange(256)}.{draw.randrange(256)}.{draw.randrange(256)}",
            "locale": "en-GB",
            "library": {"name": "analytics.js", "version": "next-1.70.0"},
            "userAgent": AGENT,
            "timezone": "Europe/London",
            "campaign": {"name": "spring", "source": "newsletter", "medium": "email"},
            "page": {
                "path": f"/p/{draw.randrange(5000)}",
                "url": f"https://shop.example/p/{draw.randrange(5000)}",
                "title": "Product page",
                "referrer": "https://www.google.com/",
            },
        }
        if draw.random() < 0.2:
            context["device"] = {"id": device.upper(), "type": "ios", "model": "iPhone15,2"}
        call = {
            "anonymousId": device,
            "userId": f"user_{person}" if draw.random() < 0.6 else None,
            "messageId": f"ajs-{draw.getrandbits(128):032x}",
            "channel": "browser",
            "version": "2",
            "projectId": "kzQx81",
            **dict.fromkeys(("originalTimestamp", "sentAt", "timestamp", "receivedAt"), stamp),
            "integrations": {"All": True},
            "context": context,
            **said(draw, person, stamp),
        }
        yield json.dumps(call, separators=(",", ":")).encode()


def said(draw: random.Random, person: int, stamp: str) -> dict[str, object]:
    """What is particular to the type of call: one in ten identifies, three in ten are pages."""
    kind = draw.random()
    if kind < 0.1:
        traits = {"email": f"person{person}@example.com", "firstName": "Ann", "createdAt": stamp}
        return {"type": "identify", "traits": traits}
    if kind < 0.4:
        properties = {"path": "/p/1", "url": "https://shop.example/p/1", "title": "Product page"}
        return {"type": "page", "name": "Product", "category": "Shop", "properties": properties}
    product = {
        "product_id": f"sku-{draw.randrange(5000)}",
        "price": draw.randrange(10_000) / 100,
        "currency": "GBP",
        "quantity": 1,
        "category": "Shoes",
        "brand": "Acme",
    }
    return {"type": "track", "event": "Product Viewed", "properties": product}


def landed(folder: Path, count: int) -> int:
    """Writes the objects; the bytes of all lines."""
    size = 0
    for i in range(OBJECTS):
        lines = list(calls(count // OBJECTS, people=count // 20, seed=i))
        size += sum(map(len, lines))
        with gzip.open(folder / f"{i:02d}.gz", "wb", compresslevel=6) as file:
            file.write(b"\n".join(lines) + b"\n")
    return size


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds of some work. Looks before and after only, as looking costs CPU too;
    Spark keeps its Python workers, so none ends in between."""
    settle()
    began = time.perf_counter()
    with Watch(interval=3600) as watch:
        work()
    return watch.cpu, time.perf_counter() - began


def settle() -> None:
    """Waits, half a minute at most, until nothing of the work before goes on: the JVM compiles
    what ran often long after it has run."""
    with Watch(interval=3600) as watch:
        before = watch.cpu_now()
        for _ in range(60):
            time.sleep(0.5)
            now = watch.cpu_now()
            if now - before < 0.02:
                return
            before = now


def compaction(lake: Lake, staged: Materialised) -> dict[str, Callable[[], None]]:
    """What compact does with the lines read, as steps to be taken in this order, once."""
    once = Transaction("bench", 1)

    def duplicates() -> None:
        repeated = lake.scratch("repeated", dedupe.repeated(staged, None))
        lake.append(DUPLICATE_CALLS, dedupe.duplicates(staged, None, repeated, 1), once)

    def events() -> None:
        lost = lake.scratch("lost", dedupe.places(lake.stored(DUPLICATE_CALLS)))
        lake.append(EVENTS, accepted_calls(staged, lost, LocalObjects()), once)

    def rejected() -> None:
        lake.append(REJECTED_CALLS, staged.of_kind("rejected", REJECTED_CALLS.ddl), once)

    def counted() -> None:
        held = (lake.stored(table) for table in (EVENTS, REJECTED_CALLS, DUPLICATE_CALLS))
        told = counted_lines(staged, *held).toArrow()
        lake.append_rows(INGEST_LEDGER, ledger(told, 1), once)

    return {
        "+duplicate_calls": duplicates,
        "+events": events,
        "+rejected_calls": rejected,
        "+ingest_ledger": counted,
    }


def session(cores: int) -> SparkSession:
    """Spark on so many cores."""
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    return (
        SparkSession.builder.master(f"local[{cores}]")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.log.level", "ERROR")
        .config("spark.driver.memory", "3g")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.parquet.compression.codec", "zstd")
        .config("spark.hadoop.parquet.compression.codec.zstd.level", 1)  # as the workers write
        .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        .getOrCreate()
    )


def main(count: int = 300_000, cores: int = 1) -> None:
    spark = session(cores)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "landing"
        folder.mkdir()
        size = landed(folder, count)
        print(f"{count} calls of {size / count:.0f} bytes in {OBJECTS} objects, local[{cores}]")
        landing = [Landed("bench", v) for v in LocalObjects().versions(str(folder))]
        manifest = planned_objects(spark, landing)

        def ours() -> None:
            staged = staged_lines(manifest, Reading(LocalObjects(), batch=1)).as_frame()
            staged.write.mode("overwrite").parquet(f"{scratch}/ours")

        def files() -> Stored:
            shutil.rmtree(f"{scratch}/files", ignore_errors=True)
            reading = Reading(LocalObjects(), batch=1)
            return staged_files(manifest, reading, LocalObjects(), f"{scratch}/files")

        def sparks(codec: str, times: str = "string") -> None:
            kinds = {f: times if f in SENT else "string" for f in FIELDS}
            ddl = ", ".join(f"`{field}` {kind}" for field, kind in kinds.items())
            read = spark.read.schema(ddl).json(str(folder))
            write = read.write.mode("overwrite").option("compression", codec)
            write.parquet(f"{scratch}/sparks")

        def tell(turn: int, name: str, work: Callable[[], object]) -> None:
            cpu, wall = measured(work)
            print(
                f"{turn}  {name:<22} {cpu:6.2f} s CPU {wall:6.2f} s wall"
                f" {cpu / count * 1e6:6.1f} µs CPU a call",
                flush=True,
            )

        ways: dict[str, Callable[[], object]] = {
            "staged_files": files,
            "staged_lines": ours,
            "spark.read.json": partial(sparks, "zstd"),
            "spark.read.json/snappy": partial(sparks, "snappy"),
            "spark.read.json/times": partial(sparks, "zstd", "timestamp"),
        }
        for work in 3 * list(ways.values()):
            work()
        for turn, (name, work) in product((1, 2, 3), ways.items()):
            tell(turn, name, work)
        stored = files()
        lines = spark.read.schema(STAGED_LINES.ddl).parquet(*stored.files)
        staged = read_back(lines, stored, LocalObjects())
        for turn in (1, 2):
            tables = Tables(f"{scratch}/lake-{turn}")
            lake = Lake(spark, tables, "bench", lambda _: None, lambda *_: None)
            for name, work in compaction(lake, staged).items():
                tell(turn, name, work)
    spark.stop()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
