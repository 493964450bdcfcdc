"""Which identity sets are one profile: a pure function of sightings and rules.

    resolve(sightings, rules) -> Resolution

No Spark, no storage, no clock, no earlier answer. Strategies, each in a module of its own whose
docstring is its specification: ``segment`` (default), ``latest_wins``, ``components``.

Input: sightings of one raw component, or of many; no component influences another. They may come
in any order and are taken by their ``order``. A raw component must be closed under
``always_together`` pairs: both ends of a pair belong to the same one.
A set belongs to the profile of its strongest kept identifier; a set left without one to nobody.

``removed_links`` reads from an answer which links of the sets were cut.
"""

from __future__ import annotations

from collections.abc import Iterable

from lake.identity.resolve.components import clean, components, is_clean
from lake.identity.resolve.grown import founded, grown
from lake.identity.resolve.latest_wins import latest_wins
from lake.identity.resolve.links import removed_links
from lake.identity.resolve.model import (
    Drop,
    Identifier,
    Mapped,
    Merge,
    Part,
    Profile,
    Reason,
    Resolution,
    SetOutcome,
    Sighting,
    Violation,
)
from lake.identity.resolve.rules import Limit, OnLimit, Rules, Strategy, Window
from lake.identity.resolve.segment import segment

__all__ = [
    "Drop",
    "Identifier",
    "Limit",
    "Mapped",
    "Merge",
    "OnLimit",
    "Part",
    "Profile",
    "Reason",
    "Resolution",
    "Rules",
    "SetOutcome",
    "Sighting",
    "Strategy",
    "Violation",
    "Window",
    "clean",
    "founded",
    "grown",
    "is_clean",
    "removed_links",
    "resolve",
]

_STRATEGIES = {
    Strategy.SEGMENT: segment,
    Strategy.LATEST_WINS: latest_wins,
    Strategy.COMPONENTS: components,
}


def resolve(sightings: Iterable[Sighting], rules: Rules) -> Resolution:
    """The profiles, the place of every set, and every rule that bound."""
    return _STRATEGIES[rules.strategy](sightings, rules)
