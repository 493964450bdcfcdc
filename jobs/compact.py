"""Landing objects → events, rejected_calls, duplicate_calls, ingest_ledger.

Each landing object is read once, into a scratch table; everything else comes from there. So an
object that is rewritten meanwhile, or a crash at any commit, changes nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lake.events import dedupe
from lake.events.ledger import counted_lines, ledger
from lake.io.landing import Reading
from lake.io.manifest import planned_objects
from lake.io.staging import accepted_calls, staged_files
from lake.parallel import together
from lake.run.night import Night
from lake.run.place import LandingStore
from lake.tables import DUPLICATE_CALLS, EVENTS, INGEST_LEDGER, REJECTED_CALLS, STAGED_LINES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from lake.frames import Materialised
    from lake.io.objects import Objects
    from lake.io.scratch import Stored

READS = (EVENTS, INGEST_LEDGER)
WRITES = (EVENTS, REJECTED_CALLS, DUPLICATE_CALLS, INGEST_LEDGER)


def run(night: Night) -> None:
    """Read the plan's objects; nothing where there are none or the ledger holds them."""
    once = night.transaction("compact")
    if night.plan.batch is None or night.tables.holds(INGEST_LEDGER, once):
        return
    lake, batch = night.lake, night.plan.batch
    staged, since = staged_lines(night), batch - 1

    known = None
    if (version := night.plan.versions.get(EVENTS.name)) is not None:
        known = lake.read(EVENTS, version)
    repeated = lake.scratch("repeated", dedupe.repeated(staged, known))
    lake.append(DUPLICATE_CALLS, dedupe.duplicates(staged, known, repeated, batch), once)
    duplicates = lake.stored(DUPLICATE_CALLS, since)

    lines = lake.scratch("lost", dedupe.places(duplicates))
    calls = accepted_calls(staged, lines, night.place.objects)
    displaced = None
    if night.tables.any(DUPLICATE_CALLS, f"displaced and batch = {batch}"):
        displaced = duplicates.frame.where("displaced")

    def write_events() -> None:
        if displaced is None:
            lake.append(EVENTS, calls, once)
        else:
            lake.update(EVENTS, displaced.select("message_id"), calls, once)

    refused = staged.of_kind("rejected", REJECTED_CALLS.ddl)
    together(write_events, partial(lake.append, REJECTED_CALLS, refused, once))

    accepted, rejected = (lake.stored(table, since) for table in (EVENTS, REJECTED_CALLS))
    told = counted_lines(staged, accepted, rejected, duplicates)
    rows = ledger(told.toArrow(), batch)
    if displaced is None:
        lake.append_rows(INGEST_LEDGER, rows, once)
    else:
        before = lake.read(INGEST_LEDGER)
        new = lake.spark.createDataFrame(rows)
        lake.replace(INGEST_LEDGER, corrected(before, displaced).unionByName(new), once)


def staged_lines(night: Night) -> Materialised:
    """Every line of the plan's objects, typed or refused, and a row an object.

    Read once a run: what was read is written down with the names of its files, so that a run
    that is taken up again goes on with the same lines, whatever became of the landing zone.
    """
    plan, lake = night.plan, night.lake
    assert plan.batch is not None
    reading = Reading(
        store=LandingStore(night.place.access),
        batch=plan.batch,
        extraction=night.extraction,
        line_limit=night.config.line_limit,
    )

    def write(store: Objects, folder: str) -> Stored:
        landed = planned_objects(lake.spark, night.place.control.manifest(plan.run))
        return staged_files(landed, reading, store, folder)

    return lake.scratch_files("staged", STAGED_LINES.ddl, write)


def corrected(ledger: DataFrame, displaced: DataFrame) -> DataFrame:
    """The ledger after some of its accepted lines turned out to be duplicates."""
    moved = displaced.groupBy("object", "etag").agg(F.count(F.lit(1)).alias("moved"))
    n = F.coalesce("moved", F.lit(0))
    return (
        ledger.join(F.broadcast(moved), ["object", "etag"], "left")
        .withColumns({"accepted": F.col("accepted") - n, "duplicate": F.col("duplicate") + n})
        .select(*INGEST_LEDGER.names)
    )


if __name__ == "__main__":
    from jobs import main

    main("compact")
