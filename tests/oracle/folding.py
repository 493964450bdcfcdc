"""Who is who: sightings in order, folded one by one, with no thought of speed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from hashlib import sha256

from .extracting import is_blocked
from .reading import Call
from .settings import WINDOW_DAYS, Id, IdSet, Settings

LIMIT, TIME_LIMIT = "Identifier value limit exceeded", "Identifier value time limit exceeded"
BLOCKED = "ID value blocked"
MERGES, MAPPINGS = "Profile merge limit exceeded", "Identifier mapping limit exceeded"


@dataclass(frozen=True)
class Violation:
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


def sightings(calls: Iterable[Call], settings: Settings) -> list[Call]:
    """The first call of each set on each day it is seen, in order."""
    first: dict[tuple[IdSet, date], Call] = {}
    for call in sorted(calls, key=lambda call: call.order(settings)):
        if call.ids:
            first.setdefault((call.ids, call.day(settings)), call)
    return list(first.values())


def resolution(calls: list[Call], settings: Settings) -> Resolution:
    """The profiles of all calls; only Segment's fold, with its limits or without, is told here."""
    if settings.strategy not in ("segment", "components"):
        raise ValueError(f"no oracle for the strategy {settings.strategy}")
    result = Resolution()
    for call in sightings(calls, settings):
        ids = sorted(call.ids, key=settings.rank)
        for blocked in (id_ for id_ in ids if is_blocked(id_, settings)):
            note(result, call, blocked, BLOCKED, settings)
        fold(call, [id_ for id_ in ids if not is_blocked(id_, settings)], result, settings)
    return result


def note(result: Resolution, call: Call, id_: Id, reason: str, settings: Settings) -> None:
    result.violations.append(Violation(call.ids, call.day(settings), call.message_id, id_, reason))


def fold(call: Call, ids: list[Id], result: Resolution, settings: Settings) -> None:
    """One call: match, drop and retry while a limit is broken, then create, add or merge."""
    now = call.time if settings.window_by == "timestamp" else call.received_at
    free = settings.strategy == "components"
    while not free and (broken := broken_type(ids, now, result, settings)):
        dropped = max(droppable(ids, broken, result, settings), key=settings.rank)
        ids = [id_ for id_ in ids if id_ != dropped]
        reason = LIMIT if settings.rule(broken).window == "ever" else TIME_LIMIT
        note(result, call, dropped, reason, settings)
    if not ids:
        result.kept[call.ids] = []
        return
    profile = merged(call, ids, result, settings) or Profile(len(result.graph), [ids[0]])
    if not profile.added:
        result.graph.append((ids[0], ids[0], call.message_id))
    for id_ in (id_ for id_ in ids if id_ not in result.owner):
        if len(profile.added) >= settings.mappings and not free:
            note(result, call, id_, MAPPINGS, settings)
            continue
        result.owner[id_] = profile
        profile.added[id_] = now
    result.kept[call.ids] = [id_ for id_ in ids if result.owner.get(id_) is profile]


def matches(ids: list[Id], result: Resolution) -> list[Profile]:
    """The profiles that own one of the identifiers, oldest first."""
    unique = {id(result.owner[id_]): result.owner[id_] for id_ in ids if id_ in result.owner}
    return sorted(unique.values(), key=lambda profile: profile.born)


def broken_type(ids: list[Id], now: datetime, result: Resolution, settings: Settings) -> str | None:
    """The strongest type of which the final profile would have too many values; a call that adds
    neither an identifier nor a merge breaks nothing."""
    profiles = matches(ids, result)
    new = [id_ for id_ in ids if id_ not in result.owner]
    if not new and len(profiles) < 2:
        return None
    added = {id_: at for profile in profiles for id_, at in profile.added.items()}
    added |= dict.fromkeys(new, now)
    for type_, _ in sorted({(type_, "") for type_, _ in added}, key=settings.rank):
        rule = settings.rule(type_)
        days = WINDOW_DAYS.get(rule.window)
        values = [at for (other, _), at in added.items() if other == type_]
        if days:
            values = [at for at in values if now - at < timedelta(days=days)]
        if len(values) > rule.limit:
            return type_
    return None


def droppable(ids: list[Id], broken: str, result: Resolution, settings: Settings) -> list[Id]:
    """All, or only the new values of the broken type and whatever matched a profile."""
    if settings.on_limit == "drop_lowest":
        return ids
    return [id_ for id_ in ids if id_ in result.owner or id_[0] == broken]


def merged(call: Call, ids: list[Id], result: Resolution, settings: Settings) -> Profile | None:
    """The profile a call goes to: the oldest, having taken in the others; where a cap forbids that,
    the one of the strongest identifier; None where nothing matched."""
    profiles = matches(ids, result)
    if len(profiles) < 2:
        return profiles[0] if profiles else None
    oldest, *others = profiles
    reason = ""
    if sum(len(profile.added) for profile in profiles) > settings.mappings:
        reason = MAPPINGS
    if sum(len(profile.parts) for profile in profiles) - 1 > settings.merges:
        reason = MERGES
    if reason and settings.strategy == "segment":
        home = next(result.owner[id_] for id_ in ids if id_ in result.owner)
        for id_ in ids:
            if result.owner.get(id_, home) is not home:
                note(result, call, id_, reason, settings)
        return home
    for other in others:
        result.graph += [(part, oldest.parts[0], call.message_id) for part in other.parts]
        oldest.parts += other.parts
        oldest.added |= other.added
        result.owner |= dict.fromkeys(other.added, oldest)
    return oldest
