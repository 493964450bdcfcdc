"""Resolution as a pure function: the worked cases, and the laws that hold for every input."""

from __future__ import annotations

import gc
import random
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import ConfigError
from lake.identity.resolve import (
    Drop,
    Identifier,
    Limit,
    OnLimit,
    Reason,
    Resolution,
    Rules,
    SetOutcome,
    Sighting,
    Strategy,
    Violation,
    Window,
    clean,
    founded,
    grown,
    resolve,
)
from tests.support.cases import Case, check, identifier, load, load_all, run_pure

DAY = 86_400_000_000
RUNS = [
    pytest.param(case, strategy, on_limit, id=f"{case.id}-{strategy}-{on_limit}")
    for case in load_all()
    if case.level == "pure"
    for strategy, on_limit in case.runs()
]


def seen(day: float, *texts: str, message: str = "") -> Sighting:
    identifiers = tuple(identifier(text) for text in texts)
    at = round(day * DAY)
    return Sighting(tuple(sorted(identifiers)), at, (at, at, message), identifiers)


def groups(resolution: Resolution) -> list[list[str]]:
    return [sorted(":".join(i) for i in p.identifiers) for p in resolution.profiles]


def founders(resolution: Resolution) -> list[str]:
    return [":".join(profile.founder) for profile in resolution.profiles]


def pair(one: str, other: str) -> tuple[Identifier, Identifier]:
    return identifier(one), identifier(other)


# The worked cases.


@pytest.mark.parametrize(("case", "strategy", "on_limit"), RUNS)
def test_a_worked_case_comes_out_as_its_source_says(
    case: Case, strategy: str, on_limit: str
) -> None:
    check(case, run_pure(case, strategy, on_limit))


def test_every_listed_case_is_there_and_runs() -> None:
    ids = [case.id for case in load_all()]
    assert len(ids) == len(set(ids))
    numbered = {
        *(f"SEG-{n:02}" for n in range(1, 27)),
        *(f"A{n}" for n in range(1, 30)),
        *(f"T{n}" for n in (1, 2, 3, 4, 5, 7, 8)),
        *(f"S{n}" for n in range(1, 28)),
        *(f"R{n}" for n in (1, 2, 3, 6, 7, 9, 10, 11, 12)),
        *("Z1", "Z2", "D1"),
    }
    assert numbered - set(ids) == set()
    both = {case.id for case in load("segment") if set(case.on_limit) == set(OnLimit)}
    assert {f"SEG-{n:02}" for n in range(1, 24)} <= both


def test_a_case_with_a_wrong_expectation_fails() -> None:
    case = next(case for case in load("segment") if case.id == "SEG-05")
    observed = run_pure(case, "segment", "drop_lowest")
    for wrong in (
        {"profiles": [["user_id:abc123"], ["email:jane@example1.com", "user_id:abc456"]]},
        {"events": {"e1": 0, "e2": 0}},
        {"violations": []},
        {"violations": [["e2", "email:jane@example1.com", "ID value blocked"]]},
        {"removed": []},
        {"founders": ["user_id:abc456", "user_id:abc123"]},
        {"graph": []},
        {"persons": 1},
        {"together": [["user_id:abc123", "user_id:abc456"]]},
        {"apart": [["user_id:abc123", "email:jane@example1.com"]]},
        {"fresh": [["user_id:abc123", 1], ["nobody:0", 1]]},
        {"after": {1: {"persons": 3}}},
        {"misspelt": 1},
    ):
        with pytest.raises(AssertionError, match="SEG-05"):
            check(replace(case, expect={**case.expect, **wrong}), observed)


# What an answer says in full.


def test_a_dropped_identifier_is_reported_with_the_rule_and_the_profiles_it_keeps_apart() -> None:
    first = seen(0, "user_id:u1", "email:m")
    second = seen(1, "user_id:u2", "email:m")
    answer = resolve([first, second], Rules())
    email = ("email", "m")
    assert answer.sets == (
        SetOutcome(first.identity_set, 0, (("user_id", "u1"), email), (), ("user_id", "u1")),
        SetOutcome(
            second.identity_set,
            1,
            (("user_id", "u2"),),
            (Drop(email, Reason.VALUE_LIMIT),),
            ("user_id", "u2"),
        ),
    )
    assert answer.violations == (
        Violation(
            second.identity_set, second, email, Reason.VALUE_LIMIT, "user_id: 1 ever", (0, 1)
        ),
    )


def test_a_merge_names_both_parts_and_the_call_and_the_oldest_part_keeps_its_founder() -> None:
    calls = [seen(0, "a:1"), seen(1, "a:2"), seen(2, "a:1", "a:2", "email:m")]
    (profile,) = resolve(calls, Rules()).profiles
    assert profile.founder == ("a", "1")
    assert profile.created == calls[0]
    assert profile.identifiers == (("email", "m"), ("a", "1"), ("a", "2"))
    assert profile.parts == ((("a", "1"), calls[0]), (("a", "2"), calls[1]))
    assert profile.merges == ((("a", "1"), ("a", "2"), calls[2]),)
    assert profile.mapped == (
        (("a", "1"), ("a", "1"), calls[0]),
        (("a", "2"), ("a", "2"), calls[1]),
        (("email", "m"), ("a", "1"), calls[2]),
    )


def test_a_set_has_the_part_of_its_first_call_and_a_merging_one_the_youngest_it_merged() -> None:
    calls = [seen(0, "a:1"), seen(1, "a:2"), seen(2, "a:3"), seen(3, "a:1", "a:2", "a:3")]
    answer = resolve([*calls, seen(4, "a:2", "a:3")], Rules())
    assert [s.part for s in answer.sets] == [("a", v) for v in ("1", "2", "3", "3", "1")]


def test_the_founder_is_the_strongest_identifier_of_the_first_call_whatever_comes_later() -> None:
    calls = [seen(0, "anonymous_id:a", "email:m"), seen(1, "user_id:u", "email:m")]
    assert founders(resolve(calls, Rules())) == ["email:m"]


def test_no_sightings_give_no_profiles_and_an_empty_set_belongs_to_nobody() -> None:
    assert resolve([], Rules()) == Resolution((), (), ())
    for strategy in Strategy:
        empty = resolve([seen(0)], Rules(strategy=strategy))
        assert empty == Resolution((), (SetOutcome((), None, (), (), None),), ())


def test_a_type_with_limit_zero_never_links_and_its_set_belongs_to_nobody() -> None:
    rules = Rules(limits={"a": Limit(0)})
    answer = resolve([seen(0, "a:1"), seen(1, "a:1", "user_id:u")], rules)
    assert groups(answer) == [["user_id:u"]]
    assert [(s.profile, s.dropped) for s in answer.sets] == [
        (None, (Drop(("a", "1"), Reason.VALUE_LIMIT),)),
        (0, (Drop(("a", "1"), Reason.VALUE_LIMIT),)),
    ]


def test_all_caps_and_limits_read_in_words() -> None:
    assert str(Limit(5, Window.WEEKLY)) == "5 weekly"
    assert str(Limit(None)) == "unlimited ever"
    with pytest.raises(ConfigError, match="mappings must be at least 1"):
        Rules(max_mappings=0)


# Windows.


@pytest.mark.parametrize(
    ("window", "days"), [("daily", 1), ("weekly", 7), ("monthly", 30), ("annually", 365)]
)
def test_a_window_rolls_and_a_value_added_exactly_its_length_ago_no_longer_counts(
    window: str, days: int
) -> None:
    rules = Rules(limits={"user_id": Limit(1), "a": Limit(1, Window(window))})
    first, inside = seen(0, "user_id:u", "a:1"), seen(days - 0.001, "user_id:u", "a:2")
    outside = seen(days, "user_id:u", "a:3")
    answer = resolve([first, inside, outside], rules)
    assert groups(answer) == [["a:1", "a:3", "user_id:u"]]
    assert [(v.sighting, v.reason, v.rule) for v in answer.violations] == [
        (inside, Reason.TIME_LIMIT, f"a: 1 {window}")
    ]


def test_a_merge_counts_what_both_sides_added_within_the_window_each_at_its_own_time() -> None:
    rules = Rules(limits={"a": Limit(2, Window.WEEKLY)}, default_limit=Limit(None))
    sides = [seen(0, "a:1", "x:1"), seen(5, "a:2", "y:1"), seen(6, "a:3", "y:1")]
    assert len(resolve([*sides, seen(6.5, "x:1", "y:1")], rules).profiles) == 2
    assert len(resolve([*sides, seen(7.5, "x:1", "y:1")], rules).profiles) == 1


# Caps.


def test_a_merge_that_would_pass_the_mapping_cap_is_left_out_and_reported() -> None:
    rules = Rules(default_limit=Limit(None), max_mappings=3)
    calls = [seen(0, "a:1", "a:2"), seen(1, "a:3", "a:4"), seen(2, "a:1", "a:3", "b:1")]
    answer = resolve(calls, rules)
    assert groups(answer) == [["a:1", "a:2", "b:1"], ["a:3", "a:4"]]
    assert [(v.identifier, v.reason, v.rule, v.apart) for v in answer.violations] == [
        (("a", "3"), Reason.MAPPING_LIMIT, "caps.mappings: 3", (0, 1))
    ]


def test_at_the_merge_cap_the_call_goes_to_the_profile_of_its_strongest_owned_identifier() -> None:
    rules = Rules(max_merges=0)
    calls = [seen(0, "a:1"), seen(1, "email:m"), seen(2, "a:1", "email:m", "b:new")]
    answer = resolve(calls, rules)
    assert groups(answer) == [["a:1"], ["b:new", "email:m"]]
    assert answer.sets[2].profile == 1
    assert [(v.identifier, v.reason) for v in answer.violations] == [
        (("a", "1"), Reason.MERGE_LIMIT)
    ]


def test_the_merge_cap_counts_profiles_that_came_in_through_others() -> None:
    births = [seen(n, f"a:{n}") for n in range(4)]
    links = [seen(4, "a:2", "a:3"), seen(5, "a:1", "a:2"), seen(6, "a:0", "a:1")]
    assert len(resolve([*births, *links], Rules(max_merges=3)).profiles) == 1
    answer = resolve([*births, *links], Rules(max_merges=2))
    assert groups(answer) == [["a:0"], ["a:1", "a:2", "a:3"]]
    assert [(v.sighting, v.identifier, v.reason) for v in answer.violations] == [
        (links[2], ("a", "1"), Reason.MERGE_LIMIT)
    ]


# Overrides.


@pytest.mark.parametrize("strategy", list(Strategy))
def test_always_together_joins_what_no_call_joins(strategy: Strategy) -> None:
    rules = Rules(strategy=strategy, always_together=(pair("a:1", "x:0"), pair("x:0", "a:2")))
    answer = resolve([seen(0, "a:1"), seen(1, "a:2", "b:1"), seen(2, "a:3")], rules)
    assert groups(answer) == [["a:1", "a:2", "b:1"], ["a:3"]]
    assert founders(answer) == ["a:1", "a:3"]
    assert answer.violations == ()


@pytest.mark.parametrize("strategy", [Strategy.SEGMENT, Strategy.LATEST_WINS])
def test_always_together_outranks_a_limit_and_says_so(strategy: Strategy) -> None:
    rules = Rules(strategy=strategy, always_together=(pair("user_id:u1", "user_id:u2"),))
    calls = [seen(0, "user_id:u1", "a:1"), seen(1, "user_id:u2", "a:2"), seen(2, "a:1", "a:3")]
    answer = resolve(calls, rules)
    assert groups(answer) == [["a:1", "a:2", "a:3", "user_id:u1", "user_id:u2"]]
    assert [(v.sighting, v.identifier, v.reason, v.rule) for v in answer.violations] == [
        (calls[1], ("user_id", "u2"), Reason.VALUE_LIMIT, "always_together over user_id: 1 ever")
    ]
    assert all(outcome.dropped == () for outcome in answer.sets)


@pytest.mark.parametrize("strategy", [Strategy.SEGMENT, Strategy.LATEST_WINS])
def test_a_third_value_is_still_refused_where_an_override_holds_two(strategy: Strategy) -> None:
    rules = Rules(strategy=strategy, always_together=(pair("user_id:u1", "user_id:u2"),))
    calls = [seen(0, "user_id:u1", "user_id:u2", "a:1"), seen(1, "user_id:u3", "a:1")]
    by_strategy = {
        Strategy.SEGMENT: [["a:1", "user_id:u1", "user_id:u2"], ["user_id:u3"]],
        Strategy.LATEST_WINS: [["user_id:u1", "user_id:u2"], ["a:1", "user_id:u3"]],
    }
    answer = resolve(calls, rules)
    assert groups(answer) == by_strategy[strategy]
    assert "always_together over user_id: 1 ever" in {v.rule for v in answer.violations}


@pytest.mark.parametrize("on_limit", list(OnLimit))
def test_identifiers_that_are_always_together_leave_a_call_together(on_limit: OnLimit) -> None:
    rules = Rules(on_limit=on_limit, always_together=(pair("email:m", "z:1"),))
    calls = [seen(0, "user_id:u1", "email:m"), seen(1, "user_id:u2", "email:m", "z:1")]
    answer = resolve(calls, rules)
    assert groups(answer) == [["email:m", "user_id:u1", "z:1"], ["user_id:u2"]]
    assert answer.sets[1].profile == 1


def test_never_together_makes_the_call_that_would_unite_them_lose_an_identifier() -> None:
    calls = [seen(0, "a:1"), seen(1, "a:2"), seen(2, "a:1", "a:2", "email:m")]
    never = (pair("a:2", "a:1"),)
    for strategy in (Strategy.SEGMENT, Strategy.COMPONENTS):
        answer = resolve(calls, Rules(strategy=strategy, never_together=never))
        assert groups(answer) == [["a:1", "email:m"], ["a:2"]]
        assert [(v.identifier, v.reason, v.rule, v.apart) for v in answer.violations] == [
            (("a", "2"), Reason.NEVER_TOGETHER, "never_together", (0, 1))
        ]


def test_never_together_cuts_the_last_link_between_the_two_under_latest_wins() -> None:
    rules = Rules(Strategy.LATEST_WINS, never_together=(pair("a:1", "a:2"),))
    answer = resolve([seen(0, "a:1", "x:1"), seen(1, "x:1", "a:2")], rules)
    assert groups(answer) == [["a:1"], ["a:2", "x:1"]]
    assert [(v.identifier, v.reason) for v in answer.violations] == [
        (("x", "1"), Reason.NEVER_TOGETHER)
    ]


@pytest.mark.parametrize("strategy", list(Strategy))
def test_never_together_reaches_through_identifiers_that_are_always_together(
    strategy: Strategy,
) -> None:
    rules = Rules(
        strategy=strategy,
        always_together=(pair("a:1", "b:1"),),
        never_together=(pair("a:1", "c:1"),),
    )
    answer = resolve([seen(0, "b:1", "x:1"), seen(1, "c:1", "x:1")], rules)
    home = {i: n for n, p in enumerate(answer.profiles) for i in p.identifiers}
    assert home["b", "1"] != home["c", "1"]


def test_contradicting_overrides_are_refused_without_naming_a_value() -> None:
    rules = Rules(
        always_together=(pair("email:secret", "b:1"), pair("b:1", "c:1")),
        never_together=(pair("c:1", "email:secret"),),
    )
    with pytest.raises(ConfigError, match="1 group") as refused:
        resolve([seen(0, "a:1")], rules)
    assert "secret" not in str(refused.value)


# latest_wins beyond Adobe's cases.


def test_the_founder_under_latest_wins_is_the_first_known_person_not_the_device() -> None:
    rules = Rules(Strategy.LATEST_WINS)
    calls = [seen(0, "a:1"), seen(1, "user_id:tom", "a:1"), seen(2, "user_id:sue", "a:1")]
    assert founders(resolve(calls[:1], rules)) == ["a:1"]
    assert founders(resolve(calls[:2], rules)) == ["user_id:tom"]
    assert founders(resolve(calls, rules)) == ["user_id:tom", "user_id:sue"]


def test_a_later_call_with_one_identifier_is_no_latest_event() -> None:
    rules = Rules(
        Strategy.LATEST_WINS,
        priority=("crm", "mail", "ecid"),
        limits={"crm": Limit(1), "mail": Limit(1)},
        default_limit=Limit(None),
    )
    calls = [seen(0, "crm:t", "mail:t"), seen(1, "crm:t", "ecid:1"), seen(2, "mail:s", "ecid:1")]
    later = [*calls, seen(3, "ecid:1")]
    assert groups(resolve(calls, rules)) == [["crm:t", "mail:t"], ["ecid:1", "mail:s"]]
    assert groups(resolve(later, rules)) == groups(resolve(calls, rules))


# Laws, on random logs dense in conflicts.

TYPES = ("user_id", "email", "anonymous_id", "phone")
LIMITED = {"user_id": Limit(1), "email": Limit(2), "anonymous_id": Limit(3)}
WINDOWED = {"user_id": Limit(1), "anonymous_id": Limit(2, Window.WEEKLY)}

one_identifier = st.tuples(st.sampled_from(TYPES), st.sampled_from("abc"))
one_call = st.tuples(st.integers(0, 40), st.sets(one_identifier, min_size=1, max_size=4))
log_of_calls = st.lists(one_call, min_size=1, max_size=14)
some_pairs = st.lists(st.tuples(one_identifier, one_identifier), max_size=2).map(
    lambda pairs: tuple(p for p in pairs if p[0] != p[1])
)


@st.composite
def any_rules(draw: st.DrawFn, overrides: bool = True) -> Rules:
    rules = Rules(
        strategy=draw(st.sampled_from(Strategy)),
        limits=draw(st.sampled_from([LIMITED, WINDOWED, {"user_id": Limit(1)}, {}])),
        default_limit=Limit(draw(st.sampled_from([2, 5, None]))),
        on_limit=draw(st.sampled_from(OnLimit)),
        max_merges=draw(st.sampled_from([0, 1, 100])),
        max_mappings=draw(st.sampled_from([2, 4, 1000])),
    )
    if not overrides:
        return rules
    chosen = replace(rules, always_together=draw(some_pairs), never_together=draw(some_pairs))
    try:
        assert chosen.overrides is None or chosen.overrides
    except ConfigError:
        return rules
    return chosen


def sightings(log: Sequence[tuple[int, set[Identifier]]], suffix: str = "") -> list[Sighting]:
    """First calls of sets by day; positions in the log make the order total."""
    first: dict[tuple[Hashable, int], Sighting] = {}
    for number, (day, identifiers) in enumerate(log):
        key = tuple(sorted((kind, value + suffix) for kind, value in identifiers))
        at = day * DAY // 2
        sighting = Sighting(key, at, (at, at, f"{suffix}{number:03}"), key)
        place = key, at // DAY
        if place not in first or sighting.order < first[place].order:
            first[place] = sighting
    return list(first.values())


def raw_components(calls: Sequence[Sighting], rules: Rules) -> list[list[Sighting]]:
    """Sightings that share identifiers, by plain search; always_together pairs are edges."""
    neighbours: dict[Identifier, set[Identifier]] = defaultdict(set)
    edges = [sighting.identifiers for sighting in calls] + list(rules.always_together)
    for edge in edges:
        for i in edge:
            neighbours[i].update(edge)
    reached: dict[Identifier, int] = {}
    for number, start in enumerate(sorted(neighbours)):
        todo = [start]
        while todo:
            i = todo.pop()
            if i not in reached:
                reached[i] = number
                todo.extend(neighbours[i])
    found: dict[int, list[Sighting]] = defaultdict(list)
    for sighting in calls:
        found[reached[sighting.identifiers[0]]].append(sighting)
    return list(found.values())


@given(log_of_calls, any_rules(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_rows_changes_nothing(
    log: list[tuple[int, set[Identifier]]], rules: Rules, rng: random.Random
) -> None:
    rows = sightings(log)
    shuffled = rng.sample(rows, len(rows))
    assert resolve(shuffled, rules) == resolve(rows, rules)


@given(log_of_calls, any_rules())
def test_a_row_given_twice_changes_nothing(
    log: list[tuple[int, set[Identifier]]], rules: Rules
) -> None:
    rows = sightings(log)
    assert resolve(rows + rows, rules) == resolve(rows, rules)


@given(log_of_calls, any_rules(), st.integers(1, 10_000))
def test_a_shift_of_time_changes_nothing_else(
    log: list[tuple[int, set[Identifier]]], rules: Rules, days: int
) -> None:
    rows = sightings(log)

    def shifted(row: Sighting) -> Sighting:
        at = row.at + days * DAY
        return row._replace(at=at, order=(at, at, row.order[2]))

    moved = resolve([shifted(row) for row in rows], rules)
    assert moved == mapped(resolve(rows, rules), shifted, lambda i: i)


@given(log_of_calls, any_rules())
def test_renaming_values_in_the_same_order_changes_nothing_else(
    log: list[tuple[int, set[Identifier]]], rules: Rules
) -> None:
    rows = sightings(log)

    def name(i: Identifier) -> Identifier:
        return i[0], f"new-{i[1]}-name"

    def renamed(row: Sighting) -> Sighting:
        names = tuple(map(name, row.identifiers))
        return row._replace(identity_set=names, identifiers=names)

    def pairs(old: Sequence[tuple[Identifier, Identifier]]) -> tuple:
        return tuple((name(one), name(other)) for one, other in old)

    there = replace(
        rules,
        always_together=pairs(rules.always_together),
        never_together=pairs(rules.never_together),
    )
    answer = resolve([renamed(row) for row in rows], there)
    assert answer == mapped(resolve(rows, rules), renamed, name)


def mapped(
    answer: Resolution,
    row: Callable[[Sighting], Sighting],
    name: Callable[[Identifier], Identifier],
) -> Resolution:
    """The answer with other sightings and names in every place."""

    def every(value: object) -> object:
        if isinstance(value, Sighting):
            return row(value)
        if isinstance(value, tuple) and len(value) == 2 and value[0] in TYPES:
            return name(value)
        if isinstance(value, tuple):
            parts = [every(part) for part in value]
            return tuple(parts) if type(value) is tuple else type(value)(*parts)
        return value

    return every(answer)


@given(log_of_calls, log_of_calls, any_rules())
def test_another_component_changes_nothing(
    log: list[tuple[int, set[Identifier]]], other: list[tuple[int, set[Identifier]]], rules: Rules
) -> None:
    mine, theirs = sightings(log), sightings(other, suffix="-other")
    alone, both = resolve(mine, rules), resolve(mine + theirs, rules)
    own = {row.identity_set for row in mine}
    place = [n for n, p in enumerate(both.profiles) if p.created.identity_set in own]
    assert tuple(both.profiles[n] for n in place) == alone.profiles
    assert [s for s in both.sets if s.identity_set in own] == [
        s._replace(profile=None if s.profile is None else place[s.profile]) for s in alone.sets
    ]
    assert [v for v in both.violations if v.identity_set in own] == [
        v._replace(apart=tuple(place[n] for n in v.apart)) for v in alone.violations
    ]


@given(log_of_calls, any_rules())
def test_a_person_removed_with_all_calls_changes_nobody_else(
    log: list[tuple[int, set[Identifier]]], rules: Rules
) -> None:
    groups = raw_components(sightings(log), rules)
    for n in range(len(groups)):
        others = [row for other in groups[:n] + groups[n + 1 :] for row in other]
        left = resolve(others, rules)
        before = resolve([row for group in groups for row in group], rules)
        kept = {row.identity_set for row in others}
        stood = [p for p in before.profiles if p.created.identity_set in kept]
        assert left.profiles == tuple(stood)
        assert [s[2:] for s in left.sets] == [s[2:] for s in before.sets if s[0] in kept]
        assert [v[:5] for v in left.violations] == [
            v[:5] for v in before.violations if v[0] in kept
        ]


@given(log_of_calls, any_rules(), st.sets(one_identifier, max_size=3))
def test_a_guard_added_never_merges(
    log: list[tuple[int, set[Identifier]]], rules: Rules, guarded: set[Identifier]
) -> None:
    """Of raw components, which is what guards act on; a limit that no longer binds may merge."""
    free = replace(rules, strategy=Strategy.COMPONENTS, never_together=(), always_together=())
    before = resolve(sightings(log), free)
    left = [(day, identifiers - guarded) for day, identifiers in log]
    after = resolve(sightings([(day, ids) for day, ids in left if ids]), free)
    home = {i: n for n, profile in enumerate(before.profiles) for i in profile.identifiers}
    for profile in after.profiles:
        assert len({home[i] for i in profile.identifiers}) == 1
        assert guarded.isdisjoint(profile.identifiers)


@given(log_of_calls, any_rules())
def test_a_clean_component_is_one_profile_under_every_strategy(
    log: list[tuple[int, set[Identifier]]], rules: Rules
) -> None:
    for component in raw_components(sightings(log), rules):
        if not clean(component, rules):
            continue
        answer = resolve(component, rules)
        assert len(answer.profiles) == 1
        assert answer.violations == ()
        assert all(s.profile == 0 and s.dropped == () for s in answer.sets)
        if rules.strategy is Strategy.SEGMENT:
            assert answer == resolve(component, replace(rules, strategy=Strategy.COMPONENTS))
            first = min(component, key=lambda row: row.order)
            assert answer.profiles[0].founder == strongest(first.identifiers)
        if rules.strategy is not Strategy.LATEST_WINS and not rules.always_together:
            assert answer == grown(component, rules)
        if not answer.profiles[0].merges and not rules.always_together:
            rows = sorted(component, key=lambda row: row.order)
            place, founder = founded([row.identifiers for row in rows], rules)
            assert answer.profiles[0][:2] == (founder, rows[place])


@given(log_of_calls, any_rules())
def test_the_part_of_a_set_and_the_merges_tell_its_profile_at_every_moment(
    log: list[tuple[int, set[Identifier]]], rules: Rules
) -> None:
    """At a cap a call may go to a profile that its set has left when it comes again."""
    rules = replace(rules, strategy=Strategy.SEGMENT, max_merges=100, max_mappings=1000)
    rows = sorted(sightings(log), key=lambda row: row.order)
    answer = resolve(rows, rules)
    part_of = {s.identity_set: s.part for s in answer.sets}
    merges = [merge for profile in answer.profiles for merge in profile.merges]
    for number, row in enumerate(rows, start=1):
        then = resolve(rows[:number], rules)
        (place,) = [s.profile for s in then.sets if s.identity_set == row.identity_set]
        into = {m.absorbed: m.into for m in merges if m.sighting.order <= row.order}
        part = part_of[row.identity_set]
        while part in into:
            part = into[part]
        assert part == (None if place is None else then.profiles[place].founder)


@given(log_of_calls, any_rules())
def test_the_part_of_a_set_is_one_of_its_profile_and_every_identifier_came_to_one_of_its_own(
    log: list[tuple[int, set[Identifier]]], rules: Rules
) -> None:
    answer = resolve(sightings(log), rules)
    parts = [{part.founder for part in profile.parts} for profile in answer.profiles]
    for outcome in answer.sets:
        assert (outcome.part is None) == (outcome.profile is None)
        assert outcome.profile is None or outcome.part in parts[outcome.profile]
    for own, profile in zip(parts, answer.profiles, strict=True):
        assert sorted(m.identifier for m in profile.mapped) == sorted(profile.identifiers)
        assert {m.part for m in profile.mapped} <= own


@given(log_of_calls)
def test_clean_logs_give_equal_answers_under_segment_and_components(
    log: list[tuple[int, set[Identifier]]],
) -> None:
    rows = sightings(log)
    rules = Rules(limits={}, default_limit=Limit(3), max_merges=len(rows))
    assert all(clean(component, rules) for component in raw_components(rows, rules))
    plain = resolve(rows, replace(rules, strategy=Strategy.COMPONENTS))
    assert resolve(rows, rules) == plain
    expected = sorted(
        sorted({i for row in component for i in row.identifiers})
        for component in raw_components(rows, rules)
    )
    assert sorted(sorted(p.identifiers) for p in plain.profiles) == expected


def strongest(identifiers: Sequence[Identifier]) -> Identifier:
    rank = {"user_id": 0, "email": 1}
    return min(identifiers, key=lambda i: (rank.get(i[0], 2), i))


def test_each_of_the_four_conditions_can_make_a_component_unclean() -> None:
    calls = [seen(0, "a:1", "b:1"), seen(1, "a:2", "b:1")]
    assert clean(calls, Rules())
    assert not clean(calls, Rules(limits={"a": Limit(1, Window.DAILY)}))
    assert not clean(calls, Rules(max_merges=0))
    assert not clean(calls, Rules(max_mappings=2))
    assert not clean(calls, Rules(never_together=(pair("a:1", "a:2"),)))
    assert clean(calls, Rules(never_together=(pair("a:1", "a:3"),)))
    assert clean(calls, Rules(Strategy.COMPONENTS, limits={"a": Limit(1)}, max_mappings=2))
    assert clean(calls, Rules(Strategy.LATEST_WINS, limits={"a": Limit(2)}, max_merges=0))
    assert not clean(calls, Rules(Strategy.LATEST_WINS, limits={"a": Limit(1)}))
    assert not clean(calls, Rules(Strategy.LATEST_WINS, max_mappings=2))


@given(log_of_calls, any_rules(overrides=False))
@settings(max_examples=300)
def test_without_windows_and_caps_only_the_first_sighting_of_a_set_matters(
    log: list[tuple[int, set[Identifier]]], rules: Rules
) -> None:
    limits = {kind: Limit(limit.count) for kind, limit in rules.limits.items()}
    ever = replace(
        rules, strategy=Strategy.SEGMENT, limits=limits, max_merges=100, max_mappings=1000
    )
    rows = sightings(log)
    first: dict[Hashable, Sighting] = {}
    for row in sorted(rows, key=lambda row: row.order):
        first.setdefault(row.identity_set, row)
    once, every = resolve(first.values(), ever), resolve(rows, ever)
    assert once.profiles == every.profiles
    assert [s[:2] for s in once.sets] == [s[:2] for s in every.sets]
    assert [s.kept for s in once.sets] == [s.kept for s in every.sets]


@given(log_of_calls, any_rules())
@settings(max_examples=300)
def test_every_identifier_has_at_most_one_profile_and_every_cut_link_a_reason(
    log: list[tuple[int, set[Identifier]]], rules: Rules
) -> None:
    answer = resolve(sightings(log), rules)
    home: dict[Identifier, int] = {}
    for n, profile in enumerate(answer.profiles):
        for i in profile.identifiers:
            assert home.setdefault(i, n) == n
    reported = {(v.identity_set, v.identifier) for v in answer.violations}
    for outcome in answer.sets:
        assert {home[i] for i in outcome.kept} <= {outcome.profile}
        for drop in outcome.dropped:
            assert home.get(drop.identifier) != outcome.profile or outcome.profile is None
            assert (outcome.identity_set, drop.identifier) in reported
    founded = [part.founder for profile in answer.profiles for part in profile.parts]
    assert len(founded) == len(set(founded))


@given(log_of_calls, any_rules())
@settings(max_examples=300)
def test_overrides_hold_and_without_them_no_limit_and_no_cap_is_passed(
    log: list[tuple[int, set[Identifier]]], rules: Rules
) -> None:
    answer = resolve(sightings(log), rules)
    home = {i: n for n, p in enumerate(answer.profiles) for i in p.identifiers}
    for one, other in rules.never_together:
        assert one not in home or home[one] != home.get(other)
    if rules.strategy is not Strategy.LATEST_WINS:
        for one, other in rules.always_together:
            assert not (one in home and other in home) or home[one] == home[other]
    if rules.always_together or rules.strategy is Strategy.COMPONENTS:
        return
    for profile in answer.profiles:
        assert len(profile.identifiers) <= rules.max_mappings
        assert len(profile.parts) - 1 <= max(rules.max_merges, 0)
        counts: dict[str, int] = defaultdict(int)
        for kind, _ in profile.identifiers:
            counts[kind] += 1
        for kind, count in counts.items():
            limit = rules.limit(kind)
            if limit.window is Window.EVER and limit.count is not None:
                unique = limit.count == 1
                if unique or rules.strategy is Strategy.SEGMENT:
                    assert count <= limit.count


def reference_fold(rows: Sequence[Sighting], rules: Rules) -> list[list[Identifier]]:
    """The fold said as naively as possible, for limits without windows, no caps, no overrides."""
    profiles: list[set[Identifier]] = []

    def rank(i: Identifier) -> tuple[int, Identifier]:
        listed = rules.priority
        return (listed.index(i[0]) if i[0] in listed else len(listed), i)

    def broken_types(union: set[Identifier]) -> set[str]:
        values: dict[str, int] = defaultdict(int)
        for kind, _ in union:
            values[kind] += 1
        limits = {kind: rules.limit(kind).count for kind in values}
        return {k for k, n in values.items() if limits[k] is not None and n > limits[k]}

    for row in sorted(rows, key=lambda row: row.order):
        ids = sorted(row.identifiers, key=rank)
        while ids:
            matched = [p for p in profiles if p & set(ids)]
            union = set(ids).union(*matched)
            over = broken_types(union)
            if not over:
                profiles = [p for p in profiles if p not in matched[1:]]
                target = matched[0] if matched else set()
                if not matched:
                    profiles.append(target)
                target |= union
                break
            owned = set().union(*matched)
            drop = ids
            if rules.on_limit is OnLimit.DROP_CONFLICT:
                drop = [i for i in ids if i in owned or i[0] in over]
            ids.remove(drop[-1])
    return [sorted(p) for p in profiles]


@given(log_of_calls, st.sampled_from(OnLimit), st.sampled_from([LIMITED, {"user_id": Limit(1)}]))
@settings(max_examples=400)
def test_the_fold_agrees_with_its_naive_form(
    log: list[tuple[int, set[Identifier]]], on_limit: OnLimit, limits: dict[str, Limit]
) -> None:
    rules = Rules(limits=limits, on_limit=on_limit, default_limit=Limit(2))
    rows = sightings(log)
    assert [sorted(p.identifiers) for p in resolve(rows, rules).profiles] == reference_fold(
        rows, rules
    )


# Cost.


@pytest.mark.parametrize("strategy", list(Strategy))
def test_time_grows_with_the_sightings_of_one_component_not_with_their_square(
    strategy: Strategy,
) -> None:
    rules = Rules(
        strategy=strategy,
        limits={"user_id": Limit(1), "email": Limit(None)},
        default_limit=Limit(1000, Window.WEEKLY),
        max_merges=1 << 30,
        max_mappings=1 << 30,
    )

    def seconds(count: int) -> float:
        rows = [seen(n / 24, f"user_id:u{n % (count // 2)}", "email:shared") for n in range(count)]
        rows += [seen(count, f"phone:p{n}", message=str(n)) for n in range(count)]
        rows += [
            seen(count + n / 24, f"phone:p{n}", f"phone:p{n - 1}") for n in range(count - 1, 0, -1)
        ]
        gc.collect()
        gc.disable()  # it would walk through all that other tests left, the larger the more often
        started = time.process_time()
        resolve(rows, rules)
        spent = time.process_time() - started
        gc.enable()
        return spent

    small = min(seconds(1_000) for _ in range(3))
    assert seconds(8_000) < 40 * small  # linear is 8, quadratic 64
