"""A profile while the fold builds it, and the counts that its limits need."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterable

from lake.identity.resolve.model import Sighting


class Growing:
    """One created part. Once absorbed, ``parent`` leads to the older profile it went into.

    ``number``: place in creation order. ``counts``: values by type number, for limits that count
    for ever. ``times``: when each value was added, ascending, for limits with a window.
    ``mappings``: identifiers it owns. ``children``: profiles merged in, also through others.
    ``place``: among the profiles that stand, once all is folded.
    ``bonds``: the override classes on it that must not meet another.
    """

    __slots__ = (
        "bonds",
        "children",
        "counts",
        "created",
        "founder",
        "mappings",
        "number",
        "parent",
        "place",
        "times",
    )

    def __init__(self, number: int, founder: int, created: Sighting) -> None:
        self.number = number
        # None while it stands, and not itself: a cycle would wait for the garbage collector.
        self.parent: Growing | None = None
        self.founder = founder
        self.created = created
        self.counts: dict[int, int] = {}
        self.times: dict[int, list[int]] = {}
        self.place = 0
        self.mappings = 0
        self.children = 0
        self.bonds: list[int] = []

    def root(self) -> Growing:
        """The profile this one has become part of; itself while it stands."""
        node = self
        while (parent := node.parent) is not None:
            if parent.parent is not None:
                node.parent = parent.parent
            node = parent
        return node

    def held(self, kind: int, span: int | None, at: int) -> int:
        """How many values of a type count against its limit at a time; ``span`` None: all."""
        if span is None:
            return self.counts.get(kind, 0)
        times = self.times.get(kind)
        return len(times) - bisect_right(times, at - span) if times else 0

    def add(self, kind: int, span: int | None, at: int) -> None:
        """Count one more value of a limited type."""
        if span is None:
            self.counts[kind] = self.counts.get(kind, 0) + 1
        else:
            insort(self.times.setdefault(kind, []), at)

    def absorb(self, younger: Growing) -> None:
        """Take over a younger profile; the shorter list of times goes into the longer."""
        younger.parent = self
        self.mappings += younger.mappings
        self.children += younger.children + 1
        for kind, count in younger.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count
        for kind, theirs in younger.times.items():
            self.times[kind] = _merged(self.times.get(kind, []), theirs)
        if len(younger.bonds) > len(self.bonds):
            self.bonds, younger.bonds = younger.bonds, self.bonds
        self.bonds.extend(younger.bonds)


def _merged(one: list[int], other: list[int]) -> list[int]:
    longer, shorter = (one, other) if len(one) >= len(other) else (other, one)
    _insert_all(longer, shorter)
    return longer


def _insert_all(into: list[int], times: Iterable[int]) -> None:
    for at in times:
        insort(into, at)
