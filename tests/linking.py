"""An independent judge of the strategy `latest_wins`: Adobe's linking rules, told a second time.

In a file of its own, because `tests.oracle` is what Segment documents and these are another
vendor's rules (Adobe Experience Platform, Identity Graph Linking Rules). Everything around them is
the oracle's: reading lines, blocked values, and the rows that users see.

Every two identifiers of a set are a link, as new as the last call considered that carries both.
Links are tried in this order: those of the component's latest call that has a link; the smaller
sum of priorities; the newer; the stronger identifiers. One is kept unless two values of a type of
limit 1 would be one person, a pair of `never_together` would meet, or the profile would have more
identifiers than the cap allows. `always_together` comes first and over all but itself. A set with
two values of such a type links nothing. Its profile is named by the identifier of such a type
that was seen first, else by the strongest of its first call.
"""

from __future__ import annotations

from itertools import combinations

from tests.oracle.judging import MAPPINGS, NEVER, Fold, Profile
from tests.oracle.reading import Call
from tests.oracle.settings import Id, IdSet

Link = tuple[Id, Id]
Groups = dict[Id, frozenset[Id]]


class Linking(Fold):
    """Profiles by links. A violation is noted at the last call considered of its set."""

    def decide(self, calls: list[Call]) -> None:
        linking = {call.ids: self.linking(call) for call in calls}
        last = {call.ids: n for n, call in enumerate(calls)}
        clashes = {ids: reason for ids, own in linking.items() if (reason := self.clash(own))}
        first = dict[Id, int]()
        for n, call in enumerate(calls):
            if call.ids not in clashes:
                first |= {id_: n for id_ in linking[call.ids] if id_ not in first}
        newest = dict[Link, int]()
        for ids in sorted(linking.keys() - clashes.keys(), key=lambda ids: last[ids]):
            newest |= dict.fromkeys(combinations(linking[ids], 2), last[ids])
        groups = self.bonded(calls, first)
        cuts = {
            link: why for link in self.ordered(newest, groups) if (why := self.cut(link, groups))
        }
        for group in set(groups.values()):
            founder = min(group, key=lambda i: (not self.unique(i[0]), first[i], self.rank(i)))
            self.owner |= dict.fromkeys(group, Profile(0, [founder]))
        for ids, own in linking.items():
            together = [] if ids in clashes else [i for i in own if groups[i] == groups[own[0]]]
            for id_ in (i for i in own if i not in together):
                reason = clashes.get(ids) or cuts[own[0], id_]
                self.note(calls[last[ids]], [id_], reason)
            self.kept[ids] = together

    def rank(self, id_: Id) -> tuple[int, str, str]:
        return self.settings.rank(id_)

    def unique(self, type_: str) -> bool:
        return self.settings.rule(type_).limit == 1

    def bonded(self, calls: list[Call], first: dict[Id, int]) -> Groups:
        """Each identifier with those it always goes with; what that breaks is noted."""
        groups = {id_: frozenset([id_]) for id_ in first}
        met = dict[IdSet, Id]()
        for id_ in sorted(first, key=lambda i: (first[i], self.rank(i))):
            mate = met.setdefault(self.settings.bonds.get(id_, frozenset([id_])), id_)
            if mate != id_:
                if reason := self.refusal(groups[mate], groups[id_]):
                    self.note(calls[first[id_]], [id_], reason)
                unite(groups, mate, id_)
        return groups

    def ordered(self, newest: dict[Link, int], groups: Groups) -> list[Link]:
        component, latest = dict(groups), dict[IdSet, int]()
        for link in newest:
            unite(component, *link)
        for (one, _), when in newest.items():
            latest[component[one]] = max(when, latest.get(component[one], 0))

        def turn(link: Link) -> tuple[object, ...]:
            one, other = map(self.rank, link)
            late = newest[link] == latest[component[link[0]]]
            return not late, one[0] + other[0], -newest[link], one, other

        return sorted(newest, key=turn)

    def cut(self, link: Link, groups: Groups) -> str | None:
        """Unite the groups of a link, or say why they may not be."""
        one, other = (groups[id_] for id_ in link)
        reason = None if one == other else self.refusal(one, other)
        if not reason:
            unite(groups, *link)
        return reason

    def clash(self, ids: list[Id]) -> str | None:
        """Why a set is not used: two values of a type that must be one person's only."""
        for type_ in dict.fromkeys(type_ for type_, _ in ids):
            own = [id_ for id_ in ids if id_[0] == type_]
            people = {self.settings.bonds.get(id_, frozenset([id_])) for id_ in own}
            if self.unique(type_) and len(people) > 1:
                return self.settings.rule(type_).reason
        return None

    def refusal(self, one: IdSet, other: IdSet) -> str | None:
        """Why two groups may not be one profile."""
        if self.settings.hostile(one | other):
            return NEVER
        both = {type_ for type_, _ in one} & {type_ for type_, _ in other}
        for type_ in sorted(both, key=lambda t: self.rank((t, ""))):
            if self.unique(type_):
                return self.settings.rule(type_).reason
        return MAPPINGS if len(one | other) > self.settings.mappings else None


def unite(groups: Groups, one: Id, other: Id) -> None:
    both = groups[one] | groups[other]
    if groups[one] != groups[other]:
        groups |= dict.fromkeys(both, both)
