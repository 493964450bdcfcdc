"""Which links of the sets an answer cut, and the merge history in Segment's form."""

from __future__ import annotations

from itertools import combinations

from lake.identity.resolve.model import Identifier, Pair, Profile, Resolution, Sighting


def removed_links(resolution: Resolution) -> frozenset[Pair]:
    """Pairs (smaller first) that some set carries together but that are not on one profile."""
    home = {
        identifier: n
        for n, profile in enumerate(resolution.profiles)
        for identifier in profile.identifiers
    }
    removed: set[Pair] = set()
    for outcome in resolution.sets:
        if outcome.dropped:
            gone = [drop.identifier for drop in outcome.dropped]
            removed.update((one, other) for one in outcome.kept for other in gone)
            removed.update(
                (one, other)
                for one, other in combinations(gone, 2)
                if one not in home or home[one] != home.get(other)
            )
    return frozenset((min(pair), max(pair)) for pair in removed)


def id_graph(profile: Profile) -> tuple[tuple[Identifier, Identifier, Sighting], ...]:
    """Rows (part, canonical part, caused by) as Segment's ``id_graph_updates`` has them, in time.

    A part starts as its own canonical; a merge gives a row to the absorbed part and to every part
    that was under it.
    """
    rows = [(part.founder, part.founder, part.created) for part in profile.parts]
    under: dict[Identifier, list[Identifier]] = {}
    for into, absorbed, sighting in profile.merges:
        moved = [absorbed, *under.pop(absorbed, [])]
        under.setdefault(into, []).extend(moved)
        rows.extend((part, into, sighting) for part in moved)
    # A creation and a merge never share a sighting, so its order alone sorts them.
    return tuple(sorted(rows, key=lambda row: row[2].order))
