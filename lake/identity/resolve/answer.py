"""The fold's end state as a ``Resolution``."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import chain
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
        tuple(_sets(universe, last, final, _first_parts(fold, last, losses))),
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


def _first_parts(
    fold: Fold, last: Mapping[Hashable, Step], losses: Iterable[Step]
) -> dict[tuple[Hashable, int], int]:
    """The founder's number of the part a set had first, by the set and the place of its profile.

    Of a sighting that merged, the youngest that it merged.
    """
    # Those of one sighting stand by age, so the youngest stays.
    merged = {(s.identity_set, s.order): absorbed for _, absorbed, s in fold.merges}
    first: dict[tuple[Hashable, int], int] = {}
    # A set's steps but the last all lost something.
    for step in chain(losses, last.values()):
        sighting, profile, _ = step
        if profile is not None:
            part = merged.get((sighting.identity_set, sighting.order), profile)
            first.setdefault((sighting.identity_set, profile.place), part.founder)
    return first


def _sets(
    universe: Universe,
    last: Mapping[Hashable, Step],
    final: list[int],
    first_parts: Mapping[tuple[Hashable, int], int],
) -> Iterator[SetOutcome]:
    """Each set goes where its last sighting went, with the reasons of that sighting."""
    names = universe.identifiers
    for key, members in universe.members.items():
        # Only a set without identifiers was never folded.
        _, part, lost = last[key] if members else (None, None, None)
        place = None if part is None else part.place
        first = None if place is None else names[first_parts[key, place]]
        if lost:
            reasons = {each.identifier: each.reason for each in lost}
            gone = tuple([Drop(names[i], reasons[i]) for i in members if final[i] != place])
            kept = tuple([names[i] for i in members if final[i] == place])
            yield SetOutcome(key, place, kept, gone, first)
        else:
            yield SetOutcome(key, place, tuple([names[i] for i in members]), (), first)


def _violations(universe: Universe, losses: Iterable[Step]) -> Iterator[Violation]:
    for sighting, part, lost in losses:
        for identifier, reason, rule, owner in lost:
            apart: tuple[int, ...] = ()
            if part and owner and part.place != owner.place:
                apart = tuple(sorted((part.place, owner.place)))
            name = universe.identifiers[identifier]
            yield Violation(sighting.identity_set, sighting, name, reason, rule, apart)
