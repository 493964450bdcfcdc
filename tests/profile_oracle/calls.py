"""Calls as the judge sees them: in order, by the clock ``timestamp``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Told:
    """One call: when it happened, its place in the order of all, where it came from, its body."""

    at: datetime
    order: tuple[datetime, datetime, str]
    source: str
    body: Mapping[str, Any]

    @property
    def ids(self) -> frozenset[tuple[str, str]]:
        """The identifiers of a person that it carries."""
        kinds = (("user_id", "userId"), ("anonymous_id", "anonymousId"))
        return frozenset((k, self.body[key]) for k, key in kinds if self.body.get(key))


def calls_of(landed: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Told]:
    """Calls (source, body) in order; of two with one message id the first received counts."""
    found: dict[str, Told] = {}
    for source, body in landed:
        received = datetime.fromisoformat(body["receivedAt"])
        at = datetime.fromisoformat(body.get("timestamp", body["receivedAt"]))
        told = Told(at, (at, received, body["messageId"]), source, body)
        known = found.setdefault(body["messageId"], told)
        if received < known.order[1]:
            found[body["messageId"]] = told
    return sorted(found.values(), key=lambda told: told.order)
