"""An explanation as plain values, for ``--output json``."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from functools import cached_property
from typing import Any

from lake.cli.explanation import Explanation
from lake.cli.people import Link, Person
from lake.clock import RECEIVED_AT
from lake.identity.paths import Cut, Evidence
from lake.identity.resolve import Identifier, Rules
from lake.io import evidence as stored
from lake.io.evidence import Call, FirstCall


def answer(explanation: Explanation) -> dict[str, Any]:
    """The explanation: times as ISO-8601 in UTC, calls as message ids in their order.

    ``profiles`` are those asked about. ``links``: the shortest path between two identifiers of
    one profile; of one identifier, how each one of its profile came to it. ``refused_links``:
    what would connect two that rules keep apart.
    """
    told = _Told(explanation)
    between = explanation.connection
    links = between.path if between else [tie for p in explanation.people for tie in p.ties]
    return {
        "publication": explanation.publication,
        "run": explanation.tables.run,
        "asked": [
            {
                "type": one.identifier[0],
                "value": one.identifier[1],
                "profile_id": one.profile_id,
                "guard": one.guard,
                "calls": one.calls,
            }
            for one in explanation.asked
        ],
        "profiles": [
            {
                "profile_id": person.profile_id,
                "identifiers": [list(i) for i in person.profile.identifiers],
                "calls": told.calls(person.sets),
            }
            for person in explanation.people
        ],
        "history": [told.history(person) for person in explanation.people],
        "violations": [
            {"call": lost.call.message_id, "type": kind, "value": value, "reason": lost.reason}
            for lost in explanation.lost
            for kind, value in [lost.identifier]
        ],
        "unresolved": told.calls(explanation.unresolved),
        "links": [told.link(link) for link in links],
        "refused_links": [told.link(link) for link in between.refused_path] if between else [],
        "guarded": [list(i) for i in between.guarded] if between else [],
        "cut": told.cut(between.cut) if between and between.cut else None,
        "notes": list(explanation.notes),
        "faults": list(explanation.faults),
    }


@dataclass(frozen=True)
class _Told:
    """Parts of the answer, with all calls of the sets they name."""

    explanation: Explanation

    @cached_property
    def _by_set(self) -> Mapping[bytes, list[Call]]:
        found: dict[bytes, list[Call]] = {}
        for call in all_calls(self.explanation):
            found.setdefault(call.identity_set, []).append(call)
        return found

    def calls(self, sets: Iterable[bytes]) -> list[str]:
        """The message ids of all calls of sets, in order."""
        clock = self.explanation.config.identity.order_by
        found = [call for key in sets for call in self._by_set.get(key, ())]
        found.sort(key=lambda call: (*stored.times_of(call, clock), call.message_id))
        return [call.message_id for call in found]

    def link(self, link: Link) -> dict[str, Any]:
        return {
            "from": list(link.start),
            "to": list(link.end),
            "calls": self.calls(link.sets),
            "first": first_call(link.first),
            "by": "calls" if link.sets else "always_together",
        }

    def history(self, person: Person) -> dict[str, Any]:
        profile = person.profile
        return {
            "profile_id": person.profile_id,
            "founder": list(profile.founder),
            "created": first_call(person.known.first_call(profile.created)),
            "merges": [
                {
                    "into": list(merge.into),
                    "absorbed": list(merge.absorbed),
                    "by": first_call(person.known.first_call(merge.sighting)),
                }
                for merge in profile.merges
            ],
        }

    def cut(self, cut: Cut) -> dict[str, Any]:
        one, other = (asked.identifier for asked in self.explanation.asked)
        sets = [key for key in cut.sets if isinstance(key, bytes)]
        person = self.explanation.people[0]
        hub = to_block(cut, person.evidence, person.known.explained.rules)
        return {
            "identity_sets": [key.hex() for key in sets],
            "calls": self.calls(sets),
            "in_every_path": [[list(i) for i in hub] for hub in cut.hubs],
            "override": never_together(one, other),
            "blocked": [{"type": kind, "value": value} for kind, value in hub],
        }


def all_calls(explanation: Explanation) -> tuple[Call, ...]:
    """Every call that the answer names, by arrival."""
    sets = {key for person in explanation.people for key in person.sets}
    sets.update(explanation.unresolved)
    if explanation.connection:
        sets.update(key for link in explanation.connection.refused_path for key in link.sets)
    days = None  # where days are not those of arrival, a call may have come on any
    if explanation.config.identity.order_by == RECEIVED_AT:
        days = {day for c in explanation.carriers for key, day in c.days if key in sets}
    return stored.calls(explanation.tables, sets, days)


def first_call(call: FirstCall | None) -> dict[str, Any] | None:
    """A call as plain values; None for an override, which is no call."""
    if call is None:
        return None
    return {
        "message_id": call.message_id,
        "source": call.source,
        "received_at": call.received_at.astimezone(UTC).isoformat(),
        "identity_set": call.identity_set.hex(),
    }


def never_together(one: Identifier, other: Identifier) -> str:
    """The line of the overrides file that keeps two identifiers apart."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(["never_together", *one, *other])
    return line.getvalue()


def to_block(cut: Cut, evidence: Evidence, rules: Rules) -> tuple[Identifier, ...]:
    """The hub of every path that is likeliest to be nobody's; empty where there is none.

    One of types of which a person may have several, carried by the most sets; then the first.
    """

    def sets(hub: tuple[Identifier, ...]) -> int:
        return sum(hub[0] in identifiers for identifiers in evidence.values())

    def unique(hub: tuple[Identifier, ...]) -> bool:
        return any(rules.limit(kind).count == 1 for kind, _ in hub)

    return min(cut.hubs, key=lambda hub: (unique(hub), -sets(hub)), default=())
