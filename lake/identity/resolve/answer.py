"""The fold's end state as a ``Resolution``."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

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

# What the fold did with one sighting: the profile it resolved to, and what it lost.
Step = tuple[Sighting, Growing | None, list[Lost]]


def answer(universe: Universe, fold: Fold, log: list[Step]) -> Resolution:
    """Number the profiles that stand by their creation, and look everything else up in them."""
    count = _number(fold.parts)
    final = [-1 if owner is None else owner.place for owner in fold.owners]
    return Resolution(
        _profiles(universe, fold, count, final),
        _sets(universe, log, final),
        tuple(_violations(universe, log)),
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


def _sets(universe: Universe, log: list[Step], final: list[int]) -> tuple[SetOutcome, ...]:
    """Each set goes where its last sighting went, with the reasons of that sighting."""
    last: dict[Hashable, Step] = {}
    for step in log:
        last[step[0].identity_set] = step
    names = universe.identifiers
    outcomes = []
    for key, members in universe.members.items():
        # Only a set without identifiers was never folded.
        part, lost = last[key][1:] if members else (None, [])
        place = None if part is None else part.place
        here = members
        gone: list[Drop] = []
        if lost:
            reasons = {each.identifier: each.reason for each in lost}
            gone = [Drop(names[i], reasons[i]) for i in members if final[i] != place]
            here = [i for i in members if final[i] == place]
        outcomes.append(SetOutcome(key, place, tuple([names[i] for i in here]), tuple(gone)))
    return tuple(outcomes)


def _violations(universe: Universe, log: list[Step]) -> Iterator[Violation]:
    for sighting, part, losses in log:
        for lost in losses:
            apart: tuple[int, ...] = ()
            if part and lost.owner and part.place != lost.owner.place:
                apart = tuple(sorted((part.place, lost.owner.place)))
            name = universe.identifiers[lost.identifier]
            yield Violation(sighting.identity_set, sighting, name, lost.reason, lost.rule, apart)
