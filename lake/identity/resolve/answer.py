"""The fold's end state as a ``Resolution``."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import NamedTuple

from lake.identity.resolve.fold import Fold, Lost
from lake.identity.resolve.growing import Growing
from lake.identity.resolve.model import (
    Drop,
    Identifier,
    Mapped,
    Merge,
    Part,
    Profile,
    Resolution,
    SetOutcome,
    Sighting,
    Violation,
)
from lake.identity.resolve.universe import Universe


class Step(NamedTuple):
    """What the fold did with one sighting: the profile it resolved to, and what it lost."""

    sighting: Sighting
    profile: Growing | None
    lost: list[Lost]


def answer(
    universe: Universe, fold: Fold, last: Mapping[Hashable, Step], losses: Iterable[Step]
) -> Resolution:
    """Number the profiles that stand by their creation, and look everything else up in them.

    ``last`` step of each set with identifiers; ``losses``: the steps that lost any, in order.
    """
    count = _number(fold.parts)
    final = [-1 if owner is None else owner.place for owner in fold.owners]
    return Resolution(
        _profiles(universe, fold, count, final),
        tuple(_sets(universe, last, final, _FirstParts(fold, losses))),
        tuple(_violations(universe, losses)),
    )


def _number(parts: list[Growing]) -> int:
    """Give every part the place of its profile; parts come by creation, so parents come first."""
    count = 0
    for part in parts:
        if part.parent is None:
            part.place = count
            count += 1
        else:
            part.place = part.parent.place
    return count


def _profiles(universe: Universe, fold: Fold, count: int, final: list[int]) -> tuple[Profile, ...]:
    """One profile for each part that stands. Identifiers without an owner are on none."""
    names = universe.identifiers
    identifiers: list[list[Identifier]] = [[] for _ in range(count)]
    parts: list[list[Part]] = [[] for _ in range(count)]
    merges: list[list[Merge]] = [[] for _ in range(count)]
    for name, place in zip(names, final, strict=True):
        if place >= 0:
            identifiers[place].append(name)
    for part in fold.parts:
        parts[part.place].append(Part(names[part.founder], part.created))
    mapped: list[list[Mapped]] = [[] for _ in range(count)]
    for i, part, sighting in fold.mapped:
        mapped[part.place].append(Mapped(names[i], names[part.founder], sighting))
    for into, absorbed, sighting in fold.merges:
        merges[into.place].append(Merge(names[into.founder], names[absorbed.founder], sighting))
    return tuple(
        [
            Profile(
                own[0].founder, own[0].created, tuple(ids), tuple(own), tuple(history), tuple(came)
            )
            for ids, own, history, came in zip(identifiers, parts, merges, mapped, strict=True)
        ]
    )


class _FirstParts:
    """The part a set had first in the profile it ended in; of a sighting that merged, the youngest
    that it merged.
    """

    def __init__(self, fold: Fold, losses: Iterable[Step]) -> None:
        # Those of one sighting stand by age, so the youngest stays.
        self.merged = {(s.identity_set, s.order): absorbed for _, absorbed, s in fold.merges}
        # A set's steps but the last all lost something: so the others had no part before.
        self.before: dict[tuple[Hashable, int], Growing] = {}
        for step in losses:
            if step.profile is not None:
                place = step.sighting.identity_set, step.profile.place
                self.before.setdefault(place, self._of(step.sighting, step.profile))

    def of(self, sighting: Sighting, profile: Growing) -> Growing:
        """The first part of a set, by its last step."""
        earlier = self.before.get((sighting.identity_set, profile.place)) if self.before else None
        return earlier or self._of(sighting, profile)

    def _of(self, sighting: Sighting, profile: Growing) -> Growing:
        if not self.merged:
            return profile
        return self.merged.get((sighting.identity_set, sighting.order), profile)


def _sets(
    universe: Universe, last: Mapping[Hashable, Step], final: list[int], first: _FirstParts
) -> Iterator[SetOutcome]:
    """Each set goes where its last sighting went, with the reasons of that sighting."""
    names = universe.identifiers
    for key, members in universe.members.items():
        if not members:  # never folded
            yield SetOutcome(key, None, (), (), None)
            continue
        sighting, part, lost = last[key]
        place = None if part is None else part.place
        founder = None if part is None else names[first.of(sighting, part).founder]
        if lost:
            reasons = {each.identifier: each.reason for each in lost}
            gone = tuple([Drop(names[i], reasons[i]) for i in members if final[i] != place])
            kept = tuple([names[i] for i in members if final[i] == place])
            yield SetOutcome(key, place, kept, gone, founder)
        else:
            yield SetOutcome(key, place, tuple([names[i] for i in members]), (), founder)


def _violations(universe: Universe, losses: Iterable[Step]) -> Iterator[Violation]:
    for sighting, part, lost in losses:
        for identifier, reason, rule, owner in lost:
            apart: tuple[int, ...] = ()
            if part and owner and part.place != owner.place:
                apart = tuple(sorted((part.place, owner.place)))
            name = universe.identifiers[identifier]
            yield Violation(sighting.identity_set, sighting, name, reason, rule, apart)
