"""What a judgement is given: lines and rules, as plain values.

The oracle is written from the published rules alone and shares no code with what it judges.
It prefers the obvious way to the fast one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

Id = tuple[str, str]  # (type, normalised value)
IdSet = frozenset[Id]

WINDOW_DAYS = {"daily": 1, "weekly": 7, "monthly": 30, "annually": 365}


@dataclass(frozen=True)
class Line:
    """One landed line. `raw` has no line end; None stands for the unreadable rest of the object.

    `changed` is the object's last change (with a time zone), the last resort for a receipt time.
    """

    source: str
    object: str
    number: int
    raw: bytes | None
    changed: datetime


@dataclass(frozen=True)
class Identifier:
    """A type of identifier. `key` is the trait or property looked up; a custom type's own name
    where none is given."""

    type: str
    limit: int = 5
    window: str = "ever"  # ever | daily | weekly | monthly | annually
    normalise: str = "exact"  # exact | lower | email | digits | phone
    last: int | None = None  # digits: only the last n
    region: str | None = None  # phone: where a number without country code is from
    key: str | None = None


DEFAULTS = (
    Identifier("user_id", limit=1),
    Identifier("email", normalise="email"),
    *map(Identifier, ("android.id", "android.idfa", "android.push_token", "anonymous_id")),
    *map(Identifier, ("ga_client_id", "ios.id", "ios.idfa", "ios.push_token")),
)


@dataclass(frozen=True)
class Settings:
    """The rules of one space. `identifiers` in order of priority; None means Segment's defaults."""

    space: str = "shop"
    strategy: str = "segment"  # segment | latest_wins | components
    identifiers: tuple[Identifier, ...] | None = None
    unknown_types: str = "add"  # add | ignore
    on_limit: str = "drop_lowest"  # drop_lowest | drop_conflict
    order_by: str = "received_at"  # received_at | timestamp
    window_by: str = "timestamp"  # the clock of sliding windows: timestamp | received_at
    merges: int = 100
    mappings: int = 1000
    builtin: bool = True  # the built-in blocked pack
    blocked_values: tuple[str, ...] = ()
    blocked_patterns: tuple[str, ...] = ()
    blocked_values_by_type: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    blocked_patterns_by_type: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    properties_email: bool = True
    ios_idfa_needs_tracking: bool = True
    longest_line: int = 1 << 20  # bytes
    longest_identifier: int = 1000  # characters

    @property
    def types(self) -> tuple[Identifier, ...]:
        """The configured types; a group id never identifies a person."""
        listed = DEFAULTS if self.identifiers is None else self.identifiers
        return tuple(each for each in listed if each.type != "group_id")

    def rule(self, type_: str) -> Identifier:
        """The rule of a type; one that was met only in external ids has the default limit."""
        return next((each for each in self.types if each.type == type_), Identifier(type_))

    def rank(self, id_: Id) -> tuple[int, str, str]:
        """The priority of an identifier, strongest smallest: the given order, then alphabetical."""
        ordered = [each.type for each in self.types]
        if self.identifiers is None:
            ordered = ["user_id", "email"]
        type_, value = id_
        if type_ in ordered:
            return ordered.index(type_), type_, value
        return len(ordered), type_, value
