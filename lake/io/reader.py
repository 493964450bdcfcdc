"""Reading a publication: every table at the version that belongs to it, with or without Spark."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import deltalake
import msgspec
import pyarrow as pa

from lake.errors import NotFound
from lake.identity.ids import identifier_key
from lake.io import publications
from lake.io.control import Control
from lake.io.delta import Tables
from lake.io.objects import StorageSettings, canonical_uri, objects_for
from lake.tables import (
    CREATED_PROFILES,
    EVENTS,
    PROFILE_IDENTIFIERS,
    PROFILE_TRAITS,
    PROFILES,
    SET_PROFILES,
    table,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Publication:
    """One consistent snapshot of a lake."""

    number: int
    published_at: datetime
    versions: Mapping[str, int]
    tables: Tables

    def delta(self, name: str) -> deltalake.DeltaTable:
        """The table as deltalake has it, at this publication's version.

        Raises NotFound if the publication has no such table.
        """
        opened = self.tables.open(table(name), self._version(name))
        assert opened is not None
        return opened

    def arrow(self, name: str) -> pa.Table:
        """All rows of the table, in memory."""
        return self.tables.query("select * from t", t=(table(name), self._version(name)))

    def query(self, sql: str) -> pa.Table:
        """The answer to SQL (DataFusion's) over this publication's tables, by their names."""
        return self.tables.query(sql, **{n: (table(n), v) for n, v in self.versions.items()})

    def table(self, name: str) -> DataFrame:
        """The table as a Spark frame; `event_profiles` is the view of events with their profiles.

        Uses the active session, or starts a local one.
        """
        from lake.io.session import spark_session

        if name == "event_profiles":
            sets, created = self.table(SET_PROFILES.name), self.table(CREATED_PROFILES.name)
            return event_profiles(self.table(EVENTS.name), sets, created, self.clock)
        spark = spark_session("profile-lake", storage=self.tables.storage)
        reader = spark.read.format("delta").option("versionAsOf", str(self._version(name)))
        return reader.load(self.tables.path(table(name)))

    @property
    def clock(self) -> str:
        """The time that orders calls in this publication: received_at or timestamp."""
        return str(self._notes(SET_PROFILES.name)["order_by"])

    def _notes(self, name: str) -> dict[str, Any]:
        """What the run that wrote this version of a table noted of its rules."""
        for commit in self.delta(name).history():
            if text := commit.get("userMetadata"):
                return dict(json.loads(text))
        raise NotFound(f"Publication {self.number} does not say by which rules it was made.")

    def profiles_as_of(self, asked: DataFrame) -> DataFrame:
        """The rows with ``traits``: what was known of each profile at each time, for training.

        ``asked``: a Spark frame with profile_id and time (timestamp; when calls arrived), and any
        other columns. Exact, without a glance ahead: see `lake.profiles.point_in_time`.
        """
        from lake.profiles.point_in_time import profiles_as_of
        from lake.profiles.survivorship import TraitRule

        noted = self._notes(PROFILE_TRAITS.name).get("traits", [])
        rules = msgspec.convert(noted, tuple[TraitRule, ...])
        sets, created = self.table(SET_PROFILES.name), self.table(CREATED_PROFILES.name)
        return profiles_as_of(asked, self.table(EVENTS.name), sets, created, self.clock, rules)

    def lookup(self, kind: str, value: str) -> dict[str, Any]:
        """The profile of an identifier, whole; reads only the files that can hold it.

        ``value`` must be normalised. Raises NotFound if no profile has the identifier. Found by
        the 64-bit key, whose minimum and maximum each file states, and then by type and value.
        """
        key = identifier_key(kind, value)
        found = self.tables.query(
            f"select profile_id, type, value from t where identifier_key = {key}",  # noqa: S608
            t=(PROFILE_IDENTIFIERS, self._version(PROFILE_IDENTIFIERS.name)),
        ).to_pylist()
        owners = [r["profile_id"] for r in found if (r["type"], r["value"]) == (kind, value)]
        if not owners:
            raise NotFound(
                f"No profile has this {kind} in publication {self.number}. It may be blocked, "
                "spelt otherwise, or not have landed yet."
            )
        profile = self.tables.query(
            f"select * from t where profile_id = '{owners[0]}'",  # noqa: S608
            t=(PROFILES, self._version(PROFILES.name)),
        )
        row = {name: _first(profile[name]) for name in profile.column_names}
        row["identifiers"] = dict(row["identifiers"])
        row["traits"] = dict(row["traits"])
        return {"publication": self.number, **row}

    def _version(self, name: str) -> int:
        name = name.replace("/", "_")  # a table in a folder may be named by its path
        if name not in self.versions:
            raise NotFound(
                f"Publication {self.number} has no table {name}; it has {', '.join(self.versions)}."
            )
        return self.versions[name]


def _first(column: pa.ChunkedArray) -> Any:
    """The first value; of a time without pandas, which pyarrow would import for it."""
    if not pa.types.is_timestamp(column.type):
        return column[0].as_py()
    micros = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())[0].as_py()
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)


def opened(
    root: str,
    publication: int | None = None,
    storage: StorageSettings | None = None,
    *,
    as_of: datetime | None = None,
) -> Publication:
    """A publication of the lake at ``root``, by default the current one.

    ``as_of`` instead of a number: the newest that is dated no later; UTC where it has no zone.
    Raises NotFound if nothing was published yet, or by then, or there is no such publication.
    """
    root = canonical_uri(root)  # Spark would take a relative folder from where it was started
    tables = Tables(root, storage)
    if as_of is not None and publication is None:
        publication = publications.as_of(tables, as_of)
    if publication is None:
        shown = Control(root, objects_for(root, storage)).current()
    else:
        shown = publications.publication(tables, publication)
    if shown is None:
        what = "nothing was published yet" if publication is None else "no such publication"
        if as_of is not None:
            what = f"nothing was published by {as_of.isoformat()}"
        raise NotFound(f"{root}: {what}. `profile-lake runs` lists the runs.")
    return Publication(
        number=shown["publication"],
        published_at=datetime.fromisoformat(shown["published_at"]),
        versions=publications.shown_versions(shown),
        tables=tables,
    )


def event_profiles(
    events: DataFrame, set_profiles: DataFrame, created_profiles: DataFrame, clock: str
) -> DataFrame:
    """Every event with its profile now, ``profile_id``, and the one it had then, ``segment_id``.

    Both are null where a call's set belongs to nobody. A view: no row per event is ever rewritten
    when people merge. ``segment_id`` is the created profile that the call's identity set had at
    its first call, followed through every merge before this call; the call that merges carries the
    id before its merge, as in Segment's Profiles Sync: of several, the youngest. So the id is
    always one that became part of ``profile_id``. ``clock`` is the one that orders calls.

    Under ``segment`` and ``components`` this is the profile that the fold had the call on at that
    moment, also where windows and limits let a set lose identifiers on one day and keep them on
    another: what it loses is never what holds it to its profile (a law in the tests). Only at a
    cap can a set go to one profile on one day and to another on a later one; the profile of its
    latest day is then taken for all. ``latest_wins`` knows no merges: it is the profile of now.
    """
    from pyspark.sql import functions as F

    from lake.clock import order_of, order_of_moment

    gone = created_profiles.where("merged_into is not null").select("segment_id", "path")
    steps = F.filter(
        "path", lambda step: order_of_moment(step["moment"], clock) < order_of("", clock)
    )
    now = F.try_element_at(steps, F.lit(-1))["segment_id"]
    return (
        events.join(set_profiles, "identity_set", "left")
        .join(gone, "segment_id", "left")
        .select(
            "message_id",
            "type",
            "event",
            "received_at",
            "timestamp",
            "source",
            "profile_id",
            F.coalesce(now, "segment_id").alias("segment_id"),
        )
    )
