"""Who is who: sightings in order, folded one by one, and the rows that users read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from .extracting import is_blocked
from .reading import DECODER, Call, Reading, read
from .settings import WINDOW_DAYS, Id, Identifier, IdSet, Line, Settings

Row = dict[str, Any]
Added = Mapping[Id, datetime]
BLOCKED, NEVER = "ID value blocked", "Identifiers kept apart by an override"
MERGES, MAPPINGS = "Profile merge limit exceeded", "Identifier mapping limit exceeded"


class Violation(NamedTuple):
    """An identifier that did not link: whose call (the first of its set that day), and why."""

    identity_set: IdSet
    day: date
    call: str
    id: Id
    reason: str


@dataclass
class Profile:
    """`parts` are its own founder and then those of the profiles merged into it."""

    born: int
    parts: list[Id]
    added: dict[Id, datetime] = field(default_factory=dict)


@dataclass
class Fold:
    """Segment's rule, with its limits or, for `components`, without.

    `owner` of each mapped identifier; `kept` identifiers of a set when last considered, strongest
    first; `graph` as id_graph_updates: (founder, canonical founder, call).
    """

    settings: Settings
    owner: dict[Id, Profile] = field(default_factory=dict)
    kept: dict[IdSet, list[Id]] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    graph: list[tuple[Id, Id, str]] = field(default_factory=list)

    def decide(self, calls: list[Call]) -> None:
        """Find all this from the calls that are considered, in order."""
        self.limited = {"segment": True, "components": False}[self.settings.strategy]
        for call in calls:
            self.take(call)

    def note(self, call: Call, ids: Iterable[Id], reason: str) -> None:
        where = call.ids, call.at.date(), call.message_id
        self.violations += [Violation(*where, id_, reason) for id_ in ids]

    def linking(self, call: Call) -> list[Id]:
        """The identifiers that may link, the strongest first; of the others a note is taken."""
        blocked = {id_ for id_ in call.ids if is_blocked(id_, self.settings)}
        self.note(call, blocked, BLOCKED)
        return sorted(call.ids - blocked, key=self.settings.rank)

    def take(self, call: Call) -> None:
        """One call: match, drop and retry while a rule is broken, then create, add or merge."""
        ids = self.linking(call)
        for id_ in ids:  # what always goes with an identifier of some profile, goes there first
            mates = [m for m in self.settings.bonds.get(id_, ()) if m in self.owner]
            if mates and id_ not in self.owner:
                self.add(id_, self.owner[mates[0]], call)
        while breach := self.broken(ids, call.at):
            reason, droppable = breach
            dropped = max(droppable, key=self.settings.rank)
            gone = self.settings.bonds.get(dropped, {dropped})
            self.note(call, gone & set(ids), reason)
            ids = [id_ for id_ in ids if id_ not in gone]
        self.kept[call.ids] = []
        if not ids:
            return
        if not (profile := self.merged(ids, call)):
            profile = Profile(len(self.graph), [ids[0]])
            self.graph.append((ids[0], ids[0], call.message_id))
        for id_ in (id_ for id_ in ids if id_ not in self.owner):
            if len(profile.added) >= self.settings.mappings and self.limited:
                self.note(call, [id_], MAPPINGS)
            else:
                self.add(id_, profile, call)
        self.kept[call.ids] = [id_ for id_ in ids if self.owner.get(id_) is profile]

    def add(self, id_: Id, profile: Profile, call: Call) -> None:
        """Map an identifier. Only an override can make that break a rule, and that is noted."""
        self.owner[id_], profile.added[id_] = profile, call.at
        if id_ in self.settings.bonds and self.limited:
            rule, full = self.settings.rule(id_[0]), len(profile.added) > self.settings.mappings
            self.note(call, [id_] * exceeds(rule, call.at, profile.added), rule.reason)
            self.note(call, [id_] * full, MAPPINGS)

    def matches(self, ids: list[Id]) -> list[Profile]:
        """The profiles that own one of the identifiers, oldest first."""
        owners = {owner.born: owner for id_ in ids if (owner := self.owner.get(id_))}
        return [owners[born] for born in sorted(owners)]

    def broken(self, ids: list[Id], now: datetime) -> tuple[str, list[Id]] | None:
        """Why the final profile may not be, and what may be dropped; None where it may be.

        It may have more values of a type than the limit only where one of its profiles or one bond
        of the overrides has as many. Where nothing is added or merged, nothing is broken.
        """
        profiles, new = self.matches(ids), {id_: now for id_ in ids if id_ not in self.owner}
        if not new and len(profiles) < 2:
            return None
        parts = [profile.added for profile in profiles]
        final = {id_: at for part in parts for id_, at in part.items()} | new
        bonds = [self.settings.bonds.get(id_, frozenset()) & new.keys() for id_ in new]
        parts += [dict.fromkeys(bond, now) for bond in bonds if len(bond) > 1]
        types = sorted({type_ for type_, _ in final}, key=lambda t: self.settings.rank((t, "")))
        rules = map(self.settings.rule, types if self.limited else ())
        over = [rule for rule in rules if exceeds(rule, now, final, parts)]
        hostile = self.settings.hostile(final.keys())
        if not over and not hostile:
            return None
        if self.settings.on_limit == "drop_conflict":  # new ones that break a rule; what matched
            able = hostile.union(id_ for id_ in ids if id_[0] in [rule.type for rule in over])
            ids = [id_ for id_ in ids if id_ in self.owner or id_ in able]
        return over[0].reason if over else NEVER, ids

    def merged(self, ids: list[Id], call: Call) -> Profile | None:
        """Whose the call is, if matched: the oldest's with all others, at a cap the strongest's."""
        profiles = self.matches(ids)
        if len(profiles) < 2:
            return profiles[0] if profiles else None
        oldest, *others = profiles
        over = sum(len(profile.parts) for profile in profiles) - 1 > self.settings.merges
        full = sum(len(profile.added) for profile in profiles) > self.settings.mappings
        if self.limited and (over or full):
            home = next(self.owner[id_] for id_ in ids if id_ in self.owner)
            lost = [id_ for id_ in ids if self.owner.get(id_, home) is not home]
            self.note(call, lost, MERGES if over else MAPPINGS)
            return home
        for other in others:
            self.graph += [(part, oldest.parts[0], call.message_id) for part in other.parts]
            oldest.parts += other.parts
            oldest.added |= other.added
            self.owner |= dict.fromkeys(other.added, oldest)
        return oldest


def exceeds(rule: Identifier, now: datetime, final: Added, parts: Iterable[Added] = ()) -> bool:
    """Whether there are more values of a type than its limit and than any of the parts has."""
    days, counts = WINDOW_DAYS.get(rule.window), list[int]()
    for added in (final, *parts):
        times = [at for (type_, _), at in added.items() if type_ == rule.type]
        counts.append(sum(days is None or now - at < timedelta(days=days) for at in times))
    return rule.limit is not None and counts[0] > max([rule.limit, *counts[1:]])


@dataclass(frozen=True)
class World:
    """All that follows from the lines. Rows are sorted by their keys; times are UTC."""

    reading: Reading
    violations: list[Violation]  # in the order they arose
    graph: list[tuple[Id, Id, str]]  # founder, canonical founder, message id
    set_profiles: dict[IdSet, str | None]  # None: nothing of the set links
    event_profiles: dict[str, str | None]  # by message id; None: unresolved
    profiles: list[Row]
    profile_identifiers: list[Row]
    profile_traits: list[Row]


def profile_id(founder: Id, space: str) -> str:
    return sha256("\0".join(("profile-lake/1", space, *founder)).encode()).hexdigest()[:32]


def judge(lines: Iterable[Line], settings: Settings, rule: type[Fold] = Fold) -> World:
    """The whole truth about some landed lines under some rules."""
    reading, result, first = read(lines, settings), rule(settings), dict[Any, Call]()
    for call in reading.calls:  # of each set on each day the first is considered
        first.setdefault((call.ids, call.at.date()), call)
    result.decide(list(first.values()))
    owner = {i: profile_id(each.parts[0], settings.space) for i, each in result.owner.items()}
    owned, members = defaultdict[str, list[Id]](list), defaultdict[str, list[Call]](list)
    carrying = defaultdict[Id, list[Call]](list)
    # The final profile of a set's strongest kept identifier.
    set_profiles = {s: owner[ids[0]] if ids else None for s, ids in result.kept.items() if s}
    for call in reading.calls:
        for id_ in call.ids:
            carrying[id_].append(call)
        if profile := set_profiles.get(call.ids):
            members[profile].append(call)
    profiles, identifiers, traits = list[Row](), list[Row](), list[Row]()
    for i in sorted(owner):
        owned[owner[i]].append(i)
        row = {"type": i[0], "value": i[1], "profile_id": owner[i], **span(carrying[i])}
        identifiers.append(row)
    for profile, calls in sorted(members.items()):
        ids = {t: [v for _, v in own] for t, own in groupby(owned[profile], key=itemgetter(0))}
        told = told_traits(calls)
        plain = {t: DECODER.decode(v) if v[0] == '"' else v for t, (v, _) in told.items()}
        profiles.append({"profile_id": profile, **span(calls), "identifiers": ids, "traits": plain})
        for trait, (value, message_id) in told.items():
            row = {"trait": trait, "value": value, "message_id": message_id}
            traits.append({"profile_id": profile, **row})
    events = {call.message_id: set_profiles.get(call.ids) for call in reading.calls}
    found = result.violations, result.graph, set_profiles, events
    return World(reading, *found, profiles, identifiers, traits)


def span(calls: list[Call]) -> Row:
    return {"first_seen": calls[0].at, "last_seen": calls[-1].at, "calls": len(calls)}


def told_traits(calls: list[Call]) -> dict[str, tuple[str, str]]:
    """The latest text of each trait of identify calls, and which call's; null removes it."""
    latest: dict[str, tuple[str, str]] = {}
    for call in calls:
        if call.type == "identify":
            latest |= {trait: (text, call.message_id) for trait, text in call.traits.items()}
    return {trait: told for trait, told in sorted(latest.items()) if told[0] != "null"}
