"""Reading a publication: every table at the version that belongs to it, with or without Spark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import deltalake
import pyarrow as pa

from lake.errors import NotFound
from lake.identity.ids import identifier_key
from lake.io import publications
from lake.io.control import Control
from lake.io.delta import Tables
from lake.io.objects import StorageSettings, canonical_uri, objects_for
from lake.tables import EVENTS, PROFILE_IDENTIFIERS, PROFILES, SET_PROFILES, table

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Publication:
    """One consistent snapshot of a lake."""

    number: int
    published_at: datetime
    versions: Mapping[str, int]
    _tables: Tables

    def delta(self, name: str) -> deltalake.DeltaTable:
        """The table as deltalake has it, at this publication's version.

        Raises NotFound if the publication has no such table.
        """
        opened = self._tables.open(table(name), self._version(name))
        assert opened is not None
        return opened

    def arrow(self, name: str) -> pa.Table:
        """All rows of the table, in memory."""
        return self._tables.query("select * from t", t=(table(name), self._version(name)))

    def query(self, sql: str) -> pa.Table:
        """The answer to SQL (DataFusion's) over this publication's tables, by their names."""
        return self._tables.query(sql, **{n: (table(n), v) for n, v in self.versions.items()})

    def table(self, name: str) -> DataFrame:
        """The table as a Spark frame; `event_profiles` is the view of events with their profile.

        Uses the active session, or starts a local one.
        """
        from lake.io.session import spark_session

        if name == "event_profiles":
            return event_profiles(self.table(EVENTS.name), self.table(SET_PROFILES.name))
        spark = spark_session("profile-lake", storage=self._tables.storage)
        reader = spark.read.format("delta").option("versionAsOf", str(self._version(name)))
        return reader.load(self._tables.path(table(name)))

    def lookup(self, kind: str, value: str) -> dict[str, Any]:
        """The profile of an identifier, whole; reads only the files that can hold it.

        ``value`` must be normalised. Raises NotFound if no profile has the identifier. Found by
        the 64-bit key, whose minimum and maximum each file states, and then by type and value.
        """
        key = identifier_key(kind, value)
        found = self._tables.query(
            f"select profile_id, type, value from t where identifier_key = {key}",  # noqa: S608
            t=(PROFILE_IDENTIFIERS, self._version(PROFILE_IDENTIFIERS.name)),
        ).to_pylist()
        owners = [r["profile_id"] for r in found if (r["type"], r["value"]) == (kind, value)]
        if not owners:
            raise NotFound(
                f"No profile has this {kind} in publication {self.number}. It may be blocked, "
                "spelt otherwise, or not have landed yet."
            )
        profile = self._tables.query(
            f"select * from t where profile_id = '{owners[0]}'",  # noqa: S608
            t=(PROFILES, self._version(PROFILES.name)),
        )
        row = {name: _first(profile[name]) for name in profile.column_names}
        row["identifiers"] = dict(row["identifiers"])
        row["traits"] = dict(row["traits"])
        return {"publication": self.number, **row}

    def _version(self, name: str) -> int:
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
    root: str, publication: int | None = None, storage: StorageSettings | None = None
) -> Publication:
    """A publication of the lake at ``root``, by default the current one.

    Raises NotFound if nothing was published yet or there is no such publication.
    """
    root = canonical_uri(root)  # Spark would take a relative folder from where it was started
    tables = Tables(root, storage)
    if publication is None:
        shown = Control(root, objects_for(root, storage)).current()
    else:
        shown = publications.publication(tables, publication)
    if shown is None:
        what = "nothing was published yet" if publication is None else "no such publication"
        raise NotFound(f"{root}: {what}. `profile-lake runs` lists the runs.")
    return Publication(
        number=shown["publication"],
        published_at=datetime.fromisoformat(shown["published_at"]),
        versions={name: t["version"] for name, t in shown["tables"].items()},
        _tables=tables,
    )


def event_profiles(events: DataFrame, set_profiles: DataFrame) -> DataFrame:
    """Every event with its profile now: ``message_id``, ``profile_id`` (null where unresolved).

    A view: no row per event is ever rewritten when people merge.
    """
    return events.join(set_profiles, "identity_set", "left").select(
        "message_id", "type", "event", "received_at", "timestamp", "source", "profile_id"
    )
