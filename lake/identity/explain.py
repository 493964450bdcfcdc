"""Why identifiers are one profile or are not: read off the resolution of one raw component.

    sightings, rules ─► resolve() ─► Explained ─► ties · paths of evidence · smallest cut

The night's own `resolve` answers, so an explanation cannot say what the night did not do. No
storage, no clock.

*Evidence* is a bipartite graph of one profile: an identity set and the identifiers that a call of
it put on the profile. What a call lost to a rule is no evidence. Pairs of ``always_together`` are
in it too, each class as a `Bond`: it ties like a set, but no call can be taken away from it.
Sets stand in order of their first sighting and identifiers in order of priority, so every choice
between equals is the same each time.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from lake.identity.ids import profile_id
from lake.identity.paths import Bond, Evidence, Step, shortest_path
from lake.identity.resolve import (
    Identifier,
    Resolution,
    Rules,
    Sighting,
    Strategy,
    Violation,
    resolve,
)
from lake.identity.resolve.forest import Forest


class Tie(NamedTuple):
    """How an identifier came to a profile: ``step.end`` was new to the profile of ``step.start``.

    ``sighting``: the one that brought it. ``merged``: ``end`` had a profile of its own, which
    became part of the older one.
    """

    step: Step
    sighting: Sighting
    merged: bool


@dataclass(frozen=True)
class Explained:
    """One raw component, resolved. Profiles are known by their place in ``resolution.profiles``."""

    space: str
    rules: Rules
    sightings: tuple[Sighting, ...]
    resolution: Resolution

    @classmethod
    def of(cls, sightings: Iterable[Sighting], rules: Rules, space: str) -> Explained:
        """Resolve the sightings of one raw component, given in any order."""
        ordered = tuple(sorted(sightings, key=lambda s: (s.order, s.identifiers)))
        return cls(space, rules, ordered, resolve(ordered, rules))

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """The profile_id of each profile."""
        return tuple(profile_id(self.space, *p.founder) for p in self.resolution.profiles)

    @property
    def bond(self) -> Mapping[Identifier, int]:
        """The class of each identifier that an override names."""
        return self.rules.overrides.bond if self.rules.overrides else {}

    @cached_property
    def home(self) -> Mapping[Identifier, int]:
        """The profile of each identifier that is on one."""
        profiles = enumerate(self.resolution.profiles)
        return {i: place for place, profile in profiles for i in profile.identifiers}

    @cached_property
    def set_home(self) -> Mapping[Hashable, int | None]:
        """The profile of each set; None for a set that belongs to nobody."""
        return {outcome.identity_set: outcome.profile for outcome in self.resolution.sets}

    @cached_property
    def _lost(self) -> Mapping[tuple[Hashable, object], set[Identifier]]:
        """What each sighting lost. What an override joined over a rule was reported, not lost."""
        lost: dict[tuple[Hashable, object], set[Identifier]] = {}
        for v in self.resolution.violations:
            if not v.rule.startswith("always_together over"):
                lost.setdefault((v.identity_set, v.sighting.order), set()).add(v.identifier)
        return lost

    def kept(self, sighting: Sighting) -> list[Identifier]:
        """The identifiers that a sighting tied to each other, the strongest first.

        ``latest_wins`` judges links and not calls: there every set that belongs to somebody
        ties what it carries of one profile.
        """
        key, ids = sighting.identity_set, set(sighting.identifiers)
        if self.rules.strategy is not Strategy.LATEST_WINS:
            ids -= self._lost.get((key, sighting.order), set())
        elif self.set_home[key] is None:
            return []
        return sorted(ids, key=self.strength)

    def strength(self, identifier: Identifier) -> tuple[int, Identifier]:
        """Sorts identifiers by priority, the strongest first."""
        return self.rules.rank.get(identifier[0], len(self.rules.priority)), identifier

    def on(self, place: int) -> Iterator[tuple[Sighting, list[Identifier]]]:
        """Each sighting with what it tied on one profile, in order."""
        for sighting in self.sightings:
            tied = [i for i in self.kept(sighting) if self.home.get(i) == place]
            if tied:
                yield sighting, tied

    def evidence(self, place: int) -> Evidence:
        """What ties the identifiers of one profile."""
        found: dict[Hashable, set[Identifier]] = {}
        for sighting, tied in self.on(place):
            found.setdefault(sighting.identity_set, set()).update(tied)
        sets = {k: tuple(sorted(i, key=self.strength)) for k, i in found.items() if len(i) > 1}
        return {**sets, **self._bonds(self.resolution.profiles[place].identifiers)}

    @cached_property
    def carried(self) -> Evidence:
        """What would tie the component's identifiers if no rule were in force."""
        found: dict[Hashable, tuple[Identifier, ...]] = {}
        for s in self.sightings:
            if s.identity_set not in found:
                found[s.identity_set] = tuple(sorted(s.identifiers, key=self.strength))
        return {**found, **self._bonds(self.first)}

    @cached_property
    def first(self) -> Mapping[Identifier, Sighting]:
        """The first sighting that carried each identifier."""
        found: dict[Identifier, Sighting] = {}
        for sighting in self.sightings:
            for identifier in sighting.identifiers:
                found.setdefault(identifier, sighting)
        return found

    def _bonds(self, identifiers: Iterable[Identifier]) -> dict[Hashable, tuple[Identifier, ...]]:
        classes: dict[int, list[Identifier]] = {}
        for identifier in sorted(identifiers, key=self.strength):
            if identifier in self.bond:
                classes.setdefault(self.bond[identifier], []).append(identifier)
        return {Bond(n): tuple(ids) for n, ids in classes.items() if len(ids) > 1}


def ties(component: Explained, place: int) -> tuple[Tie, ...]:
    """How every identifier but the first came to a profile, in time: one tie less than there are.

    A call ties to the oldest group of identifiers it touches, from the strongest identifier it
    carries of that group. So the ties with ``merged`` are the profile's merges.
    """
    groups = _Groups(component.resolution.profiles[place].identifiers)
    mates: dict[int, Identifier] = {}
    found: list[Tie] = []
    seen = enumerate([*component.on(place), *_brought_by_override(component, place)])
    for number, (sighting, tied) in seen:
        groups.see(tied, number)
        for step in _steps(component, sighting, tied, groups, mates):
            newer = groups.join(step)
            if newer is not None:
                found.append(Tie(step, sighting, merged=newer < number))
    return tuple(found)


def _brought_by_override(
    component: Explained, place: int
) -> Iterator[tuple[Sighting, list[Identifier]]]:
    """Identifiers that every call lost, and that are on the profile by ``always_together``."""
    tied = {i for _, ids in component.on(place) for i in ids}
    for i in component.resolution.profiles[place].identifiers:
        if i not in tied:
            yield component.first[i], [i]


def _steps(
    component: Explained,
    sighting: Sighting,
    tied: list[Identifier],
    groups: _Groups,
    mates: dict[int, Identifier],
) -> Iterator[Step]:
    """What a sighting ties: overrides first, then all to the oldest group there is by then."""
    for i in tied:
        if (bond := component.bond.get(i)) is not None:
            yield Step(mates.setdefault(bond, i), Bond(bond), i)
    anchor = min(tied, key=groups.since)
    for i in tied:
        yield Step(anchor, sighting.identity_set, i)


class _Groups:
    """Identifiers of a profile as they come together; a group is as old as its oldest member."""

    def __init__(self, identifiers: tuple[Identifier, ...]) -> None:
        self.number = {i: n for n, i in enumerate(identifiers)}
        self.forest = Forest(len(identifiers))
        self.age: dict[int, int] = {}

    def see(self, identifiers: Iterable[Identifier], number: int) -> None:
        for i in identifiers:
            self.age.setdefault(self.forest.root(self.number[i]), number)

    def since(self, identifier: Identifier) -> int:
        return self.age[self.forest.root(self.number[identifier])]

    def join(self, step: Step) -> int | None:
        """Put the two groups together; the age of the newer one, None if they were one."""
        ages = self.since(step.start), self.since(step.end)
        root, gone = self.forest.join(self.number[step.start], self.number[step.end])
        if root == gone:
            return None
        self.age[root] = min(ages)
        return max(ages)


def about(component: Explained, identifiers: Iterable[Identifier]) -> tuple[Violation, ...]:
    """The rules that bound where these identifiers, or the profiles they are on, were concerned."""
    asked = set(identifiers)
    places = {component.home[i] for i in asked if i in component.home}
    return tuple(
        v
        for v in component.resolution.violations
        if v.identifier in asked
        or component.home.get(v.identifier) in places
        or component.set_home[v.identity_set] in places
        or places & set(v.apart)
    )


def between(component: Explained, one: Identifier, other: Identifier) -> tuple[Violation, ...]:
    """What keeps two identifiers of one component on two profiles, or one of them on none.

    The violations that name just these two profiles; without any (the two are only connected
    through others), those of the sets on the shortest path that would connect them.
    """
    places = {component.home.get(one), component.home.get(other)}
    named = [v for v in component.resolution.violations if set(v.apart) == places]
    if named:
        return tuple(named)
    path = shortest_path(component.carried, one, other) or ()
    sets = {step.by for step in path}
    return tuple(v for v in component.resolution.violations if v.identity_set in sets)
