"""What the kernel tells of how a profile came to be."""

from __future__ import annotations

from lake.identity.conflicts import MOST_STEPS, paths
from lake.identity.resolve import Limit, Profile, Rules, Sighting, Strategy, resolve
from lake.identity.resolve.links import id_graph


def chain(length: int) -> Profile:
    """So many profiles, each of which the next younger one had been merged into before."""
    created = [("a", f"{n:04}") for n in range(length)]
    pairs = [(created[n], created[n - 1]) for n in range(length - 1, 0, -1)]
    calls = [*((one,) for one in created), *pairs]
    rows = [Sighting(ids, n, (n, n, str(n)), ids) for n, ids in enumerate(calls)]
    rules = Rules(strategy=Strategy.COMPONENTS, default_limit=Limit(None))
    (profile,) = resolve(rows, rules).profiles
    return profile


def test_the_path_of_a_part_is_every_row_that_segments_id_graph_has_of_it() -> None:
    profile = chain(20)
    rows = [(part, into, s) for part, into, s in id_graph(profile) if part != into]
    found = [(p.founder, m.into, m.sighting) for p, path in paths(profile) for m in path]
    assert sorted(found) == sorted(rows)
    assert len(found) == 190


def test_a_long_chain_of_merges_does_not_cost_its_square() -> None:
    profile = chain(1_000)
    told = {part.founder: path for part, path in paths(profile)}
    assert max(map(len, told.values())) == MOST_STEPS
    assert all(path[-1].into == profile.founder for path in told.values() if path)
    youngest = told["a", "0999"]
    assert [merge.into for merge in youngest[:2]] == [("a", "0998"), ("a", "0997")]
