"""No limits: one profile for each connected component; and when that is the answer anyway.

``components`` is the fold with every limit and cap lifted, so merges, parts and founders mean the
same as under ``segment``; the founder is the strongest identifier of the component's first set.
Overrides still hold: ``always_together`` joins, and at a ``never_together`` pair the call that
would unite the two loses an identifier.

``is_clean`` decides without folding. For a clean component every strategy answers with one
profile, ``segment`` and ``components`` with the same ``Resolution`` in every part. Its founder is
the strongest identifier of the first sighting; under ``latest_wins`` the unique-type identifier
seen first, where there is one (see there).
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace

from lake.identity.resolve.model import Identifier, Resolution, Sighting
from lake.identity.resolve.rules import Limit, Rules, Strategy
from lake.identity.resolve.segment import segment


def components(sightings: Iterable[Sighting], rules: Rules) -> Resolution:
    """Fold the sightings with nothing but the overrides in force."""
    return segment(
        sightings,
        replace(
            rules,
            limits={},
            default_limit=Limit(None),
            max_merges=sys.maxsize,
            max_mappings=sys.maxsize,
        ),
    )


def is_clean(
    values_by_type: Mapping[str, int], sets: int, bonds: Iterable[int], rules: Rules
) -> bool:
    """Whether no limit, cap or override can bind in one raw component.

    ``values_by_type``: distinct identifiers of each type. ``sets``: distinct identity sets.
    ``bonds``: the ``rules.overrides.bond`` classes of its identifiers; empty without overrides.
    All are plain aggregates of the component, so Spark gets them with one ``group by`` and calls
    the rest of this module only where they are close:

    - no type has more distinct values than its limit (what a window holds is never more);
    - not more identifiers than the mapping cap;
    - not more merges than the merge cap: every profile is created by another set and has another
      founder, so at most ``min(sets, identifiers) - 1`` merges can happen;
    - no ``never_together`` pair has both ends in it. An ``always_together`` pair does no harm:
      its two ends are an edge of the raw component, and no limit is broken.

    ``components`` knows only the last of the four; ``latest_wins`` only unique types (limit 1),
    the mapping cap and the last.
    """
    if rules.overrides is not None:
        present = set(bonds)
        if any(present & rules.overrides.foes.get(bond, frozenset()) for bond in present):
            return False
    if rules.strategy is Strategy.COMPONENTS:
        return True
    identifiers = sum(values_by_type.values())
    if identifiers > rules.max_mappings:
        return False
    limits = {kind: rules.limit(kind).count for kind in values_by_type}
    if rules.strategy is Strategy.LATEST_WINS:
        return all(n <= 1 for kind, n in values_by_type.items() if limits[kind] == 1)
    if min(sets, identifiers) - 1 > rules.max_merges:
        return False
    return all((limit := limits[kind]) is None or n <= limit for kind, n in values_by_type.items())


def clean(sightings: Iterable[Sighting], rules: Rules) -> bool:
    """``is_clean`` of one raw component given by its sightings; for tests and ``explain``."""
    sets: set[Hashable] = set()
    identifiers: set[Identifier] = set()
    for sighting in sightings:
        sets.add(sighting.identity_set)
        identifiers.update(sighting.identifiers)
    values: dict[str, int] = {}
    for kind, _ in identifiers:
        values[kind] = values.get(kind, 0) + 1
    bond = rules.overrides.bond if rules.overrides else {}
    return is_clean(values, len(sets), {bond[i] for i in identifiers if i in bond}, rules)
