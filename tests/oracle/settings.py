"""What a judgement is given: lines and rules, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

Id = tuple[str, str]  # (type, normalised value)
IdSet = frozenset[Id]
Texts = tuple[str, ...]
WINDOW_DAYS = {"daily": 1, "weekly": 7, "monthly": 30, "annually": 365}


@dataclass(frozen=True)
class Line:
    """A landed line without its end, None for an unreadable rest, and its object's last change."""

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
    normalise: str = "exact"  # exact | lower | email | phone
    region: str | None = None  # phone: where a number without country code is from
    key: str | None = None

    @property
    def reason(self) -> str:
        """What is noted where the limit is exceeded."""
        return f"Identifier value {'' if self.window == 'ever' else 'time '}limit exceeded"


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
    always: tuple[tuple[Id, Id], ...] = ()  # always_together, values normalised
    never: tuple[tuple[Id, Id], ...] = ()  # never_together

    @cached_property
    def types(self) -> dict[str, Identifier]:
        """The configured types; a group id never identifies a person."""
        listed = DEFAULTS if self.identifiers is None else self.identifiers
        return {each.type: each for each in listed if each.type != "group_id"}

    def rule(self, type_: str) -> Identifier:
        """The rule of a type; one that was met only in external ids has the default limit."""
        return self.types.get(type_) or Identifier(type_)

    def rank(self, id_: Id) -> tuple[int, str, str]:
        """The priority of an identifier, strongest smallest: the given order, then alphabetical."""
        order = [*self.types] if self.identifiers else ["user_id", "email"]
        return order.index(id_[0]) if id_[0] in order else len(order), *id_

    @cached_property
    def bonds(self) -> dict[Id, IdSet]:
        """Each identifier of a pair with all that it always goes with, itself among them."""
        bonds = {id_: frozenset([id_]) for pair in (*self.always, *self.never) for id_ in pair}
        for one, other in self.always:
            bond = bonds[one] | bonds[other]
            bonds |= dict.fromkeys(bond, bond)
        return bonds

    def hostile(self, ids: Set[Id]) -> set[Id]:
        """Those of some identifiers that must never be with another of them."""
        sides = [(ids & self.bonds[one], ids & self.bonds[other]) for one, other in self.never]
        return {id_ for near, far in sides if near and far for id_ in near | far}
