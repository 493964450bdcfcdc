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
    index = {part.number: n for n, part in enumerate(_standing(fold))}
    final = [-1 if owner is None else index[owner.root().number] for owner in fold.owners]
    return Resolution(
        _profiles(universe, fold, index, final),
        _sets(universe, log, index, final),
        tuple(_violations(universe, log, index)),
    )


def _standing(fold: Fold) -> Iterator[Growing]:
    return (part for part in fold.parts if part.parent is part)


def _profiles(
    universe: Universe, fold: Fold, index: dict[int, int], final: list[int]
) -> tuple[Profile, ...]:
    """One profile for each part that stands. Identifiers without an owner are on none."""
    names = universe.identifiers
    identifiers: list[list[Identifier]] = [[] for _ in index]
    parts: list[list[Part]] = [[] for _ in index]
    merges: list[list[Merge]] = [[] for _ in index]
    for name, profile in zip(names, final, strict=True):
        if profile >= 0:
            identifiers[profile].append(name)
    for part in fold.parts:
        parts[index[part.root().number]].append(Part(names[part.founder], part.created))
    for into, absorbed, sighting in fold.merges:
        merges[index[into.root().number]].append(
            Merge(names[into.founder], names[absorbed.founder], sighting)
        )
    return tuple(
        Profile(*own[0], tuple(identifiers[n]), tuple(own), tuple(merges[n]))
        for n, own in enumerate(parts)
    )


def _sets(
    universe: Universe, log: list[Step], index: dict[int, int], final: list[int]
) -> tuple[SetOutcome, ...]:
    """Each set goes where its last sighting went, with the reasons of that sighting."""
    last: dict[Hashable, Step] = {s.identity_set: (s, None, []) for s in universe.sightings}
    last.update((step[0].identity_set, step) for step in log)
    names = universe.identifiers
    outcomes = []
    for key, (_, part, lost) in last.items():
        profile = None if part is None else index[part.root().number]
        here = universe.members[key]
        gone: tuple[Drop, ...] = ()
        if lost:
            reasons = {each.identifier: each.reason for each in lost}
            gone = tuple([Drop(names[i], reasons[i]) for i in here if final[i] != profile])
            here = [i for i in here if final[i] == profile]
        outcomes.append(SetOutcome(key, profile, tuple([names[i] for i in here]), gone))
    return tuple(outcomes)


def _violations(universe: Universe, log: list[Step], index: dict[int, int]) -> Iterator[Violation]:
    for sighting, profile, losses in log:
        for lost in losses:
            sides = {index[p.root().number] for p in (profile, lost.owner) if p is not None}
            yield Violation(
                sighting.identity_set,
                sighting,
                universe.identifiers[lost.identifier],
                lost.reason,
                lost.rule,
                tuple(sorted(sides)) if len(sides) > 1 else (),
            )
