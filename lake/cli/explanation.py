"""Why an identifier is on its profile, or why two are one person or are not.

The pure rules answer, on what the lake holds; their answer is compared with what was published,
and where the two differ the explanation says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from lake.cli.people import Known, Link, Lost, Person
from lake.config import Config
from lake.errors import LakeError
from lake.identity.explain import Explained, about, between
from lake.identity.paths import Cut, cut, shortest_path
from lake.identity.resolve import Identifier
from lake.io import evidence as stored
from lake.io.at_run import AtRun
from lake.io.evidence import Asked, Carriers, Refusal
from lake.io.reader import opened
from lake.run.place import Place
from lake.run.rules import normalised, resolution_rules


@dataclass(frozen=True)
class Connection:
    """What lies between two identifiers.

    ``path``: the shortest evidence where they are on one profile. ``refused_path``: where rules
    keep them apart, what would connect them. ``guarded``: guarded identifiers that calls of both
    carry. ``cut``: None where they are not on one profile, or an override joins them.
    """

    path: tuple[Link, ...] = ()
    refused_path: tuple[Link, ...] = ()
    guarded: tuple[Identifier, ...] = ()
    cut: Cut | None = None


@dataclass(frozen=True)
class Explanation:
    """The answer about one or two identifiers as of a publication.

    ``people``: the profiles they are on, each once, in the order asked. ``unresolved``: sets that
    belong to nobody and carry something of theirs. ``carriers``: all sets that were looked at.
    ``faults``: where the published answer differs
    from this one; ``notes``: what may make it differ.
    """

    config: Config
    publication: int
    tables: AtRun = field(repr=False)
    asked: tuple[Asked, ...]
    people: tuple[Person, ...]
    connection: Connection | None
    carriers: tuple[Carriers, ...] = field(repr=False)
    lost: tuple[Lost, ...]
    unresolved: tuple[bytes, ...]
    notes: tuple[str, ...]
    faults: tuple[str, ...]


def explanation(
    config: Config, identifiers: Sequence[Identifier], publication: int | None = None
) -> Explanation:
    """Explain one identifier, or the connection of two, in any spelling; twice the same is one.

    Raises NotFound if no call carries one of them, or there is no such publication.
    """
    place = Place(config)
    shown = opened(config.root, publication, place.access)
    tables = AtRun.of(shown, place.tables)
    clock, rules = config.identity.order_by, resolution_rules(config)
    names = dict.fromkeys((k, normalised(config, k, v) or v) for k, v in identifiers)
    asked = tuple(stored.asked(tables, name, clock) for name in names)
    known: dict[int, Known] = {}
    for number in dict.fromkeys(one.component for one in asked):
        if number is not None:
            fetched = stored.component(tables, number, clock)
            sightings = fetched.sightings(clock)
            known[number] = Known(fetched, Explained.of(sightings, rules, config.space))
    people = _people(asked, known)
    carriers = [own.fetched.carriers for own in known.values()]
    carriers += [one.carriers for one in asked if one.carriers]
    faults = tuple(_faults(asked, known))
    connection = _connection(asked, known, people) if len(asked) == 2 else None
    return Explanation(
        config=config,
        publication=shown.number,
        tables=tables,
        asked=asked,
        people=people,
        connection=connection,
        carriers=tuple(carriers),
        lost=tuple(_lost(asked, known, people, connection)),
        unresolved=tuple(_unresolved(asked, known, people)),
        notes=tuple(_notes(place, tables, differs=bool(faults))),
        faults=faults,
    )


def _people(asked: Iterable[Asked], known: Mapping[int, Known]) -> tuple[Person, ...]:
    found: dict[tuple[int, int], Person] = {}
    for one in asked:
        if one.component is not None:
            own = known[one.component]
            place = own.explained.home.get(one.identifier)
            if place is not None:
                found.setdefault((one.component, place), Person(own, place))
    return tuple(found.values())


def _connection(
    asked: tuple[Asked, ...], known: Mapping[int, Known], people: tuple[Person, ...]
) -> Connection:
    """What connects two identifiers, or would."""
    one, other = asked
    if one.component is None or other.component is None:
        return Connection()
    ends = one.identifier, other.identifier
    if one.component == other.component:
        own = known[one.component]
        home = own.explained.home
        if ends[0] in home and home[ends[0]] == home.get(ends[1]):
            evidence = people[0].evidence
            path = shortest_path(evidence, *ends) or ()
            return Connection(path=tuple(own.links(path, evidence)), cut=cut(evidence, *ends))
        evidence = own.explained.carried
        path = shortest_path(evidence, *ends) or ()
        return Connection(refused_path=tuple(own.links(path, evidence)))
    ours, theirs = (
        {r.identifier for r in _guarding(known[number])}
        for number in (one.component, other.component)
    )
    return Connection(guarded=tuple(sorted(ours & theirs)))


def _guarding(own: Known) -> Iterator[Refusal]:
    """Violations of guarded identifiers, which are in no component."""
    for refusal in own.fetched.carriers.refusals:
        if refusal.identifier not in own.fetched.identifiers:
            yield refusal


def _lost(
    asked: tuple[Asked, ...],
    known: Mapping[int, Known],
    people: tuple[Person, ...],
    connection: Connection | None,
) -> list[Lost]:
    """What did not link: of two that are not one person what keeps them apart, else all."""
    names = tuple(one.identifier for one in asked)
    apart = connection if connection and not connection.path else None
    ours = {*names, *apart.guarded} if apart else None
    found: dict[Lost, None] = {}
    for own in known.values():
        sets = {key for person in people if person.known is own for key in person.sets}
        for r in _guarding(own):
            if r.identity_set in sets and (ours is None or r.identifier in ours):
                found[_refused(own.fetched.carriers, r)] = None
        bound = about(own.explained, names)
        if apart:
            bound = between(own.explained, *names) if apart.refused_path else ()
        found.update(dict.fromkeys(own.lost(bound)))
    for one in asked:
        if one.carriers is not None:
            own_days = (r for r in one.carriers.refusals if r.identifier == one.identifier)
            found.update(dict.fromkeys(_refused(one.carriers, r) for r in own_days))
    return sorted(found, key=lambda lost: (lost.call.received_at, lost.call.message_id))


def _refused(carriers: Carriers, refusal: Refusal) -> Lost:
    call = carriers.days[refusal.identity_set, refusal.day]
    return Lost(call, refusal.identifier, refusal.reason, refusal.rule)


def _unresolved(
    asked: Iterable[Asked], known: Mapping[int, Known], people: Iterable[Person]
) -> Iterator[bytes]:
    concerned = {i for person in people for i in person.profile.identifiers}
    concerned |= {one.identifier for one in asked}
    for own in known.values():
        carried = own.fetched.carriers.identifiers
        for key in own.since:
            if own.explained.set_home[key] is None and concerned & set(carried[key]):
                yield key
    for one in asked:
        if one.carriers:
            yield from (k for k in one.carriers.identifiers if k not in one.carriers.profiles)


def _faults(asked: Iterable[Asked], known: Mapping[int, Known]) -> Iterator[str]:
    """Where the rules, applied now, say something else than was published."""
    for one in asked:
        if one.component is not None:
            by_rules = known[one.component].profile_id(one.identifier)
            if by_rules != one.profile_id:
                yield (
                    f"The rules put this {one.identifier[0]} on {_profile(by_rules)}, published "
                    f"it is on {_profile(one.profile_id)}."
                )
    for own in known.values():
        explained, published = own.explained, own.fetched.carriers.profiles
        wrong = sum(own.set_profile(key) != published.get(key) for key in own.since)
        if wrong:
            yield f"{wrong} of {len(own.since)} identity sets were published on another profile."
        bound = {
            (v.identity_set, v.sighting.order[-1], v.identifier, str(v.reason))
            for v in explained.resolution.violations
        }
        told = {r[:4] for r in own.fetched.carriers.refusals}
        told -= {r[:4] for r in _guarding(own)}
        if bound != told:
            yield f"Violations that differ from those that were stored: {len(bound ^ told)}."


def _profile(profile_id: str | None) -> str:
    return "no profile" if profile_id is None else f"profile {profile_id}"


def _notes(place: Place, tables: AtRun, *, differs: bool) -> Iterator[str]:
    if tables.other_runs:
        yield (
            f"The state of run {tables.run} is not kept any more: {', '.join(tables.other_runs)} "
            "are read as they are now."
        )
    if differs:
        with suppress(LakeError, ValueError):
            if place.control.plan(int(tables.run)).config != place.config.fingerprint:
                yield (
                    f"The configuration has changed since run {tables.run}; this answer goes by "
                    "the rules of today, the next run will publish it."
                )
