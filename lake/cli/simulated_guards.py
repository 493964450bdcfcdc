"""The guards on a handful of identity sets: which values link nothing, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import product
from typing import TYPE_CHECKING

from lake.identity.guards import BLOCKED, SHARED, Blocked
from lake.identity.resolve import Identifier

if TYPE_CHECKING:
    from lake.identity.shared import Sharing


def guards(
    sets: Iterable[tuple[Identifier, ...]], blocked: Blocked, sharing: Sharing | None
) -> dict[Identifier, str]:
    """The identifiers of these sets that link nothing, and which guard sees to it."""
    distinct = {frozenset(identifiers) for identifiers in sets}
    found = {i: BLOCKED for s in distinct for i in s if blocked.blocks(*i)}
    if sharing is not None:
        free = [identifiers.difference(found) for identifiers in distinct]
        found |= dict.fromkeys(_shared(free, sharing), SHARED)
    return found


def _shared(sets: Iterable[frozenset[Identifier]], sharing: Sharing) -> set[Identifier]:
    """The identifiers carried with more values of a type than `lake.identity.shared` allows."""
    met: dict[tuple[Identifier, str], set[str]] = {}
    for identifiers in sets:
        for one, (kind, value) in product(identifiers, identifiers):
            if one != (kind, value) and kind in sharing.counted.get(one[0], sharing.unlisted):
                met.setdefault((one, kind), set()).add(value)
    limits = sharing.limits
    if limits is None:
        from lake.identity.shared import natural_limits

        degrees = Counter((one[0], kind, len(values)) for (one, kind), values in met.items())
        limits = natural_limits((*degree, values) for degree, values in degrees.items())
    return {
        one
        for (one, kind), values in met.items()
        if len(values) > limits.get((one[0], kind), len(values))
    }
