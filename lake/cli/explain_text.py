"""An explanation as a person reads it: the answer to "why are these two one person?"."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from itertools import groupby, islice

from lake.cli.explain import never_together, to_block
from lake.cli.explanation import Connection, Explanation
from lake.cli.people import Link, Lost, Person
from lake.identity.guards import BLOCKED, Blocked
from lake.identity.paths import Cut
from lake.identity.resolve import Identifier
from lake.io import evidence as stored
from lake.io.evidence import Asked, Call, Carriers, FirstCall

#: Of a longer list the rest is counted; ``--output json`` has it all.
MOST = 40


def explanation_text(explanation: Explanation) -> str:
    """The whole answer; times in UTC."""
    told = _Told(explanation, _named_calls(explanation))
    connection = explanation.connection
    if connection is None:
        said = told.one(explanation.asked[0])
    elif connection.path:
        said = told.one_person(connection)
    else:
        said = told.not_one_person(connection)
    return "\n".join([*said, *_doubts(explanation)])


def _doubts(explanation: Explanation) -> Iterator[str]:
    if explanation.notes or explanation.faults:
        yield ""
    yield from explanation.notes
    for fault in explanation.faults:
        yield fault if explanation.notes else f"FAULT: {fault} Please report it."


@dataclass(frozen=True)
class _Told:
    """The sections of an answer; ``calls``: what is known besides of the calls it names."""

    explanation: Explanation
    calls: Mapping[str, Call]

    # One identifier.

    def one(self, asked: Asked) -> Iterator[str]:
        shown = f"(publication {self.explanation.publication})"
        if asked.guard is not None:
            yield f"{_named(asked.identifier)} links nothing {shown}"
            yield from self.guard(asked)
            return
        if not self.explanation.people:
            yield f"{_named(asked.identifier)} is on no profile {shown}"
            yield f"  {_count(asked.calls, 'call')} carried it; all of them lost it to a rule."
        for person in self.explanation.people:
            yield f"{_named(asked.identifier)} is on profile {person.profile_id} {shown}"
            yield from self.history(person)
            yield from self.identifiers(person)
        yield from self.refused()

    def guard(self, asked: Asked) -> Iterator[str]:
        """Why a guarded identifier links nothing, and how much carries it."""
        yield f"  {self._why_guarded(asked)}"
        yield (
            f"  {_count(asked.calls, 'call')} in {_count(asked.sets, 'identity set')} on "
            f"{_count(asked.days, 'day')} carried it"
            + ("" if asked.carriers is None else self._where_carriers_went(asked.carriers))
        )

    def _why_guarded(self, asked: Asked) -> str:
        refusals = asked.carriers.refusals if asked.carriers else ()
        own = [r for r in refusals if r.identifier == asked.identifier]
        reason = own[0].reason if own else str(asked.guard)
        if asked.guard != BLOCKED:
            return f"{reason}: {own[0].rule if own else asked.guard}."
        if Blocked().blocks(*asked.identifier):
            return f"{reason}: it is one of the built-in values that identify nobody."
        return f"{reason}: identity.blocked of the configuration names it."

    def _where_carriers_went(self, carriers: Carriers) -> str:
        people = len(set(carriers.profiles.values()))
        some = "" if len(carriers.identifiers) < stored.SETS_OF_GUARDED else "the first of "
        first = min(carriers.days.values(), key=lambda call: call.received_at)
        return (
            f", first {self.call(first)}.\n  By what else they carry, {some}these sets belong to "
            f"{_count(people, 'profile')}."
        )

    def history(self, person: Person) -> Iterator[str]:
        """Size, founder and merges of a profile."""
        known, profile = person.known, person.profile
        yield f"  {_count(len(profile.identifiers), 'identifier')}, {self.size(person.sets)}"
        yield from ("", "How it came to be")
        created = known.first_call(profile.created)
        yield f"  founded by {_named(profile.founder)}: {self.call(created)}"
        absorbed: dict[FirstCall, list[str]] = {}
        for merge in profile.merges:
            founder = _named(merge.absorbed)
            absorbed.setdefault(known.first_call(merge.sighting), []).append(founder)
        merges = [tie for tie in person.ties if tie.merged]
        for tie in merges[:MOST]:
            assert tie.first is not None
            gone = ", ".join(absorbed.pop(tie.first, [])) or _named(tie.end)
            how = f"{_named(tie.end)} was seen with {_named(tie.start)}"
            how = how if tie.sets else f"an override joins {_named(tie.end)}"
            yield f"  took in the profile of {gone}, because {how}: {self.call(tie.first)}"
        yield from _rest(merges)

    def identifiers(self, person: Person) -> Iterator[str]:
        """Each identifier with its first call, and what brought it to the profile."""
        brought = {tie.end: tie for tie in reversed(person.ties) if not tie.merged}
        first = person.known.explained.first
        since = sorted(person.profile.identifiers, key=lambda i: first[i].order)
        yield from ("", "Its identifiers, as they were first seen")
        for identifier in since[:MOST]:
            call = person.known.first_call(first[identifier])
            yield f"  {_named(identifier)}: {self.call(call)}"
            tie = brought.get(identifier)
            if tie is not None and not tie.sets:
                yield f"      joined to {_named(tie.start)} by an override, always_together"
            elif tie is not None:
                later = "" if tie.first == call else f", but joined only by {self.call(tie.first)}"
                yield f"      with {_named(tie.start)}{later}; {self.says(tie)}"
        yield from _rest(since)

    # Two identifiers.

    def one_person(self, between: Connection) -> Iterator[str]:
        one, other = self.explanation.asked
        (person,) = self.explanation.people
        yield (
            f"{_named(one.identifier)} and {_named(other.identifier)} are one person: profile "
            f"{person.profile_id} (publication {self.explanation.publication})"
        )
        yield from ("", "Why")
        yield from self.path(between.path)
        yield from ("", "What would separate them")
        if between.cut is None:
            yield "  Nothing but the override: take its always_together line away first."
        else:
            yield from self.cut(between.cut, person)
        yield from self.refused()

    def cut(self, cut: Cut, person: Person) -> Iterator[str]:
        """The smallest cut, and the settings that have the same effect."""
        one, other = (asked.identifier for asked in self.explanation.asked)
        sets = [key for key in cut.sets if isinstance(key, bytes)]
        yield f"  No evidence ties them without {self.size(sets)}:"
        for key in sets[:MOST]:
            yield f"    {self.call(person.known.since[key])}, set {key.hex()[:8]}"
        yield from _rest(sets)
        yield "  If they are two people, a line of the overrides file keeps them apart:"
        yield f"    {never_together(one, other)}"
        hub = to_block(cut, person.evidence, person.known.explained.rules)
        if hub:
            yield from self.hub(hub)

    def hub(self, hub: tuple[Identifier, ...]) -> Iterator[str]:
        """What every path goes through, and the line that takes it out of the graph."""
        by_type: dict[str, list[str]] = {}
        for kind, value in hub:
            by_type.setdefault(kind, []).append(json.dumps(value, ensure_ascii=False))
        types = ", ".join(f"{kind}: {{values: [{', '.join(v)}]}}" for kind, v in by_type.items())
        if len(hub) == 1:
            only = _named(hub[0])
            yield f"  Every path goes through {only}. If that identifies nobody, block it:"
        else:
            yield f"  Every path goes through these {len(hub)}, which the same calls carry:"
            yield from (f"    {_named(identifier)}" for identifier in hub)
            yield "  If they identify nobody, block them all:"
        yield f"    identity: {{blocked: {{by_type: {{{types}}}}}}}"

    def not_one_person(self, between: Connection) -> Iterator[str]:
        one, other = self.explanation.asked
        yield (
            f"{_named(one.identifier)} and {_named(other.identifier)} are not one person "
            f"(publication {self.explanation.publication})"
        )
        for asked in (one, other):
            on = "on no profile" if asked.profile_id is None else f"on profile {asked.profile_id}"
            yield f"  {_named(asked.identifier)} is {on}"
            if asked.guard is not None:
                yield from self.guard(asked)
        yield from ("", "Why not")
        if between.refused_path:
            yield "  These calls would connect them, but rules stand in between."
            yield from self.path(between.refused_path)
        elif any(asked.guard for asked in (one, other)):
            yield "  What links nothing ties nobody to anybody, whoever carries it."
        else:
            yield "  No call, and no chain of calls, ties them."
        for identifier in between.guarded:
            yield f"  Calls of both carry {_named(identifier)}, but it links nothing."
        if not any(asked.guard for asked in (one, other)):
            yield from self.refused()

    def path(self, path: Sequence[Link]) -> Iterator[str]:
        yield f"  {_named(path[0].start)}"
        for link in path:
            if link.first is None:
                yield "    │ an override, always_together"
            else:
                yield f"    │ {self.call(link.first)}, set {link.sets[0].hex()[:8]}"
                yield f"    │ {self.says(link)}"
            yield f"  {_named(link.end)}"

    def refused(self) -> Iterator[str]:
        """What did not link: once for each set, identifier and reason, however many days."""
        lost = sorted(self.explanation.lost, key=_which)
        groups = [list(days) for _, days in groupby(lost, key=_which)]
        groups.sort(key=lambda days: (days[0].call.received_at, days[0].call.message_id))
        if groups:
            yield from ("", "What was refused")
        for days in groups[:MOST]:
            first = days[0]
            again = f", and on {_count(len(days) - 1, 'more day')}" if len(days) > 1 else ""
            rule = "" if first.rule in ("", BLOCKED) else f" ({first.rule})"
            yield f"  {_named(first.identifier)}: {first.reason}{rule}"
            yield f"      {self.call(first.call)}{again}"
            if first.apart:
                yield f"      keeps apart {' and '.join(first.apart)}"
        yield from _rest(groups)

    # Words.

    def call(self, call: FirstCall | None) -> str:
        """A call by name, kind, source and time."""
        assert call is not None
        known = self.calls.get(call.message_id)
        kind = "" if known is None else f"{known.kind} "
        if known is not None and known.event:
            kind += f"“{_shown(known.event)}” "
        at = f"{call.received_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        return f"{kind}{_shown(call.message_id)} of {_shown(call.source)}, {at}"

    def says(self, link: Link) -> str:
        said = "says so" if self._calls_in(link.sets) == 1 else "say so"
        return f"{self.size(link.sets)} {said}"

    def size(self, sets: Sequence[bytes]) -> str:
        calls, carrying = self._calls_in(sets), _count(len(sets), "identity set")
        return f"{_count(calls, 'call')} in {carrying}"

    def _calls_in(self, sets: Iterable[bytes]) -> int:
        wanted = set(sets)
        return sum(
            call.calls
            for carriers in self.explanation.carriers
            for (key, _), call in carriers.days.items()
            if key in wanted
        )


def _which(lost: Lost) -> tuple[bytes, Identifier, str, str, tuple[str, ...]]:
    return lost.call.identity_set, lost.identifier, lost.reason, lost.rule, lost.apart


def _named_calls(explanation: Explanation) -> dict[str, Call]:
    """The calls that the text may name, read from their days of arrival."""
    named: dict[FirstCall, None] = {}
    connection = explanation.connection
    for person in explanation.people if connection is None else ():
        known = person.known
        named[known.first_call(person.profile.created)] = None
        firsts = known.explained.first
        since = sorted(person.profile.identifiers, key=lambda i: firsts[i].order)
        named.update(dict.fromkeys(known.first_call(firsts[i]) for i in since[:MOST]))
        named.update(dict.fromkeys(t.first for t in islice(person.ties, 2 * MOST) if t.first))
    if connection is not None:
        links = (*connection.path, *connection.refused_path)
        named.update(dict.fromkeys(link.first for link in links if link.first))
        cut = connection.cut.sets[:MOST] if connection.cut else ()
        since_of = explanation.people[0].known.since if cut else {}
        named.update(dict.fromkeys(since_of[key] for key in cut if isinstance(key, bytes)))
    named.update(dict.fromkeys(lost.call for lost in explanation.lost[:MOST]))
    sets = {call.identity_set for call in named}
    days = {call.received_at.astimezone(UTC).date() for call in named}
    wanted = {call.message_id for call in named}
    found = stored.calls(explanation.tables, sets, days)
    return {call.message_id: call for call in found if call.message_id in wanted}


def _named(identifier: Identifier) -> str:
    return f"{identifier[0]} {_shown(identifier[1])}"


def _shown(text: str) -> str:
    """A text that a client sent; as JSON where it could not be seen or would steer a terminal."""
    return text if text and text.isprintable() else json.dumps(text)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _rest(listed: Sequence[object]) -> Iterator[str]:
    if len(listed) > MOST:
        yield f"  and {len(listed) - MOST:,} more; --output json has them all"
