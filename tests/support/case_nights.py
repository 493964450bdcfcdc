"""The worked cases as worlds of one lake: as one load, as one load with its calls in no order, or
batch by batch, a night a batch, each in no order.

Worlds never meet, because the types of each carry its name: `w7.user_id`. So every world brings
its own types, priorities, limits, windows and blocked values, all in one configuration, and its
values are those of the case. What stays common to a lake is its strategy, `on_limit` and caps:
cases that differ there are put into lakes of their own, a `Group` each.

What a lake shows otherwise than the pure function, and how it is compared:

- an empty value is no identifier, so nobody says that it was blocked;
- a profile has an id, of which its founder is found again, but no number: the order of profiles
  is left out (`in_order`);
- a violation has a set and a day: the call is the first one of the set that day, or, where a
  value is blocked, every one;
- calls that nothing but their order tells apart are a minute apart and not a day, where there
  are hundreds: a day of calls is a folder of `events`;
- `graph` is read off `created_profiles`.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from lake.identity.resolve import Reason
from tests.oracle.judging import profile_id
from tests.support import cases
from tests.support.cases import Batch, Case, CaseEvent, Identifier, Observed
from tests.support.nights import AS_OF, Site, land, site

ONE_LOAD, SHUFFLED, BATCHES = "one load", "shuffled", "batches"
CAPS = (100, 1000)
MANY = 200
SEGMENT_TYPES = {"user_id": {"priority": 1, "limit": 1}, "email": {"priority": 2}}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Group(NamedTuple):
    """What all worlds of a lake have in common."""

    strategy: str
    on_limit: str
    merges: int
    mappings: int


@dataclass(frozen=True)
class World:
    """A case in a lake; `batches[n]` lands before night n."""

    name: str
    way: str
    case: Case

    @cached_property
    def batches(self) -> tuple[Batch, ...]:
        batches = self.case.batches
        if self.way != BATCHES:
            events = tuple(event for batch in batches for event in batch.events)
            batches = (Batch(events, batches[-1].config),)
        if len(self.number) > MANY and "window" not in str(batches[-1].config):
            batches = tuple(replace(b, events=tuple(map(_sooner, b.events))) for b in batches)
        if self.way == ONE_LOAD:
            return batches
        rng = random.Random(self.case.id)
        return tuple(replace(b, events=rng.sample(b.events, len(b.events))) for b in batches)

    @cached_property
    def number(self) -> dict[str, int]:
        """The place of each call in the case, however the calls are shuffled."""
        events = [event for batch in self.case.batches for event in batch.events]
        return {event.name: number for number, event in enumerate(events)}

    def config(self, night: int) -> Mapping[str, Any]:
        return self.batches[min(night, len(self.batches) - 1)].config

    def types(self) -> dict[str, dict[str, Any]]:
        """Every type of the case with its limit, the strongest first, as the product reads it."""
        config = self.case.batches[-1].config
        told = config.get("types", SEGMENT_TYPES)
        met = {i[0] for batch in self.case.batches for event in batch.events for i in event.ids}
        listed = sorted(
            (t for t in told if "priority" in told[t]), key=lambda t: told[t]["priority"]
        )
        default = {"limit": config.get("default_limit", 5)}
        ordered = [*listed, *sorted((met | told.keys()) - set(listed))]
        kept = {t: default | told.get(t, {}) for t in ordered}
        return {t: {k: v for k, v in kept[t].items() if k != "priority"} for t in ordered}


def group_of(case: Case, strategy: str, on_limit: str) -> Group:
    """The lake a run belongs to. Caps that the case cannot reach are the usual ones, and
    `on_limit` is the same to all strategies but Segment's."""
    caps = case.batches[-1].config.get("caps", {})
    met = {i for batch in case.batches for event in batch.events for i in event.ids}
    merges, mappings = caps.get("merges", CAPS[0]), caps.get("mappings", CAPS[1])
    if strategy != "segment" or len(met) <= min(merges, CAPS[0]):
        merges = CAPS[0]
    if strategy == "components" or len(met) <= min(mappings, CAPS[1]):
        mappings = CAPS[1]
    return Group(strategy, on_limit if strategy == "segment" else "drop_lowest", merges, mappings)


def groups() -> dict[Group, list[Case]]:
    """Every run of every case that the pure function shows, by the lake it is for."""
    found: dict[Group, list[Case]] = defaultdict(list)
    for case in cases.load_all():
        if case.level == "pure":
            for strategy, on_limit in case.runs():
                found[group_of(case, strategy, on_limit)].append(case)
    return dict(found)


class CaseLake:
    """Worlds of one group in one lake; `night` lands a batch of each and runs."""

    def __init__(self, folder: Path, group: Group, chosen: Iterable[Case], ways: Sequence[str]):
        self.folder, self.group = folder, group
        pairs = [
            (case, way) for case in chosen for way in ways if way != BATCHES or case.batches[1:]
        ]
        self.worlds = [World(f"w{n}", way, case) for n, (case, way) in enumerate(pairs)]
        self.nights = max(len(world.batches) for world in self.worlds)
        self.seen: dict[str, list[Observed]] = {world.name: [] for world in self.worlds}

    def run(self) -> None:
        """All nights; what each world showed after each is in `seen`."""
        for night in range(self.nights):
            lake = self._site(night)
            calls = [call for world in self.worlds for call in _calls(world, night)]
            land(self.folder / "landing" / f"night{night}.jsonl", calls)
            # A run that stopped before the end would be finished first by the next night.
            until = "stitch" if self.nights == 1 else "publish"
            lake.run(AS_OF + timedelta(days=night), until=until)
            shown = Shown(lake)
            for world in self.worlds:
                if night < len(world.batches):
                    earlier = tuple(self.seen[world.name])
                    self.seen[world.name].append(shown.world(world, night, self.group, earlier))

    def faults(self) -> list[str]:
        """What differs from the cases: the world, the way it landed, both sides."""
        found = []
        for world in self.worlds:
            try:
                cases.check(_shown_as(world), self.seen[world.name][-1])
            except AssertionError as error:
                found.append(f"{world.name}, {world.way}: {error}")
        return found

    def _site(self, night: int) -> Site:
        types, blocked = {}, {}
        for world in self.worlds:
            types |= {f"{world.name}.{t}": rule for t, rule in world.types().items()}
            blocked |= _blocked(world, night)
        identity = {
            "strategy": self.group.strategy,
            "on_limit": self.group.on_limit,
            "unknown_types": "ignore",
            "identifiers": types,
            "caps": {"merges": self.group.merges, "mappings": self.group.mappings},
            "blocked": {"by_type": blocked},
        }
        return site(self.folder, {"web": self.folder / "landing"}, identity=identity, judged=False)


def _blocked(world: World, night: int) -> dict[str, Any]:
    """The case's own blocked values by type. The built-in pack is on in every lake: where a case
    turns it off, it must not matter, or the case could not be in one with the others."""
    config = world.config(night)
    told = config.get("blocked", {})
    met = {i for batch in world.batches for event in batch.events for i in event.ids}
    if not told.get("builtin", True):
        on = {**config, "blocked": {**told, "builtin": True}}
        assert all(cases.is_blocked(config, i) == cases.is_blocked(on, i) for i in met), (
            world.case.id
        )
    by_type: dict[str, Any] = {}
    for kind in sorted({i[0] for i in met}):
        own = told.get("by_type", {}).get(kind, {})
        lists = {part: [*told.get(part, []), *own.get(part, [])] for part in ("values", "patterns")}
        if any(lists.values()):
            by_type[f"{world.name}.{kind}"] = lists
    return by_type


def _sooner(event: CaseEvent) -> CaseEvent:
    """A minute for a day."""
    times = [cases.START + (at - cases.START) // 1440 for at in (event.received, event.happened)]
    return replace(event, received=times[0], happened=times[1])


def _message(world: World, event: CaseEvent) -> str:
    """The number before the name lets e10 follow e9 at equal times."""
    return f"{world.name}|{world.number[event.name]:07}|{event.name}"


def _calls(world: World, night: int) -> Iterator[dict[str, Any]]:
    if night >= len(world.batches):
        return
    for event in world.batches[night].events:
        told = [
            {"type": f"{world.name}.{t}", "id": value, "collection": "users", "encoding": "none"}
            for t, value in event.ids
        ]
        yield {
            "type": "track",
            "messageId": _message(world, event),
            "receivedAt": _time(event.received),
            "timestamp": _time(event.happened),
            "context": {"externalIds": told},
        }


def _time(micros: int) -> str:
    return (EPOCH + timedelta(microseconds=micros)).isoformat()


def _shown_as(world: World) -> Case:
    """The case with the expectations a lake can be asked: see the head of this module."""
    passing = {"after", "stable", "fresh"} if world.way != BATCHES else set()

    def asked(expect: Mapping[str, Any]) -> dict[str, Any]:
        kept = {k: v for k, v in expect.items() if k not in passing | {"in_order"}}
        if "violations" in kept:
            kept["violations"] = [v for v in kept["violations"] if not v[1].endswith(":")]
        if "after" in kept:
            kept["after"] = {n: asked(then) for n, then in kept["after"].items()}
        return kept

    case = world.case
    by = {key: asked(expect) for key, expect in case.expect_by.items()}
    return replace(case, expect=asked(case.expect), expect_by=by)


class Shown:
    """What a lake's readers see, divided by world; identifiers without the world's name."""

    def __init__(self, lake: Site) -> None:
        self.members: dict[bytes, tuple[Identifier, ...]] = {
            row["identity_set"]: tuple((i["type"], i["value"]) for i in row["identifiers"])
            for row in lake.dicts("identity_sets")
        }
        self.set_of = {row["message_id"]: row["identity_set"] for row in lake.dicts("events")}
        self.profile_of = {r["identity_set"]: r["profile_id"] for r in lake.dicts("set_profiles")}
        self.homes: dict[str, dict[Identifier, str | None]] = defaultdict(dict)
        self.guarded: set[Identifier] = set()
        for row in lake.dicts("identities"):
            one = row["type"], row["value"]
            self.homes[one[0].partition(".")[0]][one] = row["profile_id"]
            if row["guard"]:
                self.guarded.add(one)
        self.founder = {profile_id(i, "shop"): i for homes in self.homes.values() for i in homes}
        self.created: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in lake.dicts("created_profiles"):
            self.created[row["type"].partition(".")[0]].append(row)
        self.violations: dict[bytes, list[dict[str, Any]]] = defaultdict(list)
        for row in lake.dicts("violations"):
            self.violations[row["identity_set"]].append(row)

    def world(
        self, world: World, night: int, group: Group, earlier: tuple[Observed, ...]
    ) -> Observed:
        """What one world shows after a night."""
        homes = self.homes[world.name]
        ids = sorted({home for home in homes.values() if home})
        place = {home: n for n, home in enumerate(ids)}
        profiles: list[list[str]] = [[] for _ in ids]
        for one, home in homes.items():
            if home:
                profiles[place[home]].append(_text(one))
        landed = _landed(world, night)
        found = {name: self.profile_of.get(self.set_of[m]) for name, m, _ in landed}
        return Observed(
            *(group.strategy, group.on_limit),
            profiles=tuple(tuple(sorted(own)) for own in profiles),
            founders=tuple(_text(self.founder[home]) for home in ids),
            events={name: place[home] if home else None for name, home in found.items()},
            violations=frozenset(self._violations(landed)),
            removed=frozenset(self._removed(landed, homes)),
            graph=self._graph(world),
            earlier=earlier,
        )

    def _days(self, landed: Landed) -> dict[tuple[bytes, Any], list[tuple[Any, ...]]]:
        """The calls of each set on each day, in order."""
        days: dict[tuple[bytes, Any], list[tuple[Any, ...]]] = defaultdict(list)
        for name, message, event in landed:
            if key := self.set_of[message]:
                order = event.received, event.happened, message, name
                days[key, (EPOCH + timedelta(microseconds=event.received)).date()].append(order)
        return {place: sorted(orders) for place, orders in days.items()}

    def _violations(self, landed: Landed) -> Iterator[tuple[str, str, str]]:
        days = self._days(landed)
        for key in {key for key, _ in days}:
            for row in self.violations.get(key, []):
                calls = [order[-1] for order in days[key, row["day"]]]
                one = _text((row["type"], row["value"]))
                for name in calls if row["reason"] == Reason.BLOCKED else calls[:1]:
                    yield name, one, row["reason"]

    def _linking(self, key: bytes) -> list[Identifier]:
        return [i for i in self.members[key] if i not in self.guarded]

    def _removed(
        self, landed: Landed, homes: Mapping[Identifier, str | None]
    ) -> Iterator[frozenset[str]]:
        """Pairs that some call carries and that are not on one profile."""
        for key in {self.set_of[message] for _, message, _ in landed} - {None}:
            for one, other in combinations(self._linking(key), 2):
                if homes[one] is None or homes[one] != homes[other]:
                    yield frozenset((_text(one), _text(other)))

    def _graph(self, world: World) -> tuple[tuple[str, str, str], ...]:
        """(part, canonical part, name of the call), parts numbered by creation."""
        if "graph" not in world.case.expect:
            return ()
        # A message begins with its number, so its name tells the order of equal times too.
        created = sorted(self.created[world.name], key=lambda row: _when(row["created"]))
        name = {row["segment_id"]: f"p{n}" for n, row in enumerate(created, start=1)}
        steps = [(_when(row["created"]), row, row["segment_id"]) for row in created]
        steps += [
            (_when(step["moment"]), row, step["segment_id"])
            for row in created
            for step in row["path"]
        ]
        ordered = sorted(steps, key=lambda step: step[0])
        return tuple(
            (name[row["segment_id"]], name[into], when[1].rpartition("|")[2])
            for when, row, into in ordered
        )


def _when(moment: Mapping[str, Any]) -> tuple[datetime, str]:
    return moment["received_at"], moment["message_id"]


Landed = list[tuple[str, str, CaseEvent]]


def _landed(world: World, night: int) -> Landed:
    """Name, message and call of everything that landed up to a night."""
    events = [event for batch in world.batches[: night + 1] for event in batch.events]
    return [(e.name, _message(world, e), e) for e in events]


def _text(one: Identifier) -> str:
    """`type:value` as the case writes it."""
    return f"{one[0].partition('.')[2]}:{one[1]}"
