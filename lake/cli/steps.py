"""What each call of a simulation did, told from the answers before and after it.

The rules give an end state and no diary, and they stay so: the sightings are resolved again with
one more each time, and a step is the difference. It costs the square of the number of calls, of
which there are a handful.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from lake.cli.simulation import DAY, SimulatedCall, Simulation
from lake.identity.resolve import Identifier, Resolution, Violation, resolve


class Step(NamedTuple):
    """A call and its effect. Profiles are given by number, in the order they first appeared.

    ``known``: the profile of each of its identifiers until now. ``created``: new profiles, and
    the founder of each. ``merged``: (profiles that end, the one they end in). ``moved``:
    identifiers that change profiles, which only ``latest_wins`` does. ``added``: identifiers new
    to profiles that stood. ``lost``: by a rule, in turn. ``elsewhere``: what earlier calls lose
    because of it. ``earlier``: the call of that day with the same set. ``profile``: where the
    call belongs now.
    """

    call: SimulatedCall
    known: Mapping[Identifier, int]
    created: Mapping[int, Identifier]
    merged: tuple[tuple[tuple[int, ...], int], ...]
    moved: tuple[tuple[Identifier, int, int], ...]
    added: Mapping[int, tuple[Identifier, ...]]
    lost: tuple[Violation, ...]
    elsewhere: tuple[Violation, ...]
    earlier: str | None
    profile: int | None


class _Numbers(dict[Identifier, int]):
    """Founder → number, counted up as founders appear."""

    def __missing__(self, founder: Identifier) -> int:
        self[founder] = len(self) + 1
        return self[founder]


def steps(simulation: Simulation, most: int) -> Iterator[Step]:
    """A step for each call in order, of the first ``most`` calls."""
    numbers = _Numbers()
    first: dict[tuple[bytes | None, int], str] = {}
    rules = simulation.book.rules
    before = after = resolve((), rules)
    taken = 0
    for call in islice(simulation.calls, most):
        if call.sighting:
            taken += 1
            after = resolve(simulation.sightings[:taken], rules)
            first[call.identity_set, call.at // DAY] = call.message_id
        earlier = None if call.sighting else first.get((call.identity_set, call.at // DAY))
        yield _step(call, _Change(before, after, numbers), earlier)
        before = after


class _Change:
    """Two answers, of which the later saw one sighting more."""

    def __init__(self, before: Resolution, after: Resolution, numbers: _Numbers) -> None:
        self.after = after
        self.numbers = numbers
        self.old = {i: p.founder for p in before.profiles for i in p.identifiers}
        self.new = {i: p.founder for p in after.profiles for i in p.identifiers}
        # Without `apart`: it counts profiles, and how many there are changes.
        known = {v[:-1] for v in before.violations}
        self.violations = [v for v in after.violations if v[:-1] not in known]
        stood = {p.founder for p in before.profiles}
        stand = [p.founder for p in after.profiles]
        self.created = {numbers[f]: f for f in stand if f not in stood}
        gone = [p for p in before.profiles if p.founder not in stand]
        went = {p.founder: {self.new[i] for i in p.identifiers if i in self.new} for p in gone}
        #: Profiles that ended whole in another one.
        self.ended = {f: next(iter(ends)) for f, ends in went.items() if len(ends) == 1}

    def merged(self) -> tuple[tuple[tuple[int, ...], int], ...]:
        into: dict[int, list[int]] = {}
        for founder, end in self.ended.items():
            into.setdefault(self.numbers[end], []).append(self.numbers[founder])
        return tuple((tuple(sorted(parts)), end) for end, parts in sorted(into.items()))

    def moved(self) -> tuple[tuple[Identifier, int, int], ...]:
        return tuple(
            (i, self.numbers[was], self.numbers[now])
            for i, now in self.new.items()
            if (was := self.old.get(i, now)) != now and was not in self.ended
        )

    def added(self) -> dict[int, tuple[Identifier, ...]]:
        found: dict[int, tuple[Identifier, ...]] = {}
        for i, founder in self.new.items():
            number = self.numbers[founder]
            if i not in self.old and self.created.get(number) != i:
                found[number] = (*found.get(number, ()), i)
        return found


def _step(call: SimulatedCall, change: _Change, earlier: str | None) -> Step:
    own = [v for v in change.violations if v.sighting == call.sighting]
    sets = {outcome.identity_set: outcome.profile for outcome in change.after.sets}
    place = sets.get(call.identity_set)
    founder = None if place is None else change.after.profiles[place].founder
    return Step(
        call,
        {i: change.numbers[change.old[i]] for i in call.linking if i in change.old},
        change.created,
        change.merged(),
        change.moved(),
        change.added(),
        tuple(own),
        tuple(v for v in change.violations if v not in own),
        earlier,
        None if founder is None else change.numbers[founder],
    )
