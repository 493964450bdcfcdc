"""The identifiers and sets of some sightings as small integers in order of priority.

Numbering identifiers from the strongest (0) down makes "the lowest-priority identifier of a call"
simply its greatest number, and everything after this step works on integers.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter

from lake.identity.resolve.model import Identifier, Sighting
from lake.identity.resolve.rules import Rules

# Equal order happens only where one call is given twice; the identifiers keep even that total.
_ORDER = itemgetter(2, 3)
_SAME = itemgetter(2, 3, 0)


class Universe:
    """``sightings`` in order, each once; ``identifiers`` and ``types`` from the strongest down.

    Priority is (place of the type, type, value): within a type the value that sorts last is the
    weakest. ``kind[i]`` is the type's number of identifier ``i``; ``members[set]`` the identifier
    numbers of a set, ascending; ``bond[i]`` the override class of ``i`` (only where it has one).
    """

    __slots__ = ("bond", "identifiers", "kind", "members", "sightings", "types")

    def __init__(self, sightings: Iterable[Sighting], rules: Rules) -> None:
        # A row given twice is one sighting: at the mapping cap, folding it again could matter.
        self.sightings = [next(same) for _, same in groupby(sorted(sightings, key=_ORDER), _SAME)]
        carried = {sighting.identity_set: sighting.identifiers for sighting in self.sightings}
        rank, unlisted = rules.rank, len(rules.priority)
        distinct: set[Identifier] = set().union(*carried.values())
        self.identifiers = sorted(distinct, key=lambda i: (rank.get(i[0], unlisted), i))
        self.types = list(dict.fromkeys(i[0] for i in self.identifiers))
        place = {kind: n for n, kind in enumerate(self.types)}
        self.kind = [place[i[0]] for i in self.identifiers]
        number = {i: n for n, i in enumerate(self.identifiers)}
        numbered = number.__getitem__
        self.members = {
            key: sorted(set(map(numbered, identifiers))) for key, identifiers in carried.items()
        }
        self.bond: dict[int, int] = {}
        if rules.overrides is not None:
            bond = rules.overrides.bond
            self.bond = {n: bond[i] for i, n in number.items() if i in bond}

    def values_by_type(self) -> list[int]:
        """How many distinct values each type has, by type number."""
        counts = [0] * len(self.types)
        for kind in self.kind:
            counts[kind] += 1
        return counts
