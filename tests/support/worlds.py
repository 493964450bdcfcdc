"""Random worlds for a lake and for the oracle: a family of rules and up to 200 calls each.

Many worlds lie in one lake and never meet, because every value carries its world's name
(`w17-3`). A *family* is a handful of types with limits, windows, priorities and blocked values of
their own, so worlds of many configurations share a lake; what is common to a lake (on_limit, the
clock, the caps) stands in its `Lake`, and so do the overrides of its worlds. Calls are dense in
conflicts; there are equal times, calls that happened long before they arrived, calls without a
time, copies and lines in no order.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import combinations, combinations_with_replacement
from pathlib import Path
from typing import Any

from tests.linking import Linking
from tests.oracle import Identifier, Line, Settings
from tests.oracle.judging import Fold
from tests.support.nights import Site, land, site

START = datetime(2026, 1, 1, tzinfo=UTC)
Call = dict[str, Any]
Family = tuple[Identifier, ...]
Id = tuple[str, str]
Pairs = tuple[tuple[Id, Id], ...]

#: Types of one family in order of priority; the last family's are met in calls alone.
FAMILIES: tuple[Family, ...] = (
    (
        Identifier("user_id", limit=1),
        Identifier("email", limit=2, normalise="email"),
        Identifier("anonymous_id", limit=3, window="weekly"),
    ),
    (Identifier("b.crm", limit=1), Identifier("b.mail", limit=1), Identifier("b.device", limit=3)),
    (
        Identifier("c.crm", limit=2, window="monthly"),
        Identifier("c.device", limit=2, window="daily"),
        Identifier("c.cookie", limit=None),
    ),
    (Identifier("d.mail", limit=1), Identifier("d.crm", limit=2), Identifier("d.cookie", limit=2)),
    (
        Identifier("e.device", limit=1, window="annually"),
        Identifier("e.crm", limit=1),
        Identifier("e.cookie", limit=4, window="weekly"),
        Identifier("e.tel", limit=2, normalise="lower"),
    ),
    (Identifier("f.cookie", limit=None), Identifier("f.device", limit=None)),
    (Identifier("g.tel", limit=6), Identifier("g.crm", limit=1), Identifier("g.cookie")),
    (Identifier("z.one"), Identifier("z.two")),
)
BLOCKED_VALUE, BLOCKED_PATTERN = "nobody", "^bad-"
BLOCKED_TYPES = ("email", "b.mail", "c.cookie", "d.cookie", "e.cookie", "g.cookie")
#: Nodes of the small graphs.
GRAPH_TYPES = (
    Identifier("graph.a", limit=1),
    Identifier("graph.b", limit=2),
    Identifier("graph.c", limit=3),
)


@dataclass(frozen=True)
class Lake:
    """The rules that all worlds of a lake have in common."""

    strategy: str = "segment"
    on_limit: str = "drop_lowest"
    order_by: str = "received_at"
    merges: int = 100
    mappings: int = 1000
    always: Pairs = ()
    never: Pairs = ()

    def __str__(self) -> str:
        return f"{self.strategy}-{self.on_limit}-{self.order_by}-{self.merges}-{self.mappings}"

    @property
    def listed(self) -> tuple[Identifier, ...]:
        return (*(each for family in FAMILIES[:-1] for each in family), *GRAPH_TYPES)

    def settings(self) -> Settings:
        """The rules as the oracle takes them."""
        return Settings(
            strategy=self.strategy,
            on_limit=self.on_limit,
            order_by=self.order_by,
            merges=self.merges,
            mappings=self.mappings,
            identifiers=self.listed,
            always=self.always,
            never=self.never,
            blocked_by_type=dict.fromkeys(BLOCKED_TYPES, ((BLOCKED_VALUE,), (BLOCKED_PATTERN,))),
        )

    def site(self, folder: Path, calls: list[Call], file: str = "calls.jsonl") -> Site:
        """A lake with these rules, the calls landed as one more file."""
        land(folder / "landing" / file, calls)
        self._write_overrides(folder / "overrides.csv")
        blocked = {"values": [BLOCKED_VALUE], "patterns": [BLOCKED_PATTERN]}
        identity = {
            "strategy": self.strategy,
            "on_limit": self.on_limit,
            "order_by": self.order_by,
            "unknown_types": "add",
            "overrides": str(folder / "overrides.csv"),
            "caps": {"merges": self.merges, "mappings": self.mappings},
            "blocked": {"by_type": dict.fromkeys(BLOCKED_TYPES, blocked)},
            "identifiers": {
                each.type: {
                    "limit": each.limit,
                    "window": each.window,
                    "normalise": each.normalise,
                }
                for each in self.listed
            },
        }
        return site(folder, {"web": folder / "landing"}, identity=identity, judged=False)

    def _write_overrides(self, file: Path) -> None:
        """The pairs as somebody would type them: not normalised."""
        normal = {each.type for each in self.listed if each.normalise != "exact"}
        with file.open("w", newline="") as opened:
            rows = csv.writer(opened)
            rows.writerow(("rule", "type_a", "value_a", "type_b", "value_b"))
            for rule, pairs in (("always_together", self.always), ("never_together", self.never)):
                for pair in pairs:
                    typed = [(t, f" {v.upper()}" if t in normal else v) for t, v in pair]
                    rows.writerow((rule, *typed[0], *typed[1]))


def oracle(lake: Lake) -> type[Fold]:
    """Whose judgement the lake's strategy asks for."""
    return Linking if lake.strategy == "latest_wins" else Fold


def overridden(lake: Lake, count: int, seed: int) -> Lake:
    """The lake with overrides for about a third of `worlds(count, seed)`."""
    found = [overrides(f"w{seed}x{n}") for n in range(count)]
    always, never = (tuple(pair for each in found for pair in each[n]) for n in range(2))
    return replace(lake, always=always, never=never)


def lines(calls: list[Call], file: str = "calls.jsonl") -> list[Line]:
    """The calls of a file as the oracle reads them."""
    rows = [json.dumps(call).encode() for call in calls]
    return [Line("web", file, n, row, START) for n, row in enumerate(rows, 1)]


def worlds(count: int, seed: int) -> list[Call]:
    """The calls of so many worlds; the name of a world tells its seed: w<seed>x<number>."""
    return [call for n in range(count) for call in world(f"w{seed}x{n}")]


def world(name: str) -> list[Call]:
    """The calls of one world, a function of its name."""
    dice = random.Random(name)
    family, pools, size = _shape(dice)
    # Few days in all, because a day of calls is a folder of `events`.
    days = dice.choice((range(1), range(10), range(0, 60, 3), range(0, 500, 25)))
    calls = [_call(dice, name, n, family, pools, days) for n in range(size)]
    calls += [dice.choice(calls) for _ in range(size // 20)]
    return dice.sample(calls, len(calls))


def _shape(dice: random.Random) -> tuple[Family, dict[str, int], int]:
    """The first throws for a world: its types, how many values each has, how many calls."""
    family = dice.choice(FAMILIES)
    size = dice.choice((5, 10, 20, 40, dice.randint(40, 200)))
    return family, {each.type: max(2, size // dice.choice((2, 3, 4, 8))) for each in family}, size


def overrides(name: str) -> tuple[Pairs, Pairs]:
    """The pairs of a world that are always together, and those that never are; mostly none."""
    family, pools, _ = _shape(random.Random(name))
    dice = random.Random(f"overrides of {name}")
    if dice.random() < 0.65:
        return (), ()

    def pair() -> tuple[Id, Id]:
        one, other = (dice.choice(family) for _ in "12")
        return _plain(dice, name, one, pools), _plain(dice, name, other, pools)

    always = tuple(p for p in (pair() for _ in range(dice.randint(0, 3))) if p[0] != p[1])
    bonds = Settings(always=always).bonds
    never = tuple(
        p
        for p in (pair() for _ in range(dice.randint(0, 3)))
        if p[0] != p[1] and p[1] not in bonds.get(p[0], ())
    )
    return always, never


def _plain(dice: random.Random, name: str, each: Identifier, pools: Mapping[str, int]) -> Id:
    value = f"{name}-{dice.randrange(pools[each.type])}"
    return each.type, f"{value}@x.com" if each.normalise == "email" else value


def _call(
    dice: random.Random, name: str, n: int, family: Family, pools: Mapping[str, int], days: range
) -> Call:
    # Six moments a day: several calls at one moment are the rule in a dense world.
    received = START + timedelta(days=dice.choice(days), hours=4 * dice.randrange(6))
    happened = received - timedelta(days=dice.choice((0, 0, 0, 1, 40)))
    types = dice.sample(family, dice.choice((1, 2, 2, 2, len(family))))
    told = [(each.type, _value(dice, name, each, pools)) for each in types]
    if dice.random() < 0.1:
        told.append((types[0].type, _value(dice, name, types[0], pools)))
    call = {
        "type": dice.choice(("track", "identify")),
        "messageId": f"{name}-{dice.randrange(10**6):06}-{n}",
        "receivedAt": received.isoformat(),
        "context": {"externalIds": external_ids(told)},
    }
    if dice.random() < 0.9:
        call["timestamp"] = happened.isoformat()
    if call["type"] == "identify":
        call["traits"] = {dice.choice("ab"): dice.choice((None, "x", 1.5, ["y"])) for _ in "12"}
    return call


def _value(dice: random.Random, name: str, each: Identifier, pools: Mapping[str, int]) -> str:
    value = f"{name}-{dice.randrange(pools[each.type])}"
    if each.type in BLOCKED_TYPES and dice.random() < 0.1:
        value = dice.choice((f"bad-{value}", BLOCKED_VALUE))
    if each.normalise != "exact":
        value = dice.choice((value, f" {value.upper()} "))
    return f"{value}@x.com" if each.normalise == "email" and "bad" not in value else value


def external_ids(told: list[tuple[str, str]]) -> list[Call]:
    return [{"type": t, "id": v, "collection": "users", "encoding": "none"} for t, v in told]


def graphs(largest: int) -> Iterator[Call]:
    """Every graph of 1 to `largest` identifiers of three types as calls: an identifier without
    edges alone, then the edges in order, twelve hours apart. A value is `<graph>-<node>`."""
    number = 0
    for nodes in range(1, largest + 1):
        edges = list(combinations(range(nodes), 2))
        for types in combinations_with_replacement(GRAPH_TYPES, nodes):
            for bits in range(1 << len(edges)):
                number += 1
                chosen = [edge for n, edge in enumerate(edges) if bits >> n & 1]
                yield from _graph(number, types, [*((n,) for n in range(nodes)), *chosen])


def _graph(number: int, types: Family, members: list[tuple[int, ...]]) -> Iterator[Call]:
    met = {node for edge in members if len(edge) > 1 for node in edge}
    kept = [each for each in members if len(each) > 1 or each[0] not in met]
    for n, nodes in enumerate(kept):
        told = [(types[node].type, f"graph{number}-{node}") for node in nodes]
        yield {
            "type": "track",
            "messageId": f"graph{number}-{n}",
            "receivedAt": (START + timedelta(hours=12 * n)).isoformat(),
            "context": {"externalIds": external_ids(told)},
        }
