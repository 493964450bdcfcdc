"""The identifiers and sets of some sightings as small integers in order of priority.

Numbering identifiers from the strongest (0) down makes "the lowest-priority identifier of a call"
simply its greatest number, and everything after this step works on integers.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter

from lake.identity.resolve.model import Sighting
from lake.identity.resolve.rules import Rules

# Equal order happens only where one call is given twice; the identifiers keep even that total.
_ORDER = itemgetter(2, 3)
_SAME = itemgetter(2, 3, 0)


class Universe:
    """``sightings`` in order, each once; ``identifiers`` and ``types`` from the strongest down.

    Priority is (place of the type, type, value): within a type the value that sorts last is the
    weakest. ``kind[i]`` is the type's number of identifier ``i``; ``counts[kind]`` how many values
    a type has; ``members[set]`` the identifier numbers of a set, ascending; ``bond[i]`` the
    override class of ``i`` (only where it has one).
    """

    __slots__ = ("bond", "counts", "identifiers", "kind", "members", "sightings", "types")

    def __init__(self, sightings: Iterable[Sighting], rules: Rules) -> None:
        # A row given twice is one sighting: at the mapping cap, folding it again could matter.
        self.sightings = [next(same) for _, same in groupby(sorted(sightings, key=_ORDER), _SAME)]
        carried = {sighting.identity_set: sighting.identifiers for sighting in self.sightings}
        rank, unlisted = rules.rank, len(rules.priority)
        values: dict[str, list[str]] = {}
        for kind, value in set().union(*carried.values()):
            values.setdefault(kind, []).append(value)
        self.types = sorted(values, key=lambda kind: (rank.get(kind, unlisted), kind))
        self.identifiers = [(kind, value) for kind in self.types for value in sorted(values[kind])]
        self.counts = [len(values[kind]) for kind in self.types]
        self.kind = [n for n, count in enumerate(self.counts) for _ in range(count)]
        number = {i: n for n, i in enumerate(self.identifiers)}
        numbered = number.__getitem__
        self.members = {
            key: sorted(set(map(numbered, identifiers))) for key, identifiers in carried.items()
        }
        self.bond: dict[int, int] = {}
        if rules.overrides is not None:
            bond = rules.overrides.bond
            self.bond = {n: bond[i] for i, n in number.items() if i in bond}
