"""The history of a clean component: the fold with nothing to check.

Where no rule can bind (`is_clean`, and no ``always_together`` pair in it) a raw component is one
profile, and what is left to tell is how it came to be: which of its sets created a profile, and
which merged them. ``grown`` gives the ``Resolution`` that ``segment`` and ``components`` give, at a
fraction of the cost, from the first sighting of each set alone. Where nothing merged all that is to
be told is who founded the profile: ``founded``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from operator import itemgetter

from lake.identity.resolve.model import (
    Identifier,
    Mapped,
    Merge,
    Part,
    Profile,
    Resolution,
    SetOutcome,
    Sighting,
)
from lake.identity.resolve.rules import Rules, Strategy


def founded(carried: Sequence[Sequence[Identifier]], rules: Rules) -> tuple[int, Identifier]:
    """Who founded a clean component in which nothing merged: which of its sets, by what.

    ``carried``: the identifiers of each set, by first sighting. The strongest of the first set; so
    that whoever logs in on a device that was there first does not inherit the id of the person who
    used it before, under latest_wins the strongest unique one of the first set that has any.
    """
    if rules.strategy is Strategy.LATEST_WINS:
        for place, identifiers in enumerate(carried):
            if unique := [i for i in identifiers if rules.limit(i[0]).count == 1]:
                return place, min(unique, key=rules.strength)
    return 0, min(carried[0], key=rules.strength)


def grown(sightings: Iterable[Sighting], rules: Rules) -> Resolution:
    """The one profile of a clean component, none where no sighting has an identifier.

    Takes identifiers in any order and sightings too; of a set, its first sighting counts.
    """
    strength = rules.strength
    owner: dict[Identifier, int] = {}
    under: list[int] = []  # the older part that each part went into; itself while it stands
    parts: list[Part] = []
    merges: list[Merge] = []
    mapped: list[Mapped] = []
    first: dict[Hashable, tuple[tuple[Identifier, ...], int]] = {}
    for sighting in sorted(sightings, key=itemgetter(2, 3)):
        if sighting.identity_set in first or not sighting.identifiers:
            continue
        carried = tuple(sorted(set(sighting.identifiers), key=strength))
        roots = sorted({_root(under, owner[i]) for i in carried if i in owner})
        fresh = [i for i in carried if i not in owner]
        if not roots:
            roots = [len(parts)]
            under.append(roots[0])
            parts.append(Part(fresh[0], sighting))
        target, *younger = roots
        for absorbed in younger:
            under[absorbed] = target
            merges.append(Merge(parts[target].founder, parts[absorbed].founder, sighting))
        for i in fresh:
            owner[i] = target
            mapped.append(Mapped(i, parts[target].founder, sighting))
        first[sighting.identity_set] = carried, roots[-1]
    if not parts:
        return Resolution((), (), ())
    everything = tuple(sorted(owner, key=strength))
    profile = Profile(*parts[0], everything, tuple(parts), tuple(merges), tuple(mapped))
    sets = [
        SetOutcome(key, 0, carried, (), parts[home].founder)
        for key, (carried, home) in first.items()
    ]
    return Resolution((profile,), tuple(sets), ())


def _root(under: list[int], part: int) -> int:
    """The part that this one belongs to by now; what stands between is skipped from now on."""
    while (above := under[part]) != part:
        under[part] = under[above]
        part = above
    return part
