"""The guard `shared`: what is too widely shared to identify anybody, and what is not.

The limit is a pure function of a histogram; it is shown the shapes it was made for and held to
its laws. The frames are shown a few identity sets, and a lake a kiosk that comes and goes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import re2
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from lake.cli.world import NOREPLY, World
from lake.identity.guards import Blocked
from lake.identity.ids import identifier_key, profile_id
from lake.identity.shared import (
    HOUSEHOLD,
    LOWEST,
    Found,
    Sharing,
    automatic,
    configured,
    degrees,
    evidence,
    exceeding,
    guarded,
    histograms,
    natural_limit,
    natural_limits,
    setting,
)
from lake.identity.stitching import keyed
from lake.run.shell import summary_text
from lake.tables import SHARED_VALUES
from tests.support.nights import Site, land, site

Identifier = tuple[str, str]
Histogram = Mapping[int, int]

TUTORIAL: Histogram = {0: 485, 1: 1442, 12: 5}

# -- the limit: shapes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("histogram", "limit"),
    [
        (TUTORIAL, 7),
        ({1: 2607, 2: 9, 12: 1}, 7),  # the demo's kiosk among browsers
        ({1: 391, 12: 1}, 7),  # among telephones
        ({1: 1768, 30: 1}, 12),  # its noreply address
        ({1: 68, 2: 1, 12: 1}, 7),  # its smallest world
        ({1: 10, 12: 1}, 7),
        ({1: 5490, 2: 300, 3: 100, 4: 60, 5: 30, 12: 5}, 7),  # beside many households
        ({1: 3000, 2: 5, 3: 5, 4: 5, 5: 5, 12: 5}, 7),
        ({1: 2000, 2: 40, 3: 10, 4: 5, 5: 2, 100: 1}, 22),
        ({1: 100_000, 10_001: 1}, 223),
    ],
)
def test_values_far_beyond_all_others_are_found(histogram: Histogram, limit: int) -> None:
    assert natural_limit(histogram) == limit
    assert max(d for d in histogram if d <= HOUSEHOLD) <= limit < min(d for d in histogram if d > 7)


@pytest.mark.parametrize(
    "histogram",
    [
        {},
        {0: 10_000},
        {0: 9, 1: 10_000},
        {1: 5000, 2: 300, 3: 100, 4: 60, 5: 30},
        {1: 3000, 5: 1},
        {1: 3000, 6: 2, 7: 1},
        {2: 500, 3: 700, 4: 400, 5: 20},
    ],
)
def test_households_alone_have_no_limit(histogram: Histogram) -> None:
    assert natural_limit(histogram) is None


@pytest.mark.parametrize(
    "histogram",
    [
        {21: 1, 60: 1, 90: 1},  # the tutorial's stores: the type itself is shared
        {1: 2, 30: 1},
        {1: 5, 12: 1},
        {1: 100, 12: 50},
        {12: 5},
        {2: 10, 3: 3, 4: 15, 5: 3, 6: 26, 7: 7, 8: 24, 9: 10, 10: 21, 11: 13, 12: 18},
    ],
)
def test_a_type_of_few_values_or_of_many_shared_ones_has_no_limit(histogram: Histogram) -> None:
    assert natural_limit(histogram) is None


def test_one_kiosk_just_beyond_households_might_be_their_tail_but_five_are_not() -> None:
    homes = {1: 2000, 2: 40, 3: 10, 4: 5, 5: 2}

    assert natural_limit({**homes, 12: 1}) is None
    assert natural_limit({**homes, 12: 5}) == 7


def test_a_straggler_in_the_gap_does_not_hide_the_kiosks() -> None:
    stragglers = ({8: 1}, {6: 1, 8: 1}, {6: 1, 8: 1, 9: 1, 10: 1}, {4: 5})

    found = [natural_limit({1: 2000, **few, 12: 5}) for few in stragglers]

    assert found == [7, 7, 7, 7]


def test_the_end_of_a_tail_is_left_alone_where_the_gap_is_beyond_it() -> None:
    assert natural_limit({1: 2000, 4: 3, 9: 1, 10: 1, 100: 20}) == 31


def test_what_is_far_beyond_does_not_hide_what_is_less_far_nor_the_other_way_round() -> None:
    assert natural_limit({1: 500, 2: 4, 12: 3, 1000: 5}) == 7
    assert natural_limit({1: 515, 2: 13, 3: 2, 12: 3, 1000: 5}) == 7


# -- the limit: laws ---------------------------------------------------------------------------

LAW = settings(max_examples=60, deadline=None, derandomize=True)

ordinary_and_any_others = st.builds(
    lambda none, ones, others: {0: none, 1: ones, **others},
    st.integers(0, 1000),
    st.integers(1, 10_000),
    st.dictionaries(st.integers(2, 300), st.integers(1, 20), max_size=8),
)
few_above_many = st.builds(
    lambda ones, twos, shared: {1: ones, 2: twos, **shared},
    st.integers(500, 100_000),
    st.integers(0, 5),
    st.dictionaries(st.integers(12, 2000), st.integers(1, 5), min_size=1, max_size=4),
)

#: Three or more of one degree, and whatever beyond.
a_group_above_many = st.builds(
    lambda ones, degree, values, others: {1: ones, degree: values, **others},
    st.integers(500, 100_000),
    st.integers(12, 30),
    st.integers(3, 5),
    st.dictionaries(st.integers(31, 2000), st.integers(1, 5), max_size=3),
)


@LAW
@given(ordinary_and_any_others)
def test_a_limit_lies_above_any_household_and_below_what_it_guards(histogram: Histogram) -> None:
    limit = natural_limit(histogram)
    if limit is None:
        return

    guards = sum(values for degree, values in histogram.items() if degree > limit)

    assert limit >= LOWEST > HOUSEHOLD
    assert 0 < guards * 10 <= sum(n for degree, n in histogram.items() if degree)


@LAW
@given(few_above_many)
def test_few_values_far_above_many_of_degree_one_are_all_found(histogram: Histogram) -> None:
    limit = natural_limit(histogram)

    assert limit is not None
    assert limit < min(d for d in histogram if d > 2)


@LAW
@given(ordinary_and_any_others, st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_values_of_degree_0_and_1_never_take_a_limit_back(
    histogram: Histogram, none: int, one: int
) -> None:
    more = dict(Counter(histogram) + Counter({0: none, 1: one}))

    assert natural_limit(histogram) is None or natural_limit(more) is not None


@LAW
@given(a_group_above_many, st.integers(0, 100_000), st.integers(0, 8), st.integers(0, 2))
def test_ordinary_values_do_not_move_a_limit(
    histogram: dict[int, int], ones: int, twos: int, threes: int
) -> None:
    before = natural_limit(histogram)

    added = {1: ones, 2: twos, 3: threes}
    after = natural_limit(dict(Counter(histogram) + Counter(added)))

    assert after == before


@LAW
@given(st.floats(1.2, 5), st.integers(1, 100_000))
def test_a_power_law_without_a_gap_has_no_limit(exponent: float, values: int) -> None:
    smooth: dict[int, int] = {}
    degree = 1
    while (count := int(values / degree**exponent)) and degree < 3000:
        smooth[degree] = count
        degree += 1

    assert natural_limit(smooth) is None


@LAW
@given(st.floats(0.1, 0.9), st.integers(1, 100_000))
def test_a_geometric_tail_has_no_limit(ratio: float, values: int) -> None:
    smooth = {d: n for d in range(1, 200) if (n := int(values * ratio**d))}

    assert natural_limit(smooth) is None


@LAW
@given(ordinary_and_any_others)
def test_the_order_of_a_histogram_means_nothing(histogram: Histogram) -> None:
    backwards = dict(reversed(list(histogram.items())))

    assert natural_limit(backwards) == natural_limit(histogram)


# -- the demo ---------------------------------------------------------------------------------

SHOP = ("user_id", "email", "phone", "anonymous_id", "ios.id", "android.id")


def counted_degrees(
    sets: Iterable[Iterable[Identifier]], sharing: Sharing
) -> dict[tuple[Identifier, str], int]:
    """Degrees as the definition says, by hand."""
    met = defaultdict(set)
    for identifiers in sets:
        for a in identifiers:
            for b in identifiers:
                if a != b and b[0] in sharing.counted.get(a[0], sharing.unlisted):
                    met[a, b[0]].add(b)
    return {pair: len(values) for pair, values in met.items()}


def shared_by_hand(
    sets: Iterable[Iterable[Identifier]], sharing: Sharing
) -> dict[tuple[Identifier, str], int]:
    """What `auto` guards, with degrees."""
    found = counted_degrees(sets, sharing)
    rows = Counter((kind, other, n) for ((kind, _), other), n in found.items())
    limits = natural_limits((*row, values) for row, values in rows.items())
    return {
        ((kind, value), other): n
        for ((kind, value), other), n in found.items()
        if n > limits.get((kind, other), n)
    }


@pytest.mark.parametrize(("calls", "seed"), [(1_200, 11), (6_000, 7)])
def test_in_the_demo_the_ipad_and_the_call_centre_are_found_and_nothing_else(
    calls: int, seed: int
) -> None:
    world, blocked = World(seed=seed, calls=calls), Blocked()
    sets = {
        frozenset(i for i in call.ids if i[0] in SHOP and not blocked.blocks(*i))
        for call in world._diary.calls
    }

    found = shared_by_hand(sets, automatic(SHOP))

    owners = world.truth()
    values = {identifier for identifier, _ in found}
    assert {owners[identifier] for identifier in values} == {None}
    assert ("email", NOREPLY) in values
    assert Counter(kind for kind, _ in values) == {"email": 1, "anonymous_id": 1, "ios.id": 1}
    degree = {(kind, other): n for ((kind, _), other), n in found.items()}
    assert degree["email", "user_id"] == 30
    assert degree["anonymous_id", "user_id"] == degree["ios.id", "user_id"] == 12


def connected(
    sets: Iterable[frozenset[Identifier]], ignored: set[Identifier]
) -> dict[Identifier, Identifier]:
    """Each identifier's component, by union and find; ignored ones are in none."""
    parent: dict[Identifier, Identifier] = {}

    def root(node: Identifier) -> Identifier:
        while parent.setdefault(node, node) != node:
            parent[node] = node = parent[parent[node]]
        return node

    for members in sets:
        first, *others = sorted(members - ignored) or [None]
        if first is not None:
            for other in (first, *others):
                parent[root(other)] = root(first)
    return {node: root(node) for node in sorted(parent)}


# -- the settings ------------------------------------------------------------------------------


def test_auto_counts_stronger_types_that_people_have_and_no_ids_that_programs_make() -> None:
    rule = automatic(("user_id", "email", "ios.id", "anonymous_id", "loyalty_id"))

    assert rule == Sharing(
        counted={
            "user_id": (),
            "email": ("user_id",),
            "ios.id": ("user_id", "email"),
            "anonymous_id": ("user_id", "email"),
            "loyalty_id": ("user_id", "email"),
        },
        unlisted=("user_id", "email", "loyalty_id"),
    )
    assert rule.mode == "auto"


def test_limits_say_themselves_what_is_counted() -> None:
    rule = configured({"anonymous_id": {"email": 4, "user_id": 3}, "email": {"user_id": 2}})

    assert rule == Sharing(
        counted={"anonymous_id": ("email", "user_id"), "email": ("user_id",)},
        limits={
            ("anonymous_id", "email"): 4,
            ("anonymous_id", "user_id"): 3,
            ("email", "user_id"): 2,
        },
    )
    assert rule.mode == "limits"


def test_only_pairs_with_a_gap_have_a_natural_limit() -> None:
    rows = [("ios.id", "email", d, n) for d, n in TUTORIAL.items() if d]
    rows += [("phone", "email", 1, 900), ("phone", "email", 2, 4)]

    assert natural_limits(rows) == {("ios.id", "email"): 7}


def test_the_setting_to_paste_is_one_that_the_configuration_accepts(tmp_path: Path) -> None:
    from lake.config import load

    limits = {("anonymous_id", "email"): 7, ("ios.id", "email"): 9, ("ios.id", "user_id"): 12}
    file = tmp_path / "lake.yaml"
    file.write_text(
        "space: shop\nroot: ./lake\nsources: {web: {path: ./web}}\n"
        f"identity:\n  {setting(limits)}\n"
    )

    pasted = load(file, {}).identity.shared

    assert (pasted.mode, configured(pasted.limits).limits) == ("limits", limits)


# -- the frames --------------------------------------------------------------------------------

Sets = Mapping[str, Iterable[str]]
SETS: Sets = {
    "ann at the kiosk": ("user_id:ann", "email:ann@example.com", "anonymous_id:kiosk"),
    "bob at the kiosk": ("user_id:bob", "email:noreply@x", "anonymous_id:kiosk"),
    "cid at the kiosk": ("user_id:cid", "email:noreply@x", "anonymous_id:kiosk"),
    "the kiosk alone": ("anonymous_id:kiosk",),
    "nobody at the kiosk": ("user_id:0", "anonymous_id:kiosk"),
    "ann at home": ("user_id:ann", "anonymous_id:home"),
    "bob at home": ("email:bob@example.com", "anonymous_id:home", "anonymous_id:tablet"),
    "blocked": ("user_id:ann", "email:dee@x", "anonymous_id:0"),
}


def pairs(members: Iterable[str]) -> list[Identifier]:
    return sorted((kind, value) for kind, _, value in (m.partition(":") for m in members))


def frames(spark: SparkSession, sets: Sets) -> tuple[DataFrame, DataFrame]:
    """(sets, identifiers) as the stitching has them, with the built-in values blocked."""
    blocked = Blocked()
    known = sorted({i for members in sets.values() for i in pairs(members)})
    rows = [(k, v, "blocked" if blocked.blocks(k, v) else None) for k, v in known]
    return (
        spark.createDataFrame(
            [(name.encode(), pairs(members)) for name, members in sets.items()],
            "identity_set binary, identifiers array<struct<type:string,value:string>>",
        ),
        spark.createDataFrame(rows, "type string, value string, guard string"),
    )


@given(st.text("0-1 n\n"))
def test_the_builtin_pattern_blocks_what_segments_own_does(value: str) -> None:
    pattern = re2.compile("^[0-]*$")

    assert Blocked().blocks("user_id", value) == (
        pattern.search(value) is not None or value == "-1"
    )


def test_identifiers_with_their_keys_have_the_same_degrees(spark: SparkSession) -> None:
    sets, identifiers = frames(spark, SETS)
    rule = automatic(("user_id", "email"))
    with_keys = sets.select("identity_set", keyed().alias("identifiers"))
    found = [degrees(each, identifiers, rule).collect() for each in (sets, with_keys)]

    assert found[0]
    assert sorted(found[0]) == sorted(found[1])


def rows(frame: DataFrame) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in frame.collect()), key=repr)


def test_a_degree_is_how_many_unblocked_values_of_the_other_type_calls_carry_it_with(
    spark: SparkSession,
) -> None:
    sets, identifiers = frames(spark, SETS)

    found = degrees(sets, identifiers, automatic(("user_id", "email")))

    assert rows(found) == [
        ("anonymous_id", "home", "email", 1),
        ("anonymous_id", "home", "user_id", 1),
        ("anonymous_id", "kiosk", "email", 2),
        ("anonymous_id", "kiosk", "user_id", 3),
        ("anonymous_id", "tablet", "email", 1),
        ("email", "ann@example.com", "user_id", 1),
        ("email", "dee@x", "user_id", 1),
        ("email", "noreply@x", "user_id", 2),
    ]


def test_only_configured_pairs_are_counted_in_any_direction_and_never_a_value_with_itself(
    spark: SparkSession,
) -> None:
    sets, identifiers = frames(spark, SETS)
    rule = configured({"user_id": {"email": 1}, "anonymous_id": {"anonymous_id": 1}})

    found = degrees(sets, identifiers, rule)

    assert rows(found) == [
        ("anonymous_id", "home", "anonymous_id", 1),
        ("anonymous_id", "tablet", "anonymous_id", 1),
        ("user_id", "ann", "email", 2),
        ("user_id", "bob", "email", 1),
        ("user_id", "cid", "email", 1),
    ]


def test_a_histogram_holds_counts_and_no_values(spark: SparkSession) -> None:
    sets, identifiers = frames(spark, SETS)

    found = histograms(degrees(sets, identifiers, automatic(("user_id", "email"))))

    assert rows(found) == [
        ("anonymous_id", "email", 1, 2),
        ("anonymous_id", "email", 2, 1),
        ("anonymous_id", "user_id", 1, 1),
        ("anonymous_id", "user_id", 3, 1),
        ("email", "user_id", 1, 2),
        ("email", "user_id", 2, 1),
    ]


def guarded_identifiers(
    spark: SparkSession, sets: Sets, rule: Sharing
) -> tuple[DataFrame, DataFrame, DataFrame]:
    """(sets, identifiers with both guards, what exceeds) under limits."""
    known, identifiers = frames(spark, sets)
    assert rule.limits
    over = exceeding(degrees(known, identifiers, rule), rule.limits)
    return known, guarded(identifiers, over), over


def test_a_value_above_its_limit_is_guarded_and_one_at_its_limit_is_not(
    spark: SparkSession,
) -> None:
    rule = configured({"anonymous_id": {"user_id": 2, "email": 1}, "email": {"user_id": 2}})

    _, identifiers, over = guarded_identifiers(spark, SETS, rule)

    assert rows(over) == [
        ("anonymous_id", "kiosk", "email", 2, 1),
        ("anonymous_id", "kiosk", "user_id", 3, 2),
    ]
    assert rows(identifiers.where("guard is not null")) == [
        ("anonymous_id", "0", "blocked"),
        ("anonymous_id", "kiosk", "shared"),
        ("user_id", "0", "blocked"),
    ]
    assert identifiers.count() == 12


def test_the_evidence_names_no_value_and_says_whom_it_would_have_joined(
    spark: SparkSession,
) -> None:
    rule = configured({"anonymous_id": {"user_id": 2}, "email": {"user_id": 1}})
    sets, identifiers, over = guarded_identifiers(spark, SETS, rule)
    links = {name: set(pairs(m)) - guarded_pairs(identifiers) for name, m in SETS.items()}
    graph = connected([frozenset(m) for m in links.values()], set())
    numbers = {root: n for n, root in enumerate(sorted(set(graph.values())))}
    components = spark.createDataFrame(
        sorted({(*i, numbers[graph[i]]) for m in links.values() for i in m}),
        "type string, value string, component bigint",
    )

    found = evidence(Found(over, rule.limits or {}, rule.mode), sets, components)

    line = "shared: {mode: limits, limits: {anonymous_id: {user_id: 2}, email: {user_id: 1}}}"
    kiosk = identifier_key("anonymous_id", "kiosk")
    noreply = identifier_key("email", "noreply@x")
    assert rows(SHARED_VALUES.conform(found)) == sorted(
        [
            (kiosk, "anonymous_id", "k… (5)", "user_id", 3, 2, "limits", 3, line),
            (noreply, "email", "n… (9)", "user_id", 2, 1, "limits", 2, line),
        ],
        key=repr,
    )


def guarded_pairs(identifiers: DataFrame) -> set[Identifier]:
    return {(r["type"], r["value"]) for r in identifiers.where("guard is not null").collect()}


def test_a_short_value_shows_nothing_but_its_length(spark: SparkSession) -> None:
    rule = configured({"user_id": {"email": 1}})
    sets = {"one": ("user_id:ann", "email:a@x"), "two": ("user_id:ann", "email:b@x")}
    known, _, over = guarded_identifiers(spark, sets, rule)
    none = spark.createDataFrame([], "type string, value string, component bigint")

    found = evidence(Found(over, rule.limits or {}, rule.mode), known, none)

    assert [(r["masked"], r["people"]) for r in found.collect()] == [("… (3)", 0)]


some_sets = st.lists(
    st.lists(
        st.sampled_from([f"{t}:{n}" for t in ("user_id", "email", "device") for n in "abcd"]),
        min_size=1,
        max_size=3,
        unique=True,
    ),
    min_size=2,
    max_size=9,
)


@settings(max_examples=4, deadline=None, derandomize=True)
@given(some_sets, st.integers(1, 3))
def test_the_guard_only_ever_takes_links_away(
    spark: SparkSession, members: list[list[str]], limit: int
) -> None:
    sets = {str(n): m for n, m in enumerate(members)}
    rule = configured({"device": {"user_id": limit, "email": limit}, "email": {"user_id": limit}})
    _, identifiers, _ = guarded_identifiers(spark, sets, rule)

    carried = [frozenset(pairs(m)) for m in members]
    before, after = connected(carried, set()), connected(carried, guarded_pairs(identifiers))

    by_hand = counted_degrees(carried, rule)
    assert rule.limits is not None
    assert guarded_pairs(identifiers) == {
        (kind, value)
        for ((kind, value), other), n in by_hand.items()
        if n > rule.limits[kind, other]
    }
    parts: dict[Identifier, set[Identifier]] = defaultdict(set)
    for identifier, part in after.items():
        parts[part].add(before[identifier])
    assert all(len(whole) == 1 for whole in parts.values())


# -- the lake ----------------------------------------------------------------------------------

CUSTOMERS = [f"u{n:02}" for n in range(12)]


def call(user: str, device: str, minute: int) -> dict[str, Any]:
    return {
        "type": "identify",
        "messageId": f"{user}-{device}",
        "receivedAt": f"2026-11-02T10:{minute:02}:00Z",
        "userId": user,
        "anonymousId": device,
    }


def stitched(folder: Path, shared: dict[str, Any]) -> tuple[Site, dict[str, Any]]:
    """A shop where everybody has a browser and comes by its kiosk once, up to the stitching."""
    identity = {
        "strategy": "components",
        "identifiers": {"user_id": {}, "anonymous_id": {}},
        "shared": shared,
    }
    lake = site(folder, {"web": folder / "landing"}, identity=identity)
    return lake, lake.run(until="stitch")


def test_the_guard_parts_who_met_at_the_kiosk_and_taking_it_back_joins_them_under_the_old_id(
    spark: SparkSession, tmp_path: Path
) -> None:
    calls = [call(u, f"browser-{u}", n) for n, u in enumerate(CUSTOMERS)]
    calls += [call(u, "the-kiosk", 30 + n) for n, u in enumerate(CUSTOMERS)]
    land(tmp_path / "landing" / "calls.json", calls)
    kiosk = ("anonymous_id", "the-kiosk")

    lake, record = stitched(tmp_path, {"mode": "auto"})

    line = "  shared by too many, so they link nothing: 1 anonymous_id (table shared_values)"
    assert lake.dicts("shared_values") == [
        {
            "identifier_key": identifier_key(*kiosk),
            "type": "anonymous_id",
            "masked": "t… (9)",
            "with_type": "user_id",
            "degree": 12,
            "limit": 7,
            "mode": "auto",
            "people": 12,
            "setting": "shared: {mode: limits, limits: {anonymous_id: {user_id: 7}}}",
        }
    ]
    assert identities(lake) == {
        kiosk: (None, "shared"),
        **{("user_id", u): (profile_id("shop", "user_id", u), None) for u in CUSTOMERS},
        **{
            ("anonymous_id", f"browser-{u}"): (profile_id("shop", "user_id", u), None)
            for u in CUSTOMERS
        },
    }
    violations = [(v["type"], v["value"], v["reason"]) for v in lake.dicts("violations")]
    assert violations == [(*kiosk, "ID value shared by too many")] * len(CUSTOMERS)
    assert record["shared"] == {"anonymous_id": 1}
    assert line in summary_text(record).splitlines()

    lake, record = stitched(tmp_path, {"mode": "off"})

    everybody = (profile_id("shop", "user_id", CUSTOMERS[0]), None)
    assert identities(lake) == {
        kiosk: everybody,
        **{("user_id", u): everybody for u in CUSTOMERS},
        **{("anonymous_id", f"browser-{u}"): everybody for u in CUSTOMERS},
    }
    assert (lake.dicts("shared_values"), lake.dicts("violations")) == ([], [])
    assert record["shared"] == {}
    assert "shared by too many" not in summary_text(record)


def identities(lake: Site) -> dict[Identifier, tuple[str | None, str | None]]:
    """Each identifier's profile and guard."""
    found = lake.dicts("identities")
    return {(r["type"], r["value"]): (r["profile_id"], r["guard"]) for r in found}
