"""One step of Segment's fold: a sighting meets the profiles that exist so far."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from lake.identity.resolve.growing import Growing
from lake.identity.resolve.model import Reason, Sighting
from lake.identity.resolve.rules import OnLimit, Rules
from lake.identity.resolve.universe import Universe


class Lost(NamedTuple):
    """An identifier (by number) that a call lost to a rule, and who owned it at that moment."""

    identifier: int
    reason: Reason
    rule: str
    owner: Growing | None


class Binding(NamedTuple):
    """A limit that can bind: ``most`` values of a type, within ``span`` microseconds or ever."""

    kind: int
    most: int
    span: int | None
    reason: Reason
    rule: str


class Broken(NamedTuple):
    """What a union would break: the first rule, all broken types, the new ones kept apart."""

    reason: Reason
    rule: str
    kinds: list[int]
    identifiers: frozenset[int]


class Fold:
    """All profiles so far. ``take`` sightings in order, then read ``parts`` and ``owners``.

    ``owners[i]`` is the part that identifier ``i`` was mapped to, ``merges`` are
    (into, absorbed, sighting) and ``mapped`` (identifier, part, sighting) in time.
    """

    def __init__(self, universe: Universe, rules: Rules) -> None:
        self.drops_lowest = rules.on_limit is OnLimit.DROP_LOWEST
        self.max_merges = rules.max_merges
        self.max_mappings = rules.max_mappings
        self.kind = universe.kind
        self.owners: list[Growing | None] = [None] * len(universe.identifiers)
        self.parts: list[Growing] = []
        self.merges: list[tuple[Growing, Growing, Sighting]] = []
        self.mapped: list[tuple[int, Growing, Sighting]] = []
        # A limit no smaller than the number of values there are cannot bind: not even counted.
        self.limits: list[Binding] = []
        for kind, (name, values) in enumerate(zip(universe.types, universe.counts, strict=True)):
            limit = rules.limit(name)
            if limit.count is not None and limit.count < values:
                self.limits.append(
                    Binding(kind, limit.count, limit.window.span, limit.reason, f"{name}: {limit}")
                )
        self.limit_of = {limit.kind: limit for limit in self.limits}
        self.bond = universe.bond
        self.foes = rules.overrides.foes if rules.overrides else {}
        self.bond_owner: dict[int, Growing] = {}

    def take(self, sighting: Sighting, ids: list[int]) -> tuple[Growing | None, list[Lost]]:
        """Resolve one sighting: the profile it resolves to, and what it lost on the way."""
        lost: list[Lost] = []
        if self.bond:
            self._join_bonds(sighting, ids, lost)
        while True:
            roots, new = self._matched(ids)
            if not new and len(roots) == 1:
                return next(iter(roots.values())), lost
            broken = self._broken(sighting.at, roots, new)
            if broken is None:
                break
            ids = self._without(ids, broken, lost)
            if not ids:
                return None, lost
        if len(roots) > 1 and (cap := self._cap(roots)):
            roots = self._unmerged(ids, cap, lost)
        return self._settled(sighting, roots, new, lost), lost

    def _matched(self, ids: Iterable[int]) -> tuple[dict[int, Growing], list[int]]:
        """The profiles that own one of the identifiers, by number, and the ones nobody owns."""
        roots: dict[int, Growing] = {}
        new = []
        owners = self.owners
        for i in ids:
            owner = owners[i]
            if owner is None:
                new.append(i)
            else:
                if owner.parent is not None:
                    owner = owners[i] = owner.root()
                roots[owner.number] = owner
        return roots, new

    # Limits and never_together.

    def _broken(self, at: int, roots: dict[int, Growing], new: list[int]) -> Broken | None:
        """The rules that the profile of all these would break; None where it breaks none."""
        over = self._exceeded(at, roots, new) if self.limits else []
        if not over and not self.foes:
            return None
        apart = self._meeting(roots, new) if self.foes else None
        if over:
            kinds = [limit.kind for limit in over]
            return Broken(over[0].reason, over[0].rule, kinds, apart or frozenset())
        if apart is not None:
            return Broken(Reason.NEVER_TOGETHER, "never_together", [], apart)
        return None

    def _exceeded(self, at: int, roots: dict[int, Growing], new: list[int]) -> list[Binding]:
        """The limits that the union would break, of the strongest type first.

        A type counts only if the union would hold more of it than each profile held before (and
        than each always_together class brings along), so what is over already blocks nothing.
        """
        fresh = [self.kind[i] for i in new]
        owners = roots.values()
        over = []
        for limit in self.limits:
            kind, most, span, _, _ = limit
            total = fresh.count(kind)
            if not total and len(owners) < 2:
                continue
            largest = 0
            for root in owners:
                held = root.counts.get(kind, 0) if span is None else root.held(kind, span, at)
                total += held
                largest = max(largest, held)
            if total > most and total > largest and total > self._largest_new_bond(kind, new):
                over.append(limit)
        return over

    def _largest_new_bond(self, kind: int, new: list[int]) -> int:
        """The most new values of one type that one always_together class brings (1 is none)."""
        if not self.bond:
            return 0
        sizes: dict[int, int] = {}
        for i in new:
            if self.kind[i] == kind and i in self.bond:
                sizes[self.bond[i]] = sizes.get(self.bond[i], 0) + 1
        most = max(sizes.values(), default=0)
        return most if most > 1 else 0

    def _meeting(self, roots: dict[int, Growing], new: list[int]) -> frozenset[int] | None:
        """None where no never_together pair would meet, else the new identifiers in such pairs."""
        fresh = {self.bond[i] for i in new if i in self.bond}
        offending = {i for i in new if i in self.bond and self._foe_in(self.bond[i], roots, fresh)}
        if offending:
            return frozenset(offending)
        # Any pair across two profiles is seen from both sides: the one with most may be left out.
        by_size = sorted(roots.values(), key=lambda root: len(root.bonds))
        if any(self._foe_in(bond, roots, fresh) for root in by_size[:-1] for bond in root.bonds):
            return frozenset()
        return None

    def _foe_in(self, bond: int, roots: dict[int, Growing], fresh: set[int]) -> bool:
        for foe in self.foes.get(bond, ()):
            owner = self.bond_owner.get(foe)
            if foe in fresh or (owner is not None and owner.root().number in roots):
                return True
        return False

    def _without(self, ids: list[int], broken: Broken, lost: list[Lost]) -> list[int]:
        """The identifiers that stay after the rules' ``on_limit`` chose one to drop."""
        victim = ids[-1]
        if not self.drops_lowest:
            victim = max(
                i
                for i in ids
                if self.owners[i] or self.kind[i] in broken.kinds or i in broken.identifiers
            )
        bond = self.bond.get(victim)
        gone = [victim] if bond is None else [i for i in ids if self.bond.get(i) == bond]
        for i in reversed(gone):
            lost.append(Lost(i, broken.reason, broken.rule, self.owners[i]))
        return [i for i in ids if i not in gone]

    # Caps.

    def _cap(self, roots: dict[int, Growing]) -> tuple[Reason, str] | None:
        """The cap that keeps these profiles from merging."""
        children = sum(root.children for root in roots.values()) + len(roots) - 1
        if children > self.max_merges:
            return Reason.MERGE_LIMIT, f"caps.merges: {self.max_merges}"
        if sum(root.mappings for root in roots.values()) > self.max_mappings:
            return Reason.MAPPING_LIMIT, f"caps.mappings: {self.max_mappings}"
        return None

    def _unmerged(
        self, ids: list[int], cap: tuple[Reason, str], lost: list[Lost]
    ) -> dict[int, Growing]:
        """Only the profile of the strongest owned identifier; the others' are lost to the cap."""
        owned = [(i, owner) for i in ids if (owner := self.owners[i]) is not None]
        chosen = owned[0][1]
        lost.extend(Lost(i, *cap, owner) for i, owner in reversed(owned) if owner is not chosen)
        return {chosen.number: chosen}

    # Create, add, merge.

    def _settled(
        self, sighting: Sighting, roots: dict[int, Growing], new: list[int], lost: list[Lost]
    ) -> Growing:
        """Merge the profiles into the oldest, or create one, and map the new identifiers to it."""
        if not roots:
            target = Growing(len(self.parts), new[0], sighting)
            self.parts.append(target)
        elif len(roots) == 1:
            (target,) = roots.values()
        else:
            target, *younger = (roots[number] for number in sorted(roots))
            for absorbed in younger:
                self.merges.append((target, absorbed, sighting))
                target.absorb(absorbed)
        room = max(self.max_mappings - target.mappings, 0)
        for i in new[:room]:
            self._map(i, target, sighting, lost)
        if len(new) > room:
            rule = f"caps.mappings: {self.max_mappings}"
            lost.extend(Lost(i, Reason.MAPPING_LIMIT, rule, None) for i in new[room:])
        return target

    def _map(self, i: int, target: Growing, sighting: Sighting, lost: list[Lost]) -> None:
        at = sighting.at
        self.owners[i] = target
        self.mapped.append((i, target, sighting))
        target.mappings += 1
        limit = self.limit_of.get(self.kind[i])
        if limit is not None:
            target.add(limit.kind, limit.span, at)
        if i in self.bond:
            bond = self.bond[i]
            if bond not in self.bond_owner and bond in self.foes:
                target.bonds.append(bond)
            self.bond_owner.setdefault(bond, target)
            self._report_override(i, target, at, lost)

    # always_together.

    def _join_bonds(self, sighting: Sighting, ids: list[int], lost: list[Lost]) -> None:
        """Map identifiers whose class is on a profile already, over every limit and cap."""
        for i in ids:
            if self.owners[i] is None and i in self.bond and self.bond[i] in self.bond_owner:
                self._map(i, self.bond_owner[self.bond[i]].root(), sighting, lost)

    def _report_override(self, i: int, target: Growing, at: int, lost: list[Lost]) -> None:
        """Say which limit or cap an identifier now breaks: only an override can make it so."""
        limit = self.limit_of.get(self.kind[i])
        if limit is not None and target.held(limit.kind, limit.span, at) > limit.most:
            lost.append(Lost(i, limit.reason, f"always_together over {limit.rule}", target))
        if target.mappings > self.max_mappings:
            rule = f"always_together over caps.mappings: {self.max_mappings}"
            lost.append(Lost(i, Reason.MAPPING_LIMIT, rule, target))
