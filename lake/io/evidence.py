"""What the lake knows about an identifier and all it is connected to, fetched without Spark.

    identities ─► raw component ─► set_profiles, violations ─► its sets ─► their sightings

A set of a component belongs to one of its profiles (`set_profiles`) or has lost all it carried
(`violations`); so a component is found without looking for values in every set of the lake, and
no query's text holds a value. Cost: `identities` is found by key; else one scan each of the few
narrow columns that are joined on. Calls are read only where they are asked for, and by arrival
only of the days on which they came.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from lake.clock import RECEIVED_AT
from lake.errors import NotFound
from lake.identity.ids import identifier_key
from lake.identity.resolve import Identifier, Sighting
from lake.io.at_run import AtRun

#: Of the sets that carry a guarded identifier, the first so many are fetched.
SETS_OF_GUARDED = 100
_SETS_A_QUERY = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_IDENTITY = (
    "select type, value, component, guard, calls from identities where identifier_key = {key}"
)
_PUBLISHED = "select type, value, profile_id from profile_identifiers where identifier_key = {key}"
_OF_COMPONENT = """with named as (
        select type, value, profile_id from identities where component = {component}),
    carried as (
        select identity_set from set_profiles
        where profile_id in (select distinct profile_id from named where profile_id is not null)
        union
        select v.identity_set from violations v
        join named n on v.type = n.type and v.value = n.value)"""
_OF_GUARDED = """with guarding as (
        select v.identity_set, v.day from violations v
        join identities i on v.type = i.type and v.value = i.value
        where i.identifier_key = {key} and i.guard is not null),
    carried as (
        select identity_set, min(day) as day from guarding
        group by identity_set order by day, identity_set limit {most})"""
_NAMED = "select type, value from named"
_COUNTED = "select count(distinct identity_set) as sets, count(distinct day) as days from guarding"
_SETS = """select s.identity_set, s.identifiers, p.profile_id from identity_sets s
    join carried c on s.identity_set = c.identity_set
    left join set_profiles p on s.identity_set = p.identity_set"""
_DAYS = """select s.identity_set, s.day, s.calls, s."first" from sightings s
    join carried c on s.identity_set = c.identity_set"""
_REFUSALS = """select v.identity_set, v.day, v.type, v.value, v.reason, v.rule from violations v
    join carried c on v.identity_set = c.identity_set"""
_CALLS = """select message_id, identity_set, type as kind, event, received_at, "timestamp", source
    from events where identity_set in ({keys}) {within}"""

Day = tuple[bytes, date]


class FirstCall(NamedTuple):
    """The first call of a set on a day; ``calls``: how many there were that day."""

    identity_set: bytes
    day: date
    calls: int
    message_id: str
    received_at: datetime
    timestamp: datetime | None
    source: str


class Call(NamedTuple):
    """An accepted call; ``kind`` is identify, track, …, ``event`` a track call's name."""

    message_id: str
    identity_set: bytes
    kind: str
    event: str | None
    received_at: datetime
    timestamp: datetime | None
    source: str


class Refusal(NamedTuple):
    """A row of `violations`."""

    identity_set: bytes
    day: date
    identifier: Identifier
    reason: str
    rule: str


class Carriers(NamedTuple):
    """Identity sets: what each carries, its published profile, its days, what it lost.

    ``profiles`` has no entry for a set that belongs to nobody.
    """

    identifiers: dict[bytes, tuple[Identifier, ...]]
    profiles: dict[bytes, str]
    days: dict[Day, FirstCall]
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True)
class Asked:
    """An identifier as the lake has it.

    ``component``: its raw component; None where ``guard`` keeps it from linking. ``profile_id``:
    as published. ``sets``, ``days``: how many carry it, counted only where it is guarded;
    ``carriers``: the first of these.
    """

    identifier: Identifier
    component: int | None
    guard: str | None
    profile_id: str | None
    calls: int
    sets: int = 0
    days: int = 0
    carriers: Carriers | None = None


@dataclass(frozen=True)
class Component:
    """A raw component: its identifiers and all sets that carry one of them."""

    identifiers: frozenset[Identifier]
    carriers: Carriers

    def sightings(self, clock: str) -> tuple[Sighting, ...]:
        """What resolution reads, the same as a night's: only identifiers that may link."""
        return tuple(
            Sighting(
                first.identity_set,
                order[0],
                order,
                tuple(
                    i
                    for i in self.carriers.identifiers[first.identity_set]
                    if i in self.identifiers
                ),
            )
            for first in self.carriers.days.values()
            if first.identity_set in self.carriers.identifiers
            for order in [order_of(first, clock)]
        )


def asked(tables: AtRun, identifier: Identifier, clock: str) -> Asked:
    """What is known of an identifier (normalised). Raises NotFound if no call carries it."""
    key = identifier_key(*identifier)
    own = _one(tables.rows(_IDENTITY.format(key=key)), identifier)
    if own is None:
        raise NotFound(
            f"No call carries this {identifier[0]} as of run {tables.run}. It may be spelt "
            "otherwise, or not have landed yet."
        )
    if own["guard"] is not None:
        return _guarded(tables, identifier, own, clock)
    published = _one(tables.rows(_PUBLISHED.format(key=key)), identifier)
    profile = published["profile_id"] if published else None
    return Asked(identifier, own["component"], None, profile, own["calls"])


def _guarded(tables: AtRun, identifier: Identifier, own: Mapping[str, Any], clock: str) -> Asked:
    within = _OF_GUARDED.format(key=identifier_key(*identifier), most=SETS_OF_GUARDED)
    (counted,) = tables.rows(f"{within} {_COUNTED}")
    carriers = _carriers(tables, within, clock)
    return Asked(identifier, None, own["guard"], None, own["calls"], **counted, carriers=carriers)


def component(tables: AtRun, number: int, clock: str) -> Component:
    """A raw component, whole; calls ordered by ``clock``."""
    within = _OF_COMPONENT.format(component=int(number))
    named = tables.rows(f"{within} {_NAMED}")
    return Component(
        frozenset((row["type"], row["value"]) for row in named), _carriers(tables, within, clock)
    )


def _carriers(tables: AtRun, within: str, clock: str) -> Carriers:
    """The sets that the query's ``carried`` names."""
    sets = tables.rows(f"{within} {_SETS}")
    refusals = (
        Refusal(r["identity_set"], r["day"], (r["type"], r["value"]), r["reason"], r["rule"])
        for r in tables.rows(f"{within} {_REFUSALS}")
    )
    return Carriers(
        {r["identity_set"]: tuple((i["type"], i["value"]) for i in r["identifiers"]) for r in sets},
        {r["identity_set"]: r["profile_id"] for r in sets if r["profile_id"] is not None},
        first_calls(tables.rows(f"{within} {_DAYS}"), clock),
        tuple(sorted(refusals)),
    )


def calls(tables: AtRun, sets: Collection[bytes], days: Iterable[date] | None) -> tuple[Call, ...]:
    """The calls of identity sets by arrival; ``days``: UTC days of arrival, None for all."""
    within = ""
    if days is not None:
        listed = ", ".join(f"date '{day.isoformat()}'" for day in sorted(set(days)))
        within = f"and received_date in ({listed})" if listed else "and false"
    found = [
        Call(**row)
        for keys in _batches(sorted(sets))
        for row in tables.rows(_CALLS.format(keys=keys, within=within))
    ]
    return tuple(sorted(found, key=lambda call: (call.received_at, call.message_id)))


def _batches(sets: Sequence[bytes]) -> Iterator[str]:
    for start in range(0, len(sets), _SETS_A_QUERY):
        yield ", ".join(f"X'{key.hex()}'" for key in sets[start : start + _SETS_A_QUERY])


def first_calls(rows: Iterable[Mapping[str, Any]], clock: str) -> dict[Day, FirstCall]:
    """Rows of `sightings`, partial sums, added up by set and day."""
    found: dict[Day, FirstCall] = {}
    for row in rows:
        key, first = (row["identity_set"], row["day"]), row["first"]
        names = ("message_id", "received_at", "timestamp", "source")
        new = FirstCall(*key, row["calls"], *(first[name] for name in names))
        if (old := found.get(key)) is not None:
            earlier = min(old, new, key=lambda call: order_of(call, clock))
            new = earlier._replace(calls=old.calls + new.calls)
        found[key] = new
    return found


def times_of(call: FirstCall | Call, clock: str) -> tuple[datetime, datetime]:
    """When a call was, by the clock that orders calls and then by the other."""
    received, happened = call.received_at, call.timestamp or call.received_at
    return (received, happened) if clock == RECEIVED_AT else (happened, received)


def order_of(call: FirstCall, clock: str) -> tuple[int, int, str, date]:
    """The total order of sightings, as a night has it: microseconds since 1970 UTC, then names."""
    one, other = ((t - _EPOCH) // timedelta(microseconds=1) for t in times_of(call, clock))
    return one, other, call.message_id, call.day


def _one(rows: Iterable[dict[str, Any]], identifier: Identifier) -> dict[str, Any] | None:
    """The row of this identifier; another may share its key."""
    return next((row for row in rows if (row["type"], row["value"]) == identifier), None)
