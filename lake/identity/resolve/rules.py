"""The rules of one space, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from lake.errors import ConfigError
from lake.identity.resolve.model import Identifier, Pair, Reason
from lake.identity.resolve.overrides import Overrides

_DAY = 86_400_000_000
_SPANS = {
    "ever": None,
    "daily": _DAY,
    "weekly": 7 * _DAY,
    "monthly": 30 * _DAY,
    "annually": 365 * _DAY,
}


class Strategy(StrEnum):
    """How a component that cannot simply be one profile is divided."""

    SEGMENT = "segment"
    LATEST_WINS = "latest_wins"
    COMPONENTS = "components"


class OnLimit(StrEnum):
    """Which identifier leaves a call when the profile it would make breaks a limit."""

    DROP_LOWEST = "drop_lowest"
    DROP_CONFLICT = "drop_conflict"


class Window(StrEnum):
    """Over which time a limit counts; rolling, not by the calendar."""

    EVER = "ever"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    ANNUALLY = "annually"

    @property
    def span(self) -> int | None:
        """Length in microseconds, None for ``ever``."""
        return _SPANS[self.value]


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``count`` values of a type on one profile, or added to it within the window.

    ``count`` None: no limit.
    """

    count: int | None
    window: Window = Window.EVER

    def __str__(self) -> str:
        return f"{'unlimited' if self.count is None else self.count} {self.window.value}"

    @property
    def reason(self) -> Reason:
        """Segment's text for breaking this limit."""
        return Reason.VALUE_LIMIT if self.window is Window.EVER else Reason.TIME_LIMIT


def _segment_limits() -> dict[str, Limit]:
    return {"user_id": Limit(1)}


@dataclass(frozen=True)
class Rules:
    """The rules of one space; the defaults are Segment's.

    ``priority`` names types from the strongest down; types it leaves out follow alphabetically.
    ``max_merges`` and ``max_mappings`` cap one profile. The override pairs are undirected.
    """

    strategy: Strategy = Strategy.SEGMENT
    priority: tuple[str, ...] = ("user_id", "email")
    limits: Mapping[str, Limit] = field(default_factory=_segment_limits)
    default_limit: Limit = field(default=Limit(5))
    on_limit: OnLimit = OnLimit.DROP_LOWEST
    max_merges: int = 100
    max_mappings: int = 1000
    always_together: tuple[Pair, ...] = ()
    never_together: tuple[Pair, ...] = ()

    def __post_init__(self) -> None:
        """ConfigError where no profile could ever be made."""
        if self.max_mappings < 1 or self.max_merges < 0:
            raise ConfigError("caps: mappings must be at least 1 and merges at least 0")

    def limit(self, kind: str) -> Limit:
        """The limit of one identifier type."""
        return self.limits.get(kind, self.default_limit)

    @cached_property
    def rank(self) -> Mapping[str, int]:
        """Position of each listed type; an unlisted type stands at ``len(priority)``."""
        return {kind: place for place, kind in enumerate(self.priority)}

    def strength(self, identifier: Identifier) -> tuple[int, Identifier]:
        """Sorts identifiers, the strongest first: by place of the type, type, value."""
        return self.rank.get(identifier[0], len(self.priority)), identifier

    @cached_property
    def overrides(self) -> Overrides | None:
        """The pairs, closed once for all components; None where there are none.

        Raises ConfigError where the pairs contradict each other.
        """
        if not (self.always_together or self.never_together):
            return None
        return Overrides.closed(self.always_together, self.never_together)
