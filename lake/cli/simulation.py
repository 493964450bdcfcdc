"""The pure rules on a handful of calls: lines in, profiles out, without Spark and without a lake.

    lines ─► calls ─► identifiers ─► identity sets ─► guards ─► sightings ─► resolve

Each step is the one that a night takes, so that profiles, their ids and violations are the lake's:
of lines with one message id the earliest received is the call, a set counts once on each UTC day,
at that day's first call, and a violation names that call.

One thing differs, because there is no landing object to ask: a call without any readable time
arrives a second after the call on the line before it, the first of all on 1970-01-01. So calls
written down without times are taken in the order of the lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from lake.cli.sent_calls import Refused, Sent, sent
from lake.cli.simulated_guards import guards
from lake.events.lines import LINE_LIMIT
from lake.identity.guards import REASONS, Blocked
from lake.identity.identifiers import Extraction
from lake.identity.ids import profile_id
from lake.identity.resolve import Identifier, Profile, Resolution, Rules, Sighting, resolve

if TYPE_CHECKING:
    from lake.identity.shared import Sharing

DAY = 86_400_000_000


@dataclass(frozen=True)
class Rulebook:
    """All that decides: how identifiers are found and guarded, how sets become profiles.

    ``clock`` is the time that orders calls: received_at or timestamp. ``sharing`` is None where
    that guard is off.
    """

    space: str
    clock: str
    extraction: Extraction
    blocked: Blocked
    rules: Rules
    sharing: Sharing | None = None
    line_limit: int = LINE_LIMIT

    def strongest_first(self, identifiers: Iterable[Identifier]) -> tuple[Identifier, ...]:
        """Identifiers in order of priority: place of the type, type, value."""
        rank, unlisted = self.rules.rank, len(self.rules.priority)
        return tuple(sorted(identifiers, key=lambda i: (rank.get(i[0], unlisted), i)))


class SimulatedCall(NamedTuple):
    """An accepted call. Times in microseconds since 1970 UTC, identifiers the strongest first.

    ``at``: on the clock that orders. ``guards``: the identifiers that link nothing, and by which
    guard. ``timed`` is False where the call told no readable time.
    ``sighting``: what it adds to what is known; None where its identity set was seen earlier
    that day, or where nothing it carries may link.
    """

    line: int
    message_id: str
    kind: str
    name: str | None
    at: int
    order: tuple[int, int, str]
    timed: bool
    identifiers: tuple[Identifier, ...]
    guards: Mapping[Identifier, str]
    identity_set: bytes | None
    sighting: Sighting | None

    @property
    def linking(self) -> tuple[Identifier, ...]:
        """The identifiers that no guard keeps from it."""
        return tuple(i for i in self.identifiers if i not in self.guards)


class Repeat(NamedTuple):
    """A line whose message id another line has, which is the call."""

    line: int
    message_id: str


class Lost(NamedTuple):
    """An identifier of a call that did not link, and the reason in Segment's words."""

    call: str
    identifier: Identifier
    reason: str


@dataclass(frozen=True)
class Simulation:
    """Calls in their order, the lines that are none, and who is who in the end."""

    book: Rulebook
    calls: tuple[SimulatedCall, ...]
    refused: tuple[Refused, ...]
    repeats: tuple[Repeat, ...]

    @cached_property
    def sightings(self) -> tuple[Sighting, ...]:
        """What the calls add, in order."""
        return tuple(call.sighting for call in self.calls if call.sighting)

    @cached_property
    def resolution(self) -> Resolution:
        """The end state."""
        return resolve(self.sightings, self.book.rules)

    def profile_id(self, profile: Profile) -> str:
        """The id that the lake gives to a profile."""
        return profile_id(self.book.space, *profile.founder)

    @cached_property
    def members(self) -> tuple[tuple[str, ...], ...]:
        """The message ids of each profile's calls, in their order."""
        return tuple(
            tuple(call.message_id for call in self.calls if self._place(call) == n)
            for n in range(len(self.resolution.profiles))
        )

    @cached_property
    def unresolved(self) -> tuple[str, ...]:
        """The message ids of calls that belong to nobody, in their order."""
        return tuple(call.message_id for call in self.calls if self._place(call) is None)

    @cached_property
    def violations(self) -> tuple[Lost, ...]:
        """What did not link, by call: first what a guard took, then what a rule took, in turn."""
        bound: dict[str, list[Lost]] = {}
        seen: set[tuple[bytes | None, int]] = set()
        for call in self.calls:
            day = (call.identity_set, call.at // DAY)
            if day not in seen:
                name, guards = call.message_id, call.guards.items()
                bound[name] = [Lost(name, i, REASONS[guard]) for i, guard in guards]
            seen.add(day)
        for v in self.resolution.violations:
            name = v.sighting.order[2]
            bound[name].append(Lost(name, v.identifier, str(v.reason)))
        return tuple(lost for each in bound.values() for lost in each)

    @cached_property
    def _places(self) -> Mapping[Any, int | None]:
        return {outcome.identity_set: outcome.profile for outcome in self.resolution.sets}

    def _place(self, call: SimulatedCall) -> int | None:
        return self._places.get(call.identity_set)


def answer(simulation: Simulation) -> dict[str, Any]:
    """The simulation as plain values: ``profiles`` by creation, ``violations``, ``unresolved``.

    ``rejected`` and ``duplicates`` are there only where lines were refused or repeated.
    """
    found: dict[str, Any] = {
        "profiles": [
            {
                "profile_id": simulation.profile_id(profile),
                "identifiers": [list(i) for i in profile.identifiers],
                "calls": list(members),
            }
            for profile, members in zip(
                simulation.resolution.profiles, simulation.members, strict=True
            )
        ],
        "violations": [
            {"call": call, "type": kind, "value": value, "reason": reason}
            for call, (kind, value), reason in simulation.violations
        ],
        "unresolved": list(simulation.unresolved),
    }
    if simulation.refused:
        found["rejected"] = [
            {"line": r.line, "reason": r.reason.value, "detail": r.detail}
            for r in simulation.refused
        ]
    if simulation.repeats:
        found["duplicates"] = [
            {"line": repeat.line, "call": repeat.message_id} for repeat in simulation.repeats
        ]
    return found


def simulated(stream: BinaryIO, book: Rulebook) -> Simulation:
    """The simulation of a stream of lines, plain or gzip, under these rules.

    No line makes it fail: what is no call is listed in ``refused``. OSError comes from the stream.
    """
    refused: list[Refused] = []
    read = list(sent(stream, book.extraction, book.line_limit, refused))
    first: dict[str, Sent] = {}
    for each in sorted(read, key=lambda s: (s.received, s.happened, s.digest, s.line)):
        first.setdefault(each.call.message_id, each)
    chosen = list(first.values())
    taken = {each.line for each in chosen}
    repeats = [Repeat(s.line, s.call.message_id) for s in read if s.line not in taken]
    calls = tuple(_sighted(_guarded(chosen, book)))
    return Simulation(book, calls, tuple(sorted(refused)), tuple(repeats))


def _guarded(calls: Sequence[Sent], book: Rulebook) -> Iterator[SimulatedCall]:
    """The calls with what may link of them, in no order and without their sightings."""
    guarded = guards({s.identity.identifiers for s in calls}, book.blocked, book.sharing)
    received_first = book.clock == "received_at"
    for each in calls:
        times = (each.received, each.happened)
        order = (*(times if received_first else times[::-1]), each.call.message_id)
        identifiers = book.strongest_first(each.identity.identifiers)
        yield SimulatedCall(
            line=each.line,
            message_id=each.call.message_id,
            kind=each.call.type,
            name=each.call.event or each.call.name,
            at=order[0],
            order=order,
            timed=each.timed,
            identifiers=identifiers,
            guards={i: guarded[i] for i in identifiers if i in guarded},
            identity_set=each.identity.key,
            sighting=None,
        )


def _sighted(calls: Iterable[SimulatedCall]) -> Iterator[SimulatedCall]:
    """The calls in their order, each with the sighting it makes."""
    seen: set[tuple[bytes | None, int]] = set()
    for call in sorted(calls, key=lambda call: call.order):
        place = (call.identity_set, call.at // DAY)
        if call.linking and place not in seen:
            seen.add(place)
            made = Sighting(call.identity_set, call.at, call.order, call.linking)
            yield call._replace(sighting=made)
        else:
            yield call
