"""What a judgement is given: lines and rules, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

Id = tuple[str, str]  # (type, normalised value)
IdSet = frozenset[Id]
Texts = tuple[str, ...]
WINDOW_DAYS = {"daily": 1, "weekly": 7, "monthly": 30, "annually": 365}


@dataclass(frozen=True)
class Line:
    """One landed line without its end; None stands for the unreadable rest of the object. The
    object's last change (with a time zone) is the last resort for a receipt time."""

    source: str
    object: str
    number: int
    raw: bytes | None
    changed: datetime


@dataclass(frozen=True)
class Identifier:
    """A type of identifier; `key` is the trait or property looked up, else its own name."""

    type: str
    limit: int | None = 5
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
    merges: int = 100
    mappings: int = 1000
    builtin: bool = True  # the built-in blocked pack
    blocked_values: Texts = ()
    blocked_patterns: Texts = ()
    blocked_by_type: Mapping[str, tuple[Texts, Texts]] = field(default_factory=dict)  # both
    properties_email: bool = True
    ios_idfa_needs_tracking: bool = True

    @cached_property
    def types(self) -> dict[str, Identifier]:
        """The configured types; a group id never identifies a person."""
        listed = DEFAULTS if self.identifiers is None else self.identifiers
        return {each.type: each for each in listed if each.type != "group_id"}

    def rule(self, type_: str) -> Identifier:
        """The rule of a type; one that was met only in external ids has the default limit."""
        return self.types.get(type_) or Identifier(type_)

    @cached_property
    def places(self) -> dict[str, int]:
        ordered = self.types if self.identifiers else ("user_id", "email")
        return {type_: place for place, type_ in enumerate(ordered)}

    def rank(self, id_: Id) -> tuple[int, str, str]:
        """The priority of an identifier, strongest smallest: the given order, then alphabetical."""
        return self.places.get(id_[0], len(self.places)), *id_
