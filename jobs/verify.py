"""The live tables beside a full rebuild from `events`: row by row, ids included; writes nothing.

    events ─► facts ─► state ─► published rows
      each layer is compared with the live one; the first that differs is where the fault lies

It takes the lease, so that no night changes what is being looked at, and leaves only scratch,
which it drops.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import profiles_sync
from jobs.publish import Basis, Terms, published_rows
from lake.config import Config
from lake.errors import NotFound
from lake.frames import as_frame
from lake.identity import touched
from lake.io import publications
from lake.io.delta import Lake, conformed
from lake.io.lease import Lease
from lake.io.session import spark_session
from lake.profiles.accounts import accounts
from lake.profiles.traits import added_up
from lake.progress import Progress
from lake.quality.comparison import differences
from lake.run.facts import facts_told
from lake.run.night import check_finished
from lake.run.place import Place
from lake.run.planning import changed_rules
from lake.run.resolution import Resolver
from lake.run.scope import Told, everything
from lake.tables import (
    ACCOUNT_ACTIVITY,
    ACCOUNT_MEMBERS,
    ACCOUNT_OBSERVATIONS,
    ACCOUNTS,
    CREATED_PROFILES,
    EVENTS,
    IDENTIFY_CALLS,
    IDENTITIES,
    IDENTITY_SETS,
    PROFILE_TRAITS,
    PROFILES,
    SET_PROFILES,
    SIGHTINGS,
    TRAIT_OBSERVATIONS,
    VIOLATIONS,
)

if TYPE_CHECKING:
    from lake.frames import Rows, Storable
    from lake.schema import Column, Table

READS = (
    EVENTS,
    IDENTITY_SETS,
    SIGHTINGS,
    IDENTITIES,
    VIOLATIONS,
    CREATED_PROFILES,
    SET_PROFILES,
)
WRITES = ()

#: So many differences of a table are shown; all are counted.
SHOWN = 5
#: What a difference in a layer means, where all layers before it are right.
CAUSES = {
    "facts": "the facts are not what the events say",
    "state": "the profiles are not what the rules make of the facts",
    "published": "the published rows are not what the facts say of the profiles",
}
_SCALE = 1_000_000


def verify(
    config: Config, *, sample: float | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Rebuild from `events` and compare: see `told`.

    ``sample``: the share of raw components to look at, whole ones, chosen by a hash of their key;
    default all. Raises NotFound before the first night and where rules changed since the last,
    LakeError where that did not finish, LeaseHeld while another run writes.
    """
    place, said = Place(config), progress or Progress()
    with Lease(place.objects, config.root, run="verify") as lease:
        if place.tables.open(PROFILES) is None:
            raise NotFound("There is nothing to verify yet: no night was run.")
        check_finished(place.control, "verify")
        if changed := changed_rules(place.tables, config):
            raise NotFound(
                f"Since the last night this has changed: {'; '.join(changed)}. So its rows cannot "
                "be compared. Run a night, then verify."
            )
        spark = spark_session("profile-lake verify", storage=place.access, conf=config.spark.conf)
        lake = Lake(spark, place.tables, "verify", lambda _: lease.check(), lambda *_: None)
        try:
            newest = publications.publication(place.tables, publications.latest(place.tables))
            when = (
                newest["published_at"] if newest else datetime.max.replace(tzinfo=UTC).isoformat()
            )
            rebuild = Rebuild(config, lake, datetime.fromisoformat(when), sample)
            layers = rebuild.layers()
            return told(_compared(lake, layers, said), sample)
        finally:
            lake.drop_scratch()


@dataclass(frozen=True)
class Rebuild:
    """What the tables should hold, made from `events`, and the part of them that is looked at.

    ``published_at``: the time of the newest publication, by which values grow old.
    """

    config: Config
    lake: Lake
    published_at: datetime
    sample: float | None

    def layers(self) -> Iterator[tuple[str, Table, DataFrame, DataFrame]]:
        """(layer, table, the rows it has, the rows it should have), in order of dependence."""
        lake, config = self.lake, self.config
        own = self._sampled_sets()

        def of_own(rows: DataFrame) -> DataFrame:
            return rows if own is None else rows.join(own, "identity_set", "left_semi")

        events = lake.stored(EVENTS) if own is None else of_own(lake.read(EVENTS))
        clock, known = config.identity.order_by, facts_told(config, lake.tables)
        facts = {
            name: lake.scratch(name, conformed(table, transform(events, clock))).frame
            for name, (table, transform) in known.items()
        }
        for name, (table, _) in known.items():
            live, made = of_own(lake.read(table)), facts[name]
            if table is TRAIT_OBSERVATIONS:  # which upkeep adds up
                live, made = (added_up(rows, clock).as_frame() for rows in (live, made))
            yield "facts", table, live, made

        resolver = Resolver.of(config, lake)
        rebuilt = Told(facts[IDENTITY_SETS.name], facts[SIGHTINGS.name])
        every = None if own is None else lake.read(IDENTITY_SETS)
        found = resolver.resolved(everything(rebuilt, resolver, every).facts)
        identities = lake.scratch("identities", found.identities).frame
        set_profiles = lake.scratch("set_profiles", found.set_profiles).frame
        created = lake.scratch("created_profiles", found.created_profiles).frame
        live, live_created = lake.read(IDENTITIES), lake.read(CREATED_PROFILES)
        if own is not None:
            # A guarded value's totals count sets that were not sampled.
            live = live.join(
                touched.carried_by(rebuilt.identity_sets), ["type", "value"], "left_semi"
            )
            live, identities = (f.where("guard is null") for f in (live, identities))
            looked_at = identities.select("component").distinct()
            live_created = live_created.join(looked_at, "component", "left_semi")
        yield "state", IDENTITIES, live, identities
        yield "state", VIOLATIONS, of_own(lake.read(VIOLATIONS)), as_frame(found.violations)
        yield "state", CREATED_PROFILES, live_created, created
        yield "state", SET_PROFILES, of_own(lake.read(SET_PROFILES)), set_profiles

        published = self._published(facts, identities, set_profiles, created)
        ids = created.select(F.explode(F.array("segment_id", "profile_id")).alias("id")).distinct()
        for table, rows in published.tables.values():
            live, wanted = lake.read(table), rows
            if own is not None and table.name == ACCOUNTS.name:
                closed = self._closed_accounts(own)
                live, wanted = (f.join(closed, "group_id", "left_semi") for f in (live, rows))
            elif own is not None:
                key = profiles_sync.key_of(table)
                live = live.join(ids.withColumnRenamed("id", key), key, "left_semi")
            yield "published", table, live, wanted

    def _published(
        self,
        facts: Mapping[str, DataFrame],
        identities: DataFrame,
        set_profiles: DataFrame,
        created: DataFrame,
    ) -> Made:
        """What the tables of profiles, of accounts and of Profiles Sync should hold."""
        lake, config, clock = self.lake, self.config, self.config.identity.order_by
        made = Made(lake)
        ranges = lake.ranges(lake.tables.rows(IDENTITY_SETS))
        terms = Terms(config, self.published_at, lake.scratch, ranges)
        traits = facts[TRAIT_OBSERVATIONS.name]
        own = Basis(facts, traits, facts[SIGHTINGS.name], set_profiles, identities)
        published_rows(own, terms, made.put)
        if ACCOUNT_OBSERVATIONS.name in facts:
            told, done = facts[ACCOUNT_OBSERVATIONS.name], facts[ACCOUNT_ACTIVITY.name]
            made.put(ACCOUNTS, accounts(told, done, made.rows(ACCOUNT_MEMBERS), clock))
        if config.profiles_sync.enabled:
            basis = profiles_sync.Basis(
                identities,
                set_profiles,
                created,
                made.rows(PROFILE_TRAITS),
                facts[IDENTIFY_CALLS.name],
            )
            names = profiles_sync.trait_columns(lake.tables)
            profiles_sync.sync_rows(basis, names, clock, made.put)
        return made

    def _closed_accounts(self, own: DataFrame) -> DataFrame:
        """The accounts of which sampled sets alone tell: (group_id). What is published of others
        depends on calls that are not looked at."""
        facts = (self.lake.read(t) for t in (ACCOUNT_OBSERVATIONS, ACCOUNT_ACTIVITY))
        told = reduce(
            DataFrame.unionByName, [f.select("identity_set", "group_id") for f in facts]
        ).distinct()
        others = told.join(own, "identity_set", "left_anti")
        return told.select("group_id").distinct().join(others, "group_id", "left_anti")

    def _sampled_sets(self) -> DataFrame | None:
        """The sets of the sampled components; None for all."""
        if self.sample is None:
            return None
        place = F.pmod(F.xxhash64("component"), F.lit(_SCALE))
        chosen = self.lake.read(IDENTITIES).where(place < int(self.sample * _SCALE))
        linking = chosen.where("component is not null").select("type", "value")
        sets = touched.sets_with(self.lake.read(IDENTITY_SETS), linking)
        return self.lake.scratch("sampled", sets).frame


@dataclass(frozen=True)
class Made:
    """What the published tables should hold, by name, stored as it is handed over."""

    lake: Lake
    tables: dict[str, tuple[Table, DataFrame]] = field(default_factory=dict)

    def put(self, table: Table, rows: Storable, more: tuple[Column, ...] = ()) -> Rows:
        """Take a table's rows (see `Put`)."""
        whole = table.extended(more)
        stored = self.lake.scratch(table.name, conformed(whole, rows))
        self.tables[table.name] = whole, stored.frame
        return stored

    def rows(self, table: Table) -> DataFrame:
        """The rows of a table that was handed over."""
        return self.tables[table.name][1]


def _compared(
    lake: Lake, layers: Iterator[tuple[str, Table, DataFrame, DataFrame]], said: Progress
) -> Iterator[dict[str, Any]]:
    """A row a table: how many rows should be there, how many differ, and some of these."""
    for layer, table, found, wanted in layers:
        with said.stage(table.name):
            off = lake.scratch(f"off_{table.name}", differences(table, found, wanted))
            rows = wanted.count()
            shown = off.frame.limit(SHOWN).collect() if off.rows else []
        said.say(f"compared {table.name}", rows=rows, differences=off.rows)
        yield {
            "layer": layer,
            "table": table.name,
            "rows": rows,
            "differences": off.rows,
            "shown": [_plain(table, row.asDict()) for row in shown],
        }


def _plain(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """A difference as plain values; of personal ones the first character and the length."""
    personal = {c.name for c in table.columns if c.personal}

    def shown(name: str, value: Any) -> Any:
        if name in personal and isinstance(value, str):
            return f"{value[:1] if len(value) > 3 else ''}… ({len(value)})"
        return value.hex() if isinstance(value, bytes | bytearray) else value

    return {name: shown(name, value) for name, value in row.items()}


def told(compared: Iterator[dict[str, Any]], sample: float | None) -> dict[str, Any]:
    """``{"same", "sample", "cause", "tables": [{"layer", "table", "rows", "differences",
    "shown"}]}``; the cause is that of the first layer that differs."""
    tables = list(compared)
    off = [t for t in tables if t["differences"]]
    return {
        "same": not off,
        "sample": sample,
        "cause": CAUSES[off[0]["layer"]] if off else None,
        "tables": tables,
    }
