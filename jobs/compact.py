"""Landing objects → events, rejected_calls, duplicate_calls, ingest_ledger.

Each landing object is read once, into a scratch table; everything else comes from there. So an
object that is rewritten meanwhile, or a crash at any commit, changes nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lake.errors import ConservationError
from lake.events import dedupe
from lake.io.landing import Reading
from lake.io.manifest import planned_objects
from lake.io.staging import accepted_calls, staged_files
from lake.parallel import together
from lake.run.night import Night
from lake.run.place import LandingStore
from lake.tables import DUPLICATE_CALLS, EVENTS, INGEST_LEDGER, REJECTED_CALLS, STAGED_LINES

if TYPE_CHECKING:
    import pyarrow as pa
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
    staged = staged_lines(night)
    rejected = staged.frame.where("kind = 'rejected'").select(*REJECTED_CALLS.names)

    known = None
    if (version := night.plan.versions.get(EVENTS.name)) is not None:
        known = lake.read(EVENTS, version)
    repeated = lake.scratch("repeated", dedupe.repeated(staged, known))
    lost = dedupe.duplicates(staged, known, repeated)
    lake.append(DUPLICATE_CALLS, lost.withColumn("batch", F.lit(batch).cast("bigint")), once)
    duplicates = lake.read(DUPLICATE_CALLS).where(F.col("batch") == batch)

    lines = lake.scratch("lost", duplicates.where("not displaced").select(*dedupe.PLACE))
    accepted = accepted_calls(staged, lines, night.place.objects)
    displaced = None
    if night.tables.any(DUPLICATE_CALLS, f"displaced and batch = {batch}"):
        displaced = duplicates.where("displaced")

    def write_events() -> None:
        if displaced is None:
            lake.append(EVENTS, accepted, once)
        else:
            lake.update(EVENTS, displaced.select("message_id"), accepted, once)

    together(write_events, partial(lake.append, REJECTED_CALLS, rejected, once))

    ledger = ledger_of(night, staged.frame.where("kind = 'object'"))
    if displaced is None:
        lake.append_rows(INGEST_LEDGER, ledger, once)
    else:
        before = lake.read(INGEST_LEDGER)
        new = lake.spark.createDataFrame(ledger)
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


def ledger_of(night: Night, objects: DataFrame) -> pa.Table:
    """The ledger's rows of this batch, counted in the committed tables; a row an object.

    As many rows as the manifest has, which the driver holds too.

    Raises ConservationError if an object's lines are not all in exactly one of the three.
    """
    lake, batch = night.lake, F.lit(night.plan.batch).cast("bigint")

    def counted(table_rows: DataFrame, name: str) -> DataFrame:
        own = table_rows.where(F.col("batch") == batch)
        return own.groupBy("object", "etag").agg(F.count(F.lit(1)).alias(name))

    new_duplicates = lake.read(DUPLICATE_CALLS).where("not displaced")
    ledger = (
        objects.select("source", "object", "etag", "size", "last_modified", "state", "lines")
        .join(counted(lake.read(EVENTS), "accepted"), ["object", "etag"], "left")
        .join(counted(lake.read(REJECTED_CALLS), "rejected"), ["object", "etag"], "left")
        .join(counted(new_duplicates, "duplicate"), ["object", "etag"], "left")
        .na.fill(0, ["accepted", "rejected", "duplicate"])
        .withColumn("batch", batch)
    )
    rows = ledger.select(*INGEST_LEDGER.names).toArrow().cast(INGEST_LEDGER.arrow)
    kept = [rows[name].to_numpy() for name in ("accepted", "rejected", "duplicate")]
    lost = int((sum(kept) != rows["lines"].to_numpy()).sum())
    if lost:
        raise ConservationError(
            f"{lost} objects of run {night.plan.name} have lines that are in none or in two of "
            "events, rejected_calls and duplicate_calls. Nothing was published; this is a fault "
            "of the product, please report it with _scratch."
        )
    return rows


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
