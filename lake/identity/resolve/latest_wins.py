"""Adobe's linking rules as a pure function: the newest evidence keeps a shared identifier.

Every two identifiers of a set are a *link*; its time is the latest sighting that carries both.
The links of a raw component are taken in this order, and one is kept unless two values of a
unique type (limit 1) would meet on a profile:

1. links of the component's latest sighting that has a link (Adobe's "latest event", taken for
   the component and not for the whole space, so that unrelated events change nothing);
2. the smaller sum of the two priorities, which are the places of the types in the configuration;
   all types it does not list share the next place;
3. the newer; 4. the order of the identifiers (place of the type, type, value).

- A set with two values of a unique type is not used for linking: it is reported, belongs to
  nobody and makes no profile.
- Only a limit of 1 counts here, whatever its window; other limits are Segment's notion.
- The mapping cap is Adobe's limit of identities in a graph: a link that would make a larger
  profile is left out and reported, where Adobe deletes the oldest identity of the least durable
  type. There is no merge cap: a profile has no merge history here, it is one part.
- A set belongs to the profile of its strongest identifier; the others it carries are kept where
  they are on that profile. Violations name the set's latest sighting.
- ``always_together`` links come before all others and over every rule, reported where they break
  one. A ``never_together`` link, or one whose profile would hold such a pair, is not kept.

Founder: the unique-type identifier of the profile that was seen first, without one the strongest
identifier of its first set. So whoever logs in on a device that was there before him does not
inherit the id of the person who used it first; the price is that an anonymous profile's id
changes once, when it becomes known.

A set with k identifiers makes k(k-1)/2 links; otherwise sorting the links is the cost.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from itertools import combinations
from typing import NamedTuple

from lake.identity.resolve.forest import Forest
from lake.identity.resolve.groups import Cut, Groups
from lake.identity.resolve.model import (
    Drop,
    Mapped,
    Part,
    Profile,
    Resolution,
    SetOutcome,
    Sighting,
    Violation,
)
from lake.identity.resolve.rules import Rules
from lake.identity.resolve.universe import Universe

_Link = tuple[int, int]


class _Seen(NamedTuple):
    """Place in order of every set's last sighting, and of every linked identifier's first."""

    last: dict[Hashable, int]
    first: dict[int, int]


def latest_wins(sightings: Iterable[Sighting], rules: Rules) -> Resolution:
    """Keep links by Adobe's order under the unique types, then read the profiles off."""
    universe = Universe(sightings, rules)
    groups = Groups(universe, rules)
    clashes = {key: cut for key, ids in universe.members.items() if (cut := groups.clash(ids))}
    usable = {key: ids for key, ids in universe.members.items() if key not in clashes}
    seen = _seen(universe, usable)
    overruled = list(groups.join_bonds(seen.first))
    cuts: dict[_Link, Cut] = {}
    for link in _ordered_links(universe, rules, usable, seen):
        cut = groups.link(*link)
        if cut is not None:
            cuts[link] = cut
    profiles, home = _profiles(universe, groups, seen)
    sets: list[SetOutcome] = []
    violations: list[Violation] = []
    for key, ids in universe.members.items():
        lost = _lost(ids, clashes.get(key), home, cuts)
        sets.append(_outcome(universe, key, ids, home, lost, profiles))
        if lost:
            at = universe.sightings[seen.last[key]]
            violations.extend(_violations(universe, at, ids, home, lost))
    violations.extend(_overruled(universe, seen, overruled))
    violations.sort(key=lambda violation: violation.sighting.order)
    return Resolution(profiles, tuple(sets), tuple(violations))


def _seen(universe: Universe, usable: dict[Hashable, list[int]]) -> _Seen:
    last: dict[Hashable, int] = {}
    first: dict[int, int] = {}
    for n, sighting in enumerate(universe.sightings):
        key = sighting.identity_set
        if key not in last:
            for i in usable.get(key, ()):
                first.setdefault(i, n)
        last[key] = n
    return _Seen(last, first)


def _ordered_links(
    universe: Universe, rules: Rules, usable: dict[Hashable, list[int]], seen: _Seen
) -> list[_Link]:
    """Every link of the usable sets, in the order in which they are to be tried."""
    newest: dict[_Link, int] = {}
    raw = Forest(len(universe.identifiers))
    for bond_mates in _bonds(universe, seen):
        for i in bond_mates[1:]:
            raw.join(bond_mates[0], i)
    for key, ids in usable.items():
        for link in combinations(ids, 2):
            newest[link] = max(newest.get(link, -1), seen.last[key])
        for i in ids[1:]:
            raw.join(ids[0], i)
    latest: dict[int, int] = {}
    for (one, _), when in newest.items():
        root = raw.root(one)
        latest[root] = max(latest.get(root, -1), when)
    place = [rules.rank.get(kind, len(rules.priority)) for kind in universe.types]
    kind = universe.kind

    def turn(link: _Link) -> tuple[bool, int, int, _Link]:
        one, other = link
        when = newest[link]
        return (
            when != latest[raw.root(one)],
            place[kind[one]] + place[kind[other]],
            -when,
            link,
        )

    return sorted(newest, key=turn)


def _bonds(universe: Universe, seen: _Seen) -> Iterable[list[int]]:
    classes: dict[int, list[int]] = {}
    for i, bond in universe.bond.items():
        if i in seen.first:
            classes.setdefault(bond, []).append(i)
    return classes.values()


def _profiles(
    universe: Universe, groups: Groups, seen: _Seen
) -> tuple[tuple[Profile, ...], dict[int, int]]:
    """The groups as profiles, by the first sighting of their founders, and each one's members."""
    members: dict[int, list[int]] = {}
    for i in sorted(seen.first):
        members.setdefault(groups.forest.root(i), []).append(i)

    def age(i: int) -> tuple[bool, int, int]:
        return universe.kind[i] not in groups.unique, seen.first[i], i

    founded = sorted(
        ((min(ids, key=age), ids) for ids in members.values()),
        key=lambda group: (seen.first[group[0]], group[0]),
    )
    names = universe.identifiers
    profiles = []
    for founder, ids in founded:
        part = Part(names[founder], universe.sightings[seen.first[founder]])
        mapped = [
            Mapped(names[i], part.founder, universe.sightings[seen.first[i]])
            for i in sorted(ids, key=lambda i: (seen.first[i], i))
        ]
        profiles.append(Profile(*part, tuple(names[i] for i in ids), (part,), (), tuple(mapped)))
    return tuple(profiles), {i: n for n, (_, ids) in enumerate(founded) for i in ids}


def _lost(
    ids: list[int], clash: Cut | None, home: dict[int, int], cuts: dict[_Link, Cut]
) -> dict[int, Cut]:
    """The identifiers of a set that are not with its strongest one, and why."""
    if clash is not None:
        return dict.fromkeys(ids, clash)
    return {i: cuts[ids[0], i] for i in ids[1:] if home[i] != home[ids[0]]}


def _outcome(
    universe: Universe,
    key: Hashable,
    ids: list[int],
    home: dict[int, int],
    lost: dict[int, Cut],
    profiles: tuple[Profile, ...],
) -> SetOutcome:
    """Where a set belongs: with the strongest identifier that it has not lost."""
    names = universe.identifiers
    kept = [i for i in ids if i not in lost] if lost else ids
    place = home[kept[0]] if kept else None
    return SetOutcome(
        key,
        place,
        tuple([names[i] for i in kept]),
        tuple([Drop(names[i], cut.reason) for i, cut in lost.items()]),
        None if place is None else profiles[place].founder,
    )


def _violations(
    universe: Universe, at: Sighting, ids: list[int], home: dict[int, int], lost: dict[int, Cut]
) -> Iterator[Violation]:
    """What a set lost, each with the profiles that are kept apart."""
    kept = [i for i in ids if i not in lost][:1]
    for i, cut in lost.items():
        sides = {home[j] for j in ([i, *kept] if kept else ids) if j in home}
        apart = tuple(sorted(sides)) if len(sides) > 1 else ()
        yield Violation(at.identity_set, at, universe.identifiers[i], *cut, apart)


def _overruled(
    universe: Universe, seen: _Seen, overruled: list[tuple[int, Cut]]
) -> Iterator[Violation]:
    """What an override joined over a rule, at the first sighting of the later identifier."""
    for i, cut in overruled:
        at = universe.sightings[seen.first[i]]
        yield Violation(at.identity_set, at, universe.identifiers[i], *cut, ())
