"""Who is who: sightings in order, folded one by one, and the rows that users read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple

from .extracting import is_blocked
from .reading import DECODER, Call, Reading, read
from .settings import WINDOW_DAYS, Id, Identifier, IdSet, Line, Settings

Row = dict[str, Any]
BLOCKED, LIMIT = "ID value blocked", "Identifier value limit exceeded"
TIME_LIMIT = "Identifier value time limit exceeded"
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
class Resolution:
    """`owner` of each mapped identifier; `kept` identifiers of a set when last considered,
    strongest first; `graph` as id_graph_updates: (founder, canonical founder, call)."""

    owner: dict[Id, Profile] = field(default_factory=dict)
    kept: dict[IdSet, list[Id]] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    graph: list[tuple[Id, Id, str]] = field(default_factory=list)


def profile_id(founder: Id, space: str) -> str:
    return sha256("\0".join(("profile-lake/1", space, *founder)).encode()).hexdigest()[:32]


def resolution(calls: list[Call], settings: Settings) -> Resolution:
    """The profiles of calls in order, of which the first of each set on each day is considered;
    only Segment's fold, with its limits or without, is told here."""
    if settings.strategy not in ("segment", "components"):
        raise ValueError(f"no oracle for the strategy {settings.strategy}")
    result, first = Resolution(), dict[tuple[IdSet, date], Call]()
    for call in calls:
        first.setdefault((call.ids, call.order(settings)[0].date()), call)
    for call in first.values():
        ids = sorted(call.ids, key=settings.rank)
        for blocked in (id_ for id_ in ids if is_blocked(id_, settings)):
            note(result, call, blocked, BLOCKED, settings)
        fold(call, [id_ for id_ in ids if not is_blocked(id_, settings)], result, settings)
    return result


def note(result: Resolution, call: Call, id_: Id, reason: str, settings: Settings) -> None:
    where = call.ids, call.order(settings)[0].date(), call.message_id
    result.violations.append(Violation(*where, id_, reason))


def fold(call: Call, ids: list[Id], result: Resolution, settings: Settings) -> None:
    """One call: match, drop and retry while a limit is broken, then create, add or merge."""
    now, free = call.order(settings)[0], settings.strategy == "components"
    while not free and (broken := broken_rules(ids, now, result, settings)):
        able = ids
        if settings.on_limit == "drop_conflict":  # new values of broken types, and what matched
            types = [rule.type for rule in broken]
            able = [id_ for id_ in ids if id_ in result.owner or id_[0] in types]
        dropped = max(able, key=settings.rank)
        ids = [id_ for id_ in ids if id_ != dropped]
        reason = LIMIT if broken[0].window == "ever" else TIME_LIMIT
        note(result, call, dropped, reason, settings)
    result.kept[call.ids] = []
    if not ids:
        return
    profile = merged(call, ids, result, settings) or Profile(len(result.graph), [ids[0]])
    if not profile.added:
        result.graph.append((ids[0], ids[0], call.message_id))
    for id_ in (id_ for id_ in ids if id_ not in result.owner):
        if len(profile.added) >= settings.mappings and not free:
            note(result, call, id_, MAPPINGS, settings)
        else:
            result.owner[id_], profile.added[id_] = profile, now
    result.kept[call.ids] = [id_ for id_ in ids if result.owner.get(id_) is profile]


def matches(ids: list[Id], result: Resolution) -> list[Profile]:
    """The profiles that own one of the identifiers, oldest first."""
    owners = {owner.born: owner for id_ in ids if (owner := result.owner.get(id_))}
    return [owners[born] for born in sorted(owners)]


def broken_rules(
    ids: list[Id], now: datetime, result: Resolution, settings: Settings
) -> list[Identifier]:
    """The types, strongest first, of which the final profile would have too many values; a call
    that adds neither an identifier nor a merge breaks nothing."""
    profiles = matches(ids, result)
    new = [id_ for id_ in ids if id_ not in result.owner]
    if not new and len(profiles) < 2:
        return []
    added = {id_: at for profile in profiles for id_, at in profile.added.items()}
    count: Counter[str] = Counter()
    for (type_, _), at in (added | dict.fromkeys(new, now)).items():
        days = WINDOW_DAYS.get(settings.rule(type_).window)
        count[type_] += days is None or now - at < timedelta(days=days)
    rules = [settings.rule(t) for t in sorted(count, key=lambda t: settings.rank((t, "")))]
    return [rule for rule in rules if rule.limit is not None and count[rule.type] > rule.limit]


def merged(call: Call, ids: list[Id], result: Resolution, settings: Settings) -> Profile | None:
    """The profile a call goes to: the oldest, having taken in the others; where a cap forbids that,
    the one of the strongest identifier; None where nothing matched."""
    profiles = matches(ids, result)
    if len(profiles) < 2:
        return profiles[0] if profiles else None
    oldest, *others = profiles
    over = sum(len(profile.parts) for profile in profiles) - 1 > settings.merges
    full = sum(len(profile.added) for profile in profiles) > settings.mappings
    if settings.strategy == "segment" and (over or full):
        home = next(result.owner[id_] for id_ in ids if id_ in result.owner)
        for id_ in (id_ for id_ in ids if result.owner.get(id_, home) is not home):
            note(result, call, id_, MERGES if over else MAPPINGS, settings)
        return home
    for other in others:
        result.graph += [(part, oldest.parts[0], call.message_id) for part in other.parts]
        oldest.parts += other.parts
        oldest.added |= other.added
        result.owner |= dict.fromkeys(other.added, oldest)
    return oldest


@dataclass(frozen=True)
class World:
    """All that follows from the lines. Rows are sorted by their keys; times are UTC."""

    reading: Reading
    violations: list[Violation]  # in the order they arose
    graph: list[tuple[str, str, str]]  # segment_id, canonical_segment_id, message_id
    set_profiles: dict[IdSet, str | None]  # None: nothing of the set links
    event_profiles: dict[str, str | None]  # by message id; None: unresolved
    profiles: list[Row]
    profile_identifiers: list[Row]
    profile_traits: list[Row]


def judge(lines: Iterable[Line], settings: Settings) -> World:
    """The whole truth about some landed lines under some rules."""
    reading = read(lines, settings)
    result = resolution(reading.calls, settings)
    owner = {i: profile_id(profile.parts[0], settings.space) for i, profile in result.owner.items()}
    owned, members = defaultdict[str, list[Id]](list), defaultdict[str, list[Call]](list)
    carrying = defaultdict[Id, list[Call]](list)
    for id_ in sorted(owner):
        owned[owner[id_]].append(id_)
    # The final profile of a set's strongest kept identifier.
    set_profiles = {s: owner[ids[0]] if ids else None for s, ids in result.kept.items() if s}
    for call in reading.calls:
        for id_ in call.ids:
            carrying[id_].append(call)
        if profile := set_profiles.get(call.ids):
            members[profile].append(call)
    people = sorted(members.items())
    name = {part: profile_id(part, settings.space) for part, _, _ in result.graph}
    return World(
        reading,
        result.violations,
        [(name[part], name[canonical], call) for part, canonical, call in result.graph],
        set_profiles,
        {call.message_id: set_profiles.get(call.ids) for call in reading.calls},
        [profile_row(p, calls, span(calls, settings), owned[p]) for p, calls in people],
        [
            {"type": i[0], "value": i[1], "profile_id": owner[i], **span(carrying[i], settings)}
            for i in sorted(owner)
        ],
        [row for profile, calls in people for row in trait_rows(profile, calls)],
    )


def span(calls: list[Call], settings: Settings) -> Row:
    first, last = (call.order(settings)[0] for call in (calls[0], calls[-1]))
    return {"first_seen": first, "last_seen": last, "calls": len(calls)}


def profile_row(profile: str, calls: list[Call], seen: Row, owned: list[Id]) -> Row:
    identifiers: dict[str, list[str]] = {}
    for type_, value in owned:
        identifiers.setdefault(type_, []).append(value)
    told = {row["trait"]: row["value"] for row in trait_rows(profile, calls)}
    traits = {k: DECODER.decode(v) if v.startswith('"') else v for k, v in told.items()}
    return {"profile_id": profile, **seen, "identifiers": identifiers, "traits": traits}


def trait_rows(profile: str, calls: list[Call]) -> list[Row]:
    """The latest value of each trait of identify calls, by the clock; null removes it."""
    latest: dict[str, tuple[str, str]] = {}
    for call in calls:
        if call.type == "identify":
            latest |= {trait: (text, call.message_id) for trait, text in call.traits.items()}
    return [
        {"profile_id": profile, "trait": trait, "value": text, "message_id": message_id}
        for trait, (text, message_id) in sorted(latest.items())
        if text != "null"
    ]
