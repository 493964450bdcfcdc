"""Explanations of one component: paths of evidence, cuts, ties, and what keeps people apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import ConfigError
from lake.identity.explain import Explained, about, between, ties
from lake.identity.ids import profile_id
from lake.identity.paths import Bond, Cut, Evidence, Step, cut, shortest_path
from lake.identity.resolve import (
    Identifier,
    Limit,
    OnLimit,
    Reason,
    Rules,
    Sighting,
    Strategy,
    Window,
    resolve,
)
from tests.support.cases import identifier, load_worked, rules_of, sightings_of

DAY = 86_400_000_000


def seen(day: float, *texts: str, name: str = "") -> Sighting:
    ids = tuple(sorted(identifier(text) for text in texts))
    at = round(day * DAY)
    return Sighting(name or " ".join(texts), at, (at, at, name), ids)


def component(*sightings: Sighting, rules: Rules | None = None) -> Explained:
    return Explained.of(sightings, rules or Rules(), "shop")


def worked(name: str, strategy: str) -> Explained:
    """The component of a worked example; a set is named by the call that first carried it."""
    (case,) = (c for c in load_worked() if c.id == name)
    (batch,) = case.batches
    sightings, _ = sightings_of(batch.events, batch.config)
    named = [s._replace(identity_set=s.order[-1]) for s in sightings]
    return Explained.of(named, rules_of(batch.config, strategy, "drop_lowest"), "shop")


def i(text: str) -> Identifier:
    return identifier(text)


# Paths and cuts in a graph.


def test_the_path_has_the_fewest_sets_and_among_equals_the_one_seen_first():
    graph: Evidence = {
        "long": (i("a:1"), i("x:1")),
        "late": (i("a:1"), i("y:1")),
        "early": (i("a:1"), i("z:1")),
        "end": (i("y:1"), i("z:1"), i("b:1")),
    }
    reordered = {key: graph[key] for key in ("long", "early", "late", "end")}
    assert shortest_path(graph, i("a:1"), i("b:1")) == (
        Step(i("a:1"), "late", i("y:1")),
        Step(i("y:1"), "end", i("b:1")),
    )
    assert shortest_path(reordered, i("a:1"), i("b:1")) == (
        Step(i("a:1"), "early", i("z:1")),
        Step(i("z:1"), "end", i("b:1")),
    )


def test_identifiers_that_nothing_ties_have_neither_a_path_nor_a_cut():
    graph: Evidence = {"s": (i("a:1"), i("x:1")), "t": (i("b:1"), i("y:1"))}
    assert shortest_path(graph, i("a:1"), i("b:1")) is None
    assert cut(graph, i("a:1"), i("b:1")) is None


def test_a_hub_is_named_as_the_single_identifier_of_every_path():
    """Two people, each on two sets, meet only in one e-mail address."""
    graph: Evidence = {
        "s1": (i("user_id:1"), i("email:hub")),
        "s2": (i("user_id:1"), i("email:hub"), i("x:1")),
        "s3": (i("user_id:2"), i("email:hub")),
        "s4": (i("user_id:2"), i("email:hub"), i("x:2")),
        "s5": (i("user_id:2"), i("email:hub"), i("x:3")),
    }
    found = cut(graph, i("user_id:1"), i("user_id:2"))
    assert found == Cut(("s1", "s2"), ((i("email:hub"),),))
    assert cut(graph, i("user_id:2"), i("user_id:1")) == found


def test_a_bond_is_never_cut():
    graph: Evidence = {"s": (i("a:1"), i("b:1")), Bond(0): (i("a:1"), i("b:1"))}
    assert cut(graph, i("a:1"), i("b:1")) is None
    beside: Evidence = {"s": (i("a:1"), i("x:1")), Bond(0): (i("x:1"), i("b:1"))}
    assert cut(beside, i("a:1"), i("b:1")) == Cut(("s",), ((i("x:1"),),))


def test_two_ids_of_one_device_are_one_hub():
    tablet = (i("anonymous_id:tablet"), i("ios.id:tablet"))
    graph: Evidence = {
        "s1": (i("user_id:1"), *tablet),
        "s2": (i("user_id:2"), *tablet),
        "s3": tablet,
    }
    assert cut(graph, i("user_id:1"), i("user_id:2")) == Cut(("s1",), (tablet,))


NODES = [("t", str(n)) for n in range(6)]
GRAPHS = st.lists(st.sets(st.sampled_from(NODES), min_size=2, max_size=3), max_size=8).map(
    lambda sets: {f"s{n}": tuple(sorted(ids)) for n, ids in enumerate(sets)}
)


def connected(graph: Evidence, one: Identifier, other: Identifier) -> bool:
    reached = {one}
    while grown := {j for ids in graph.values() if reached & set(ids) for j in ids} - reached:
        reached |= grown
    return other in reached


@settings(max_examples=300, deadline=None, derandomize=True)
@given(graph=GRAPHS)
def test_cuts_and_paths_equal_those_found_by_trying_everything(graph):
    one, other = NODES[0], NODES[1]
    path, found = shortest_path(graph, one, other), cut(graph, one, other)
    if not connected(graph, one, other):
        assert (path, found) == (None, None)
        return
    fewest = next(
        n
        for n in range(1, len(graph) + 1)
        if any(
            not connected({k: v for k, v in graph.items() if k not in gone}, one, other)
            for gone in combinations(graph, n)
        )
    )
    assert found is not None
    assert len(found.sets) == fewest
    assert not connected({k: v for k, v in graph.items() if k not in found.sets}, one, other)
    assert {hub[0] for hub in found.hubs if len(hub) == 1} == {
        node
        for node in NODES[2:]
        if not connected(
            {k: tuple(j for j in v if j != node) for k, v in graph.items()}, one, other
        )
    }
    for hub in found.hubs:
        assert not connected(
            {k: tuple(j for j in v if j not in hub) for k, v in graph.items()}, one, other
        )
    # The shortest path: no fewer sets connect the two, and its own steps are there.
    assert path is not None
    assert [step.start for step in path[1:]] == [step.end for step in path[:-1]]
    assert all({step.start, step.end} <= set(graph[step.by]) for step in path)
    assert (path[0].start, path[-1].end) == (one, other)
    assert len(path) == next(
        n
        for n in range(1, len(graph) + 1)
        if any(
            connected({k: graph[k] for k in kept}, one, other) for kept in combinations(graph, n)
        )
    )


# One component.


def test_a_profile_is_founded_added_to_and_merged_in_the_order_of_calls():
    found = component(
        seen(1, "anonymous_id:a1", name="m1"),
        seen(2, "user_id:u1", "email:e1", name="m2"),
        seen(3, "anonymous_id:a1", "email:e1", name="m3"),
        seen(4, "user_id:u1", "anonymous_id:a2", name="m4"),
    )
    assert found.ids == (profile_id("shop", "anonymous_id", "a1"),)
    assert [(tie.step, tie.sighting.order[-1], tie.merged) for tie in ties(found, 0)] == [
        (Step(i("user_id:u1"), "m2", i("email:e1")), "m2", False),
        (Step(i("anonymous_id:a1"), "m3", i("email:e1")), "m3", True),
        (Step(i("user_id:u1"), "m4", i("anonymous_id:a2")), "m4", False),
    ]


def test_a_shared_browser_belongs_to_its_last_user_and_the_link_that_gave_way_is_named():
    found = worked("adobe_shared_browser", "latest_wins")
    p1, p2, cookie = i("crm:P1"), i("crm:P2"), i("cookie:c1")
    assert found.home == {p1: 0, p2: 1, cookie: 1}
    assert shortest_path(found.evidence(1), p2, cookie) == (Step(p2, "e2", cookie),)
    assert cut(found.evidence(1), p2, cookie) == Cut(("e2",), ())
    refused = between(found, p1, p2)
    assert [(v.identity_set, v.identifier, v.reason, v.rule, v.apart) for v in refused] == [
        ("e1", cookie, Reason.VALUE_LIMIT, "crm: 1 ever", (0, 1))
    ]
    assert about(found, [p1]) == refused
    assert shortest_path(found.carried, p1, p2) == (Step(p1, "e1", cookie), Step(cookie, "e2", p2))


def test_a_chain_of_24_calls_over_four_sites_is_explained_end_to_end():
    """It hangs in one thread but for one ring of six calls, whose members two calls hold."""
    found = worked("treasure_data_ex1_four_sites", "components")
    (profile,) = found.resolution.profiles
    evidence = found.evidence(0)
    pairs = list(combinations(profile.identifiers, 2))
    assert max(len(shortest_path(evidence, *pair) or ()) for pair in pairs) == 24
    ends = i("td_client_id:yyy_001"), i("td_client_id:yyy_005")
    chain = "19 1 4 11 12 20 21 27 29 13 14 5 6 22 23 30 31 15 16 7 9 32 34 25"
    path = shortest_path(evidence, *ends) or ()
    assert [step.by for step in path] == [f"e{n}" for n in chain.split()]
    # Every identifier of the path is in every path, but the one that the ring goes around.
    around = i("td_global_id:3rd_015")
    assert cut(evidence, *ends) == Cut(
        ("e19",), tuple((step.end,) for step in path[:-1] if step.end != around)
    )
    ring = {i(f"td_client_id:{name}") for name in ("aaa_003", "zzz_005", "xxx_004")} | {
        i(f"td_global_id:3rd_{n}") for n in ("015", "016", "017")
    }
    sizes = {pair: len(found.sets) for pair in pairs if (found := cut(evidence, *pair))}
    assert sizes == {pair: 2 if set(pair) <= ring else 1 for pair in pairs}


def test_what_a_call_lost_is_no_evidence():
    """m3 carries the e-mail address of u1 but is u2's: it lost the address to the limit."""
    found = component(
        seen(1, "user_id:u1", "email:e1", name="m1"),
        seen(2, "user_id:u2", "email:e2", name="m2"),
        seen(3, "user_id:u2", "email:e1", "anonymous_id:a1", name="m3"),
    )
    (u1, e1, u2, a1) = map(i, ("user_id:u1", "email:e1", "user_id:u2", "anonymous_id:a1"))
    assert (found.home[u1], found.home[u2]) == (0, 1)
    assert found.evidence(0) == {"m1": (u1, e1)}
    assert {(v.identity_set, v.identifier) for v in between(found, u1, u2)} == {("m3", e1)}
    assert a1 not in found.home
    assert [v.identifier for v in between(found, a1, u1)] == [a1, e1]


def test_an_override_ties_without_a_call():
    pair = (i("user_id:u1"), i("user_id:u2"))
    found = component(
        seen(1, "user_id:u1", "email:e1", name="m1"),
        seen(2, "user_id:u2", name="m2"),
        rules=Rules(always_together=(pair,)),
    )
    assert shortest_path(found.evidence(0), *pair) == (Step(pair[0], Bond(0), pair[1]),)
    assert cut(found.evidence(0), *pair) is None
    assert [(tie.step, tie.sighting.order[-1]) for tie in ties(found, 0)] == [
        (Step(pair[0], "m1", i("email:e1")), "m1"),
        (Step(pair[0], Bond(0), pair[1]), "m2"),
    ]


KINDS = ("user_id", "email", "anonymous_id")
ANY = st.sampled_from([(kind, str(n)) for kind in KINDS for n in range(3)])
LOGS = st.lists(
    st.tuples(st.integers(0, 12), st.sets(ANY, min_size=1, max_size=4)), min_size=1, max_size=12
)
RULES = st.builds(
    Rules,
    strategy=st.sampled_from(Strategy),
    limits=st.fixed_dictionaries(
        {
            "user_id": st.just(Limit(1)),
            "email": st.builds(Limit, st.integers(1, 2), st.sampled_from(Window)),
        }
    ),
    on_limit=st.sampled_from(OnLimit),
    max_merges=st.integers(0, 3),
    max_mappings=st.integers(2, 6),
    always_together=st.lists(st.tuples(ANY, ANY), max_size=1).map(tuple),
    never_together=st.lists(st.tuples(ANY, ANY), max_size=1).map(tuple),
)


def log(calls: Sequence[tuple[int, set[Identifier]]]) -> list[Sighting]:
    first: dict[tuple[object, int], Sighting] = {}
    for n, (day, ids) in enumerate(sorted(calls, key=lambda call: call[0])):
        key = tuple(sorted(ids))
        first.setdefault((key, day), Sighting(key, day * DAY, (day * DAY, n), key))
    return list(first.values())


@settings(max_examples=400, deadline=None, derandomize=True)
@given(calls=LOGS, rules=RULES)
def test_every_profile_is_tied_together_by_its_evidence_whatever_the_rules(calls, rules):
    sightings = log(calls)
    try:
        resolution = resolve(sightings, rules)
    except ConfigError:  # the drawn overrides contradict each other
        return
    found = Explained.of(reversed(sightings), rules, "shop")
    assert found.resolution == resolution
    for place, profile in enumerate(resolution.profiles):
        evidence = found.evidence(place)
        assert {j for ids in evidence.values() for j in ids} <= set(profile.identifiers)
        assert all(
            shortest_path(evidence, profile.founder, j) is not None for j in profile.identifiers
        )
        told = ties(found, place)
        assert len(told) == len(profile.identifiers) - 1
        assert all({t.step.start, t.step.end} <= set(evidence[t.step.by]) for t in told)
        if rules.strategy is Strategy.SEGMENT and not rules.always_together:
            merging = [t.sighting for t in told if t.merged]
            assert merging == [merge.sighting for merge in profile.merges]


@pytest.mark.parametrize("strategy", ["segment", "components", "latest_wins"])
def test_the_order_in_which_sightings_are_given_changes_nothing(strategy):
    sightings = log([(n % 5, {("email", str(n % 3)), ("anonymous_id", str(n))}) for n in range(9)])
    rules = Rules(strategy=Strategy(strategy))
    one, other = (Explained.of(s, rules, "shop") for s in (sightings, reversed(sightings)))
    assert one == other
    assert [ties(one, n) for n in range(len(one.ids))] == [
        ties(other, n) for n in range(len(other.ids))
    ]
