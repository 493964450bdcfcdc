"""Groups of identifiers that grow link by link and refuse a link that breaks a rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lake.identity.resolve.forest import Forest
from lake.identity.resolve.model import Reason
from lake.identity.resolve.rules import Rules
from lake.identity.resolve.universe import Universe


class Cut(NamedTuple):
    """Why a link was not kept."""

    reason: Reason
    rule: str


class Groups:
    """Identifiers (by number), each alone at first. A unique type has a limit of 1."""

    def __init__(self, universe: Universe, rules: Rules) -> None:
        self.universe = universe
        self.rules = rules
        self.forest = Forest(len(universe.identifiers))
        self.unique: dict[int, Cut] = {}  # by type number, and what is said where two would meet
        for kind, name in enumerate(universe.types):
            if (limit := rules.limit(name)).count == 1:
                self.unique[kind] = Cut(limit.reason, f"{name}: {limit}")
        self.foes = rules.overrides.foes if rules.overrides else {}
        # Of each root: its unique types, and the override classes that must not meet others.
        self.kinds = [{kind} if kind in self.unique else set[int]() for kind in universe.kind]
        self.bonds: dict[int, set[int]] = {}
        for i, bond in universe.bond.items():
            if bond in self.foes:
                self.bonds[i] = {bond}

    def clash(self, ids: list[int]) -> Cut | None:
        """Whether a set has two values of a unique type that no override makes one person."""
        if len(ids) < 2:
            return None
        kinds, bonds = self.universe.kind, self.universe.bond
        seen: dict[int, int] = {}
        for i in ids:
            kind = kinds[i]
            if kind in self.unique:
                person = bonds.get(i, -1 - i)
                if seen.setdefault(kind, person) != person:
                    return self.unique[kind]
        return None

    def link(self, one: int, other: int) -> Cut | None:
        """Put two identifiers into one group, or say which rule that would break."""
        one, other = self.forest.root(one), self.forest.root(other)
        if one == other:
            return None
        cut = self._meeting(one, other) or self._broken_limit(one, other)
        if cut is None:
            self._join(one, other)
        return cut

    def join_bonds(self, first: Mapping[int, int]) -> Iterator[tuple[int, Cut]]:
        """Join the ``always_together`` classes, members in the order they were first seen.

        Yields what joins although it breaks a rule: the later identifier and that rule.
        """
        members: dict[int, int] = {}
        for i in sorted(first, key=lambda i: (first[i], i)):
            bond = self.universe.bond.get(i)
            if bond is None:
                continue
            one, other = self.forest.root(members.setdefault(bond, i)), self.forest.root(i)
            if one != other:
                cut = self._broken_limit(one, other)
                self._join(one, other)
                if cut is not None:
                    yield i, Cut(cut.reason, f"always_together over {cut.rule}")

    def _broken_limit(self, one: int, other: int) -> Cut | None:
        both = self.kinds[one] & self.kinds[other]
        if both:
            return self.unique[min(both)]
        if self.forest.size[one] + self.forest.size[other] > self.rules.max_mappings:
            return Cut(Reason.MAPPING_LIMIT, f"caps.mappings: {self.rules.max_mappings}")
        return None

    def _meeting(self, one: int, other: int) -> Cut | None:
        """Whether a never_together pair would meet; looks through the smaller side only."""
        mine, theirs = self.bonds.get(one), self.bonds.get(other)
        if not mine or not theirs:
            return None
        fewer, more = (mine, theirs) if len(mine) <= len(theirs) else (theirs, mine)
        if any(foe in more for bond in fewer for foe in self.foes[bond]):
            return Cut(Reason.NEVER_TOGETHER, "never_together")
        return None

    def _join(self, one: int, other: int) -> None:
        root, gone = self.forest.join(one, other)
        if self.kinds[gone]:
            self.kinds[root] = self.kinds[root] | self.kinds[gone]
        if not self.bonds:
            return
        mine, theirs = self.bonds.get(root, set()), self.bonds.pop(gone, set())
        if mine or theirs:
            fewer, more = (mine, theirs) if len(mine) <= len(theirs) else (theirs, mine)
            more |= fewer
            self.bonds[root] = more
