"""Upkeep: small files together, partial sums added up, files that nobody can ask for removed.

What readers see stays as it is, byte for byte of meaning: a version that a kept publication pins
is never touched, and no run is disturbed, for upkeep holds the lease and refuses to start while a
run is unfinished.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from lake.config import Config
from lake.io import publications
from lake.io.delta import Lake, Tables, Transaction
from lake.io.lease import Lease
from lake.io.session import spark_session
from lake.profiles.traits import added_up
from lake.progress import Progress
from lake.run.night import check_finished
from lake.run.place import Place
from lake.tables import TABLES, TRAIT_OBSERVATIONS

KEEP = 30
"""Publications that stay readable, besides all that are younger than the tables' retention."""


def optimize(
    config: Config, *, keep: int = KEEP, progress: Progress | None = None
) -> dict[str, Any]:
    """Add up, compact, vacuum: ``{"added_up", "tables": [{"table", "merged", "removed"}]}``.

    ``added_up``: rows of partial sums saved; ``merged``: small files that were written together;
    ``removed``: files that were deleted. The newest ``keep`` publications stay readable. Raises
    LeaseHeld while another run writes.
    """
    place, said = Place(config), progress or Progress()
    with Lease(place.objects, config.root, run="optimize") as lease:
        check_finished(place.control, "optimize")
        spark = spark_session("profile-lake optimize", storage=place.access, conf=config.spark.conf)
        lake = Lake(spark, place.tables, "optimize", lambda _: lease.check(), lambda *_: None)
        place.tables.drop_scratch()
        summed = add_up(lake, config.identity.order_by)
        pinned = pinned_versions(place.tables, keep)
        told = []
        for table in TABLES:
            if place.tables.open(table) is None:
                continue
            with said.stage(table.name):
                merged = lake.compact(table)
                kept = pinned.get(table.name, set())
                removed = place.tables.tidied(table, kept, datetime.now(UTC))
            said.say(f"merged {merged}, removed {removed} files of {table.name}")
            told.append({"table": table.name, "merged": merged, "removed": removed})
        lake.drop_scratch()
        return {"added_up": summed, "tables": told}


def pinned_versions(tables: Tables, keep: int) -> dict[str, set[int]]:
    """The versions that the newest publications show, by table."""
    newest = publications.latest(tables)
    pinned: dict[str, set[int]] = {}
    for number in range(max(1, newest - keep + 1), newest + 1):
        for name, version in publications.versions(tables, number).items():
            pinned.setdefault(name, set()).add(version)
    return pinned


def add_up(lake: Lake, clock: str) -> int:
    """Add up the partial sums of trait observations over their batches; rows saved.

    The same value told every night is a row a night. Sightings have a row a day and gain nothing.
    """
    tables, table = lake.tables, TRAIT_OBSERVATIONS
    before, version = tables.rows(table), tables.version(table)
    if version is None:
        return 0
    summed = lake.scratch("added_up", added_up(lake.read(table), clock))
    if summed.rows < before:
        lake.notes = tables.notes(table)
        lake.replace(table, summed.frame, Transaction("optimize", version))
    return before - summed.rows
