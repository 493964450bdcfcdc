"""The fold's end state as a ``Resolution``."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import NamedTuple

from lake.identity.resolve.fold import Fold, Lost
from lake.identity.resolve.growing import Growing
from lake.identity.resolve.model import (
    Drop,
    Identifier,
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
        tuple(_sets(universe, last, final)),
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
    for into, absorbed, sighting in fold.merges:
        merges[into.place].append(Merge(names[into.founder], names[absorbed.founder], sighting))
    return tuple(
        [
            Profile(own[0].founder, own[0].created, tuple(ids), tuple(own), tuple(history))
            for ids, own, history in zip(identifiers, parts, merges, strict=True)
        ]
    )


def _sets(
    universe: Universe, last: Mapping[Hashable, Step], final: list[int]
) -> Iterator[SetOutcome]:
    """Each set goes where its last sighting went, with the reasons of that sighting."""
    names = universe.identifiers
    for key, members in universe.members.items():
        # Only a set without identifiers was never folded.
        _, part, lost = last[key] if members else (None, None, None)
        if lost:
            place = None if part is None else part.place
            reasons = {each.identifier: each.reason for each in lost}
            gone = tuple([Drop(names[i], reasons[i]) for i in members if final[i] != place])
            kept = tuple([names[i] for i in members if final[i] == place])
            yield SetOutcome(key, place, kept, gone)
        else:
            place = None if part is None else part.place
            yield SetOutcome(key, place, tuple([names[i] for i in members]), ())


def _violations(universe: Universe, losses: Iterable[Step]) -> Iterator[Violation]:
    for sighting, part, lost in losses:
        for identifier, reason, rule, owner in lost:
            apart: tuple[int, ...] = ()
            if part and owner and part.place != owner.place:
                apart = tuple(sorted((part.place, owner.place)))
            name = universe.identifiers[identifier]
            yield Violation(sighting.identity_set, sighting, name, reason, rule, apart)
