"""People as an explanation knows them: a resolved component beside the calls it came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from lake.identity.explain import Explained, ties
from lake.identity.paths import Bond, Evidence, Step
from lake.identity.resolve import Identifier, Sighting, Violation
from lake.identity.resolve import Profile as ResolvedProfile
from lake.io.evidence import Component, FirstCall


class Link(NamedTuple):
    """Two identifiers and what ties them.

    ``sets``: all that carry both, in order of their first calls; none for an override. ``first``:
    the call that tied them first. ``merged``: ``end`` had a profile of its own until then.
    """

    start: Identifier
    end: Identifier
    sets: tuple[bytes, ...]
    first: FirstCall | None
    merged: bool = False


class Lost(NamedTuple):
    """A call that did not link an identifier, and why.

    ``call``: the first of its set on that day. ``apart``: the profiles that this keeps apart.
    """

    call: FirstCall
    identifier: Identifier
    reason: str
    rule: str
    apart: tuple[str, ...] = ()


@dataclass(frozen=True)
class Known:
    """A raw component as it was fetched, and as the rules resolve it."""

    fetched: Component
    explained: Explained

    def first_call(self, sighting: Sighting) -> FirstCall:
        """The call of a sighting."""
        key = sighting.identity_set
        assert isinstance(key, bytes)
        return self.fetched.carriers.days[key, sighting.order[-1]]

    @cached_property
    def since(self) -> Mapping[bytes, FirstCall]:
        """The first call of each set, in order."""
        found: dict[bytes, FirstCall] = {}
        for sighting in self.explained.sightings:
            call = self.first_call(sighting)
            found.setdefault(call.identity_set, call)
        return found

    def profile_id(self, identifier: Identifier) -> str | None:
        """The profile of an identifier by the rules."""
        place = self.explained.home.get(identifier)
        return None if place is None else self.explained.ids[place]

    def set_profile(self, identity_set: bytes) -> str | None:
        """The profile of a set by the rules."""
        place = self.explained.set_home[identity_set]
        return None if place is None else self.explained.ids[place]

    def links(self, steps: Iterable[Step], evidence: Evidence) -> Iterator[Link]:
        """Steps, each with all sets that say the same."""
        order = {key: n for n, key in enumerate(self.since)}
        carrying: dict[Identifier, set[bytes]] = {}
        for key in order:
            for identifier in evidence.get(key, ()):
                carrying.setdefault(identifier, set()).add(key)
        for start, by, end in steps:
            if isinstance(by, Bond):
                yield Link(start, end, (), None)
            else:
                sets = tuple(sorted(carrying[start] & carrying[end], key=order.__getitem__))
                yield Link(start, end, sets, self.since[sets[0]])

    def lost(self, violations: Iterable[Violation]) -> list[Lost]:
        """Violations with their calls and profile ids."""
        ids = self.explained.ids
        return [
            Lost(
                self.first_call(v.sighting),
                v.identifier,
                str(v.reason),
                v.rule,
                tuple(ids[n] for n in v.apart),
            )
            for v in violations
        ]


@dataclass(frozen=True)
class Person:
    """A profile that was asked about; ``place``: in its component's resolution."""

    known: Known
    place: int

    @property
    def profile_id(self) -> str:
        """Its id by the rules."""
        return self.known.explained.ids[self.place]

    @property
    def profile(self) -> ResolvedProfile:
        """Its identifiers, parts and merges."""
        return self.known.explained.resolution.profiles[self.place]

    @cached_property
    def sets(self) -> tuple[bytes, ...]:
        """Its sets, in order of their first calls."""
        home = self.known.explained.set_home
        return tuple(key for key in self.known.since if home[key] == self.place)

    @cached_property
    def evidence(self) -> Evidence:
        """What ties its identifiers."""
        return self.known.explained.evidence(self.place)

    @cached_property
    def ties(self) -> tuple[Link, ...]:
        """How each of its identifiers but the first came to it, in time."""
        told = ties(self.known.explained, self.place)
        links = self.known.links((tie.step for tie in told), self.evidence)
        return tuple(
            link._replace(first=self.known.first_call(tie.sighting), merged=tie.merged)
            for link, tie in zip(links, told, strict=True)
        )
