"""Worked cases as data, and what runs and checks them.

A file in ``tests/cases`` is a mapping: ``defaults`` (merged under every case), ``configs`` and
``bases`` (named, to be referred to), ``cases``. A case:

    id, title, source, status (stated | rule | computed), note
    level        pure (default), or night: only a whole lake can show it
    config       a mapping or the name of one: types {name: {priority, limit, window}} (limit null:
                 none), default_limit, blocked {builtin, values, patterns, by_type}, shared,
                 caps {merges, mappings}, always_together, never_together (pairs of identifiers)
    strategies, on_limit    what it is to be run with
    base         name of events that come before its own
    events       one batch; or batches: a list of batches, each a list of events, or
                 {config: changes from here on, events: [...]}
                 event: {e: name, d: received, in days; t: its own time; ids: [type:value, ...]},
                 or just the ids; left out, names are e1, e2, ... and days count up
    expect       of the last batch; expect_by: {strategy or on_limit: keys that replace it}

What can be expected: ``profiles`` (whole lists; ``in_order``: by creation), ``persons`` (how
many), ``events`` (name → index into ``profiles``, or null), ``violations`` ([event, identifier]
or with the reason, all of them), ``removed`` (links, all of them), ``graph`` ([part, canonical
part, event], parts p1, p2, ... by creation), ``founders`` (by profile), ``together`` and ``apart``
(pairs), ``after`` ({batch: expect}), ``stable`` ([identifier, batch, later batch]: its profile
keeps its id), ``fresh`` ([identifier, batch]: its profile's id was nobody's before).

Any list may hold ``{repeat: n, each: template}``; strings of the template may use ``{k}``,
``{next}`` and ``{mixed}``, ``{mixed_next}``: names in no order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from lake.identity.resolve import (
    Identifier,
    Limit,
    OnLimit,
    Reason,
    Resolution,
    Rules,
    Sighting,
    Strategy,
    Window,
    removed_links,
    resolve,
)
from lake.identity.resolve.links import id_graph

CASES = Path(__file__).resolve().parents[1] / "cases"
FILES = ("segment", "adobe", "treasure_data", "sequences", "splits", "seeds", "traps")
DAY = 86_400_000_000
START = 1_704_067_200_000_000  # 2024-01-01 UTC
EXPECTATIONS = {
    *("profiles", "in_order", "persons", "events", "violations", "removed", "graph", "founders"),
    *("together", "apart", "after", "stable", "fresh"),
}
BUILTIN_PATTERNS = ("^[0-]*$",)
BUILTIN_VALUES = ("-1", "null", "anonymous")


@dataclass(frozen=True)
class CaseEvent:
    """One call: received at and happened at, microseconds UTC."""

    name: str
    received: int
    happened: int
    ids: tuple[Identifier, ...]


@dataclass(frozen=True)
class Batch:
    """Calls that land together, and the configuration in force when they are resolved."""

    events: tuple[CaseEvent, ...]
    config: Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    id: str
    title: str
    source: str
    status: str
    level: str
    note: str
    strategies: tuple[str, ...]
    on_limit: tuple[str, ...]
    batches: tuple[Batch, ...]
    expect: Mapping[str, Any]
    expect_by: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def runs(self) -> Iterator[tuple[str, str]]:
        """(strategy, on_limit) to run it with; on_limit means something to segment only."""
        for strategy in self.strategies:
            for on_limit in self.on_limit if strategy == "segment" else self.on_limit[:1]:
                yield strategy, on_limit

    def expected(self, strategy: str, on_limit: str) -> dict[str, Any]:
        """What one run is to show."""
        by = self.expect_by
        return {**self.expect, **by.get(strategy, {}), **by.get(on_limit, {})}


@dataclass(frozen=True)
class Observed:
    """What a run showed after one batch; identifiers and links as ``type:value`` texts.

    ``founders`` may be any id that stands for the profile where ``case`` expects no founders.
    ``earlier``: the same after each batch before.
    """

    strategy: str
    on_limit: str
    profiles: tuple[tuple[str, ...], ...]
    founders: tuple[str, ...]
    events: Mapping[str, int | None]
    violations: frozenset[tuple[str, str, str]]
    removed: frozenset[frozenset[str]]
    graph: tuple[tuple[str, str, str], ...]
    earlier: tuple[Observed, ...] = ()

    def home(self, identifier: str) -> int | None:
        """The profile an identifier is on."""
        return next((n for n, ids in enumerate(self.profiles) if identifier in ids), None)


# Loading.


def load(name: str) -> list[Case]:
    """The cases of ``tests/cases/<name>.yaml``."""
    document = YAML(typ="safe").load((CASES / f"{name}.yaml").read_text(encoding="utf-8"))
    return [_case({**document, "cases": None}, _expanded(case)) for case in document["cases"]]


def load_all() -> list[Case]:
    """Every case of every file, then the worked examples."""
    return [case for name in FILES for case in load(name)] + load_worked()


def _expanded(value: Any) -> Any:
    """The same with every ``repeat`` written out."""
    if isinstance(value, dict):
        return {key: _expanded(item) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    items: list[Any] = []
    for item in value:
        if isinstance(item, dict) and "repeat" in item:
            items.extend(_filled(item["each"], k) for k in range(item["repeat"]))
        else:
            items.append(_expanded(item))
    return items


def _filled(template: Any, k: int) -> Any:
    if isinstance(template, str):
        mixed = {"mixed": k * 7919 % 104_729, "mixed_next": (k + 1) * 7919 % 104_729}
        return template.format(k=k, next=k + 1, **mixed)
    if isinstance(template, list):
        return [_filled(item, k) for item in template]
    if isinstance(template, dict):
        return {key: _filled(item, k) for key, item in template.items()}
    return template


def _case(document: Mapping[str, Any], raw: dict[str, Any]) -> Case:
    defaults = document.get("defaults", {})
    merged = {**defaults, **raw}
    config = merged.get("config", {})
    if isinstance(config, str):
        config = document["configs"][config]
    batches = merged.get("batches") or [merged.get("events", [])]
    if merged.get("base"):
        batches = [[*document["bases"][merged["base"]], *batches[0]], *batches[1:]]
    return Case(
        id=raw["id"],
        title=raw["title"],
        source=merged.get("source", ""),
        status=merged.get("status", ""),
        level=merged.get("level", "pure"),
        note=merged.get("note", ""),
        strategies=tuple(merged["strategies"]),
        on_limit=tuple(merged.get("on_limit", ["drop_lowest"])),
        batches=tuple(_batches(batches, config)),
        expect={**defaults.get("expect", {}), **merged.get("expect", {})},
        expect_by=merged.get("expect_by", {}),
    )


def _batches(raw: Sequence[Any], config: Mapping[str, Any]) -> Iterator[Batch]:
    count = 0
    for batch in raw:
        changes = batch.get("config", {}) if isinstance(batch, dict) else {}
        config = {**config, **changes}
        events = []
        for event in batch.get("events", []) if isinstance(batch, dict) else batch:
            events.append(_event(event, count))
            count += 1
        yield Batch(tuple(events), config)


def _event(raw: Any, number: int) -> CaseEvent:
    if isinstance(raw, list):
        raw = {"ids": raw}
    received = raw.get("d", number)
    return CaseEvent(
        name=raw.get("e", f"e{number + 1}"),
        received=START + round(received * DAY),
        happened=START + round(raw.get("t", received) * DAY),
        ids=tuple(identifier(text) for text in raw["ids"]),
    )


def identifier(text: str) -> Identifier:
    kind, _, value = text.partition(":")
    return kind, value


def text(one: Identifier) -> str:
    return ":".join(one)


# Running on the pure function.


def rules_of(config: Mapping[str, Any], strategy: str, on_limit: str) -> Rules:
    """A case's configuration as rules; without ``types`` Segment's defaults."""
    types = config.get("types", {"user_id": {"priority": 1, "limit": 1}, "email": {"priority": 2}})
    default = config.get("default_limit", 5)
    caps = config.get("caps", {})
    listed = [name for name in types if "priority" in types[name]]
    return Rules(
        strategy=Strategy(strategy),
        priority=tuple(sorted(listed, key=lambda name: types[name]["priority"])),
        limits={
            name: Limit(settings.get("limit", default), Window(settings.get("window", "ever")))
            for name, settings in types.items()
        },
        default_limit=Limit(default),
        on_limit=OnLimit(on_limit),
        max_merges=caps.get("merges", 100),
        max_mappings=caps.get("mappings", 1000),
        always_together=_pairs(config, "always_together"),
        never_together=_pairs(config, "never_together"),
    )


def _pairs(config: Mapping[str, Any], key: str) -> tuple[tuple[Identifier, Identifier], ...]:
    return tuple((identifier(one), identifier(other)) for one, other in config.get(key, []))


def is_blocked(config: Mapping[str, Any], one: Identifier) -> bool:
    """Whether the case's ``blocked`` block refuses a value."""
    blocked = config.get("blocked", {})
    blocks = [blocked, blocked.get("by_type", {}).get(one[0], {})]
    if blocked.get("builtin", True):
        blocks.append({"values": BUILTIN_VALUES, "patterns": BUILTIN_PATTERNS})
    return any(
        one[1] in block.get("values", ())
        or any(re.search(pattern, one[1]) for pattern in block.get("patterns", ()))
        for block in blocks
    )


def sightings_of(
    events: Sequence[CaseEvent], config: Mapping[str, Any]
) -> tuple[list[Sighting], dict[str, tuple[Identifier, ...]]]:
    """First call of each set on each UTC day, and the set of every event (empty: none)."""
    sets: dict[str, tuple[Identifier, ...]] = {}
    first: dict[tuple[tuple[Identifier, ...], int], Sighting] = {}
    for number, event in enumerate(events):
        kept = tuple(sorted({one for one in event.ids if not is_blocked(config, one)}))
        sets[event.name] = kept
        # The name is the message id; the number before it lets e10 follow e9 at equal times.
        order = (event.received, event.happened, f"{number:07}", event.name)
        place = (kept, event.received // DAY)
        if kept and (place not in first or order < first[place].order):
            first[place] = Sighting(kept, event.received, order, kept)
    return list(first.values()), sets


def run_pure(case: Case, strategy: str, on_limit: str) -> Observed:
    """Resolve everything that landed so far after every batch, with that batch's configuration."""
    landed: list[CaseEvent] = []
    observed: list[Observed] = []
    for batch in case.batches:
        landed.extend(batch.events)
        sightings, sets = sightings_of(landed, batch.config)
        resolution = resolve(sightings, rules_of(batch.config, strategy, on_limit))
        blocked = {
            (event.name, text(one), str(Reason.BLOCKED))
            for event in landed
            for one in event.ids
            if is_blocked(batch.config, one)
        }
        observed.append(_observed(resolution, sets, blocked, (strategy, on_limit), observed))
    return observed[-1]


def _observed(
    resolution: Resolution,
    sets: Mapping[str, tuple[Identifier, ...]],
    blocked: set[tuple[str, str, str]],
    run: tuple[str, str],
    earlier: Sequence[Observed],
) -> Observed:
    profile = {outcome.identity_set: outcome.profile for outcome in resolution.sets}
    found = {
        (v.sighting.order[-1], text(v.identifier), str(v.reason)) for v in resolution.violations
    }
    links = removed_links(resolution)
    return Observed(
        *run,
        profiles=tuple(tuple(sorted(map(text, p.identifiers))) for p in resolution.profiles),
        founders=tuple(text(p.founder) for p in resolution.profiles),
        events={name: profile.get(kept) for name, kept in sets.items()},
        violations=frozenset(found | blocked),
        removed=frozenset(frozenset({text(one), text(other)}) for one, other in links),
        graph=graph(resolution),
        earlier=tuple(earlier),
    )


def graph(resolution: Resolution) -> tuple[tuple[str, str, str], ...]:
    """The merge history: (part, canonical part, name of the call), parts numbered in time."""
    parts = sorted(
        (part for profile in resolution.profiles for part in profile.parts),
        key=lambda part: part.created.order,
    )
    name = {part.founder: f"p{n}" for n, part in enumerate(parts, start=1)}
    rows = sorted(
        (row for profile in resolution.profiles for row in id_graph(profile)),
        key=lambda row: row[2].order,
    )
    return tuple((name[part], name[into], cause.order[-1]) for part, into, cause in rows)


# Checking.


def check(case: Case, observed: Observed) -> None:
    """AssertionError that names the case and shows both sides where the run differs from it."""
    expected = case.expected(observed.strategy, observed.on_limit)
    run = f"{case.id} {observed.strategy} {observed.on_limit}"
    for batch, after in expected.get("after", {}).items():
        _check(f"{run} after batch {batch}", after, _after(observed, batch))
    _check(run, expected, observed)


def _after(observed: Observed, batch: int) -> Observed:
    return [*observed.earlier, observed][batch - 1]


def _same(run: str, what: str, expected: object, observed: object) -> None:
    assert observed == expected, f"{run}: {what}\nexpected {expected}\nobserved {observed}"


def _check(run: str, expected: Mapping[str, Any], observed: Observed) -> None:
    unknown = set(expected) - EXPECTATIONS
    assert not unknown, f"{run}: unknown expectation {sorted(unknown)}"
    profiles = [tuple(sorted(ids)) for ids in expected.get("profiles", [])]
    if "profiles" in expected:
        arranged = list if expected.get("in_order") else sorted
        _same(run, "profiles", arranged(profiles), arranged(observed.profiles))
    if "persons" in expected:
        _same(run, "persons", expected["persons"], len(observed.profiles))
    place = {ids: n for n, ids in enumerate(observed.profiles)}
    if "events" in expected:
        wanted = {
            name: None if index is None else place[profiles[index]]
            for name, index in dict(expected["events"]).items()
        }
        _same(run, "events", wanted, {name: observed.events[name] for name in wanted})
    if "founders" in expected:
        founders = [observed.founders[place[ids]] for ids in profiles]
        _same(run, "founders", expected["founders"], founders)
    _check_links(run, expected, observed)
    _check_ids(run, expected, observed)


def _check_links(run: str, expected: Mapping[str, Any], observed: Observed) -> None:
    if "violations" in expected:
        wanted = {tuple(violation) for violation in expected["violations"]}
        named = {violation[:2] for violation in wanted if len(violation) == 3}
        found = {v if v[:2] in named else v[:2] for v in observed.violations}
        _same(run, "violations", sorted(wanted), sorted(found))
    if "removed" in expected:
        links = sorted(sorted(link) for link in expected["removed"])
        _same(run, "removed links", links, sorted(sorted(link) for link in observed.removed))
    if "graph" in expected:
        _same(run, "graph", [tuple(row) for row in expected["graph"]], list(observed.graph))
    for one, other in expected.get("together", []):
        assert observed.home(one) is not None, f"{run}: {one} is on no profile"
        _same(run, f"{one} with {other}", observed.home(one), observed.home(other))
    for one, other in expected.get("apart", []):
        home = observed.home(one)
        assert home is None or home != observed.home(other), f"{run}: {one} with {other}"


def _check_ids(run: str, expected: Mapping[str, Any], observed: Observed) -> None:
    def founder(one: str, batch: int) -> str:
        then = _after(observed, batch)
        home = then.home(one)
        assert home is not None, f"{run}: {one} is on no profile after batch {batch}"
        return then.founders[home]

    for one, batch, later in expected.get("stable", []):
        _same(run, f"id of {one}, batch {later}", founder(one, batch), founder(one, later))
    for one, batch in expected.get("fresh", []):
        before = {f for n in range(1, batch) for f in _after(observed, n).founders}
        assert founder(one, batch) not in before, f"{run}: {one} inherited somebody's id"


# Worked examples in their own form.

_MODES = {
    "latest link wins": ("latest_wins",),
    "connected components that": ("segment", "latest_wins"),
    "connected components": ("components", "segment"),
    "sequential merge": ("segment",),
    "last known user": ("latest_wins", "segment"),
}
_UNIQUE = {"ga4_last_user_per_client": "user_id", "treasure_data_ex4_do_not_merge_key": "member_id"}


def load_worked() -> list[Case]:
    """``tests/cases/worked/*.json``, and once more without limits where they say what then."""
    cases = []
    for path in sorted((CASES / "worked").glob("*.json")):
        raw = json.loads(path.read_text(encoding="utf-8"))
        cases.append(_worked(path.stem, raw))
        if "plain_connected_components" in raw:
            plain = {"clusters": raw["plain_connected_components"]}
            cases.append(
                _worked(path.stem, {**raw, "mode": "connected components", "expect": plain})
            )
    return cases


def _worked(name: str, raw: Mapping[str, Any]) -> Case:
    strategies = next(runs for mode, runs in _MODES.items() if raw["mode"].startswith(mode))
    unique = raw.get("config", {}).get("unique_types", [])
    if name in _UNIQUE:
        unique = [_UNIQUE[name]]
    limits = unique if "components" not in strategies else []
    config = {
        "types": {kind: {"priority": n, "limit": 1} for n, kind in enumerate(limits, start=1)},
        "default_limit": None,
    }
    events = tuple(_worked_event(event, n) for n, event in enumerate(raw["events"]))
    return Case(
        id=f"{name}{'_plain' if 'components' in strategies and unique else ''}",
        title=raw["mode"],
        source=raw["origin"],
        status=raw["confidence"],
        level="pure",
        note=raw.get("note", ""),
        strategies=strategies,
        on_limit=("drop_lowest", "drop_conflict"),
        batches=(Batch(events, config),),
        expect=_worked_expectation(raw["expect"]),
    )


def _worked_event(raw: Mapping[str, Any], number: int) -> CaseEvent:
    when = raw["timestamp"]
    if isinstance(when, str):
        parsed = datetime.fromisoformat(when)
        at = round(parsed.timestamp()) * 1_000_000
    else:
        at = START + (number if when is None else when) * DAY
    return CaseEvent(raw["messageId"], at, at, tuple((kind, value) for kind, value in raw["ids"]))


def _worked_expectation(raw: Mapping[str, Any]) -> dict[str, Any]:
    expect: dict[str, Any] = {}
    if "clusters" in raw:
        expect["profiles"] = raw["clusters"]
    if "profiles" in raw:
        expect["persons"] = raw["profiles"]
    if "must_share_a_profile" in raw:
        expect["together"] = raw["must_share_a_profile"]
        expect["apart"] = raw["must_not_share_a_profile"]
    if "id_graph_updates" in raw:
        rows = raw["id_graph_updates"]
        expect["graph"] = [[_part(one), _part(into), event] for one, into, _, event, _ in rows]
    return expect


def _part(name: str) -> str:
    return name.replace("profile_", "p")
