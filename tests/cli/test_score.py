"""Precision and recall over pairs, against a count of every pair one by one."""

from __future__ import annotations

import doctest
from collections import defaultdict
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from lake.cli import score
from lake.cli.score import MixedProfiles, Score, pairwise, worst_profiles

LABELS = st.one_of(st.none(), st.integers(0, 3))
WORLDS = st.dictionaries(st.integers(0, 11), LABELS, max_size=12)


def enumerated(predicted: dict[int, int | None], truth: dict[int, int | None]) -> tuple[int, ...]:
    """(true, predicted, correct) pairs, by looking at each pair of owned identifiers."""
    owned = sorted(k for k, person in truth.items() if person is not None)
    true = together = correct = 0
    for a, b in combinations(owned, 2):
        same_person = truth[a] == truth[b]
        profile = predicted.get(a)
        same_profile = profile is not None and profile == predicted.get(b)
        true += same_person
        together += same_profile
        correct += same_person and same_profile
    return true, together, correct


def listed(predicted: dict[int, int | None], truth: dict[int, int | None]) -> MixedProfiles:
    """The mixed profiles, by listing what each profile holds."""
    held = defaultdict(list)
    for identifier, profile in predicted.items():
        if profile is not None and truth.get(identifier) is not None:
            held[profile].append(truth[identifier])
    mixed = [people for people in held.values() if len(set(people)) > 1]
    return MixedProfiles(
        profiles=len(mixed),
        people=len(set().union(*map(set, mixed))) if mixed else 0,
        identifiers=sum(map(len, mixed)),
        largest=max((len(set(people)) for people in mixed), default=0),
    )


@settings(max_examples=200, deadline=None, derandomize=True)
@given(predicted=WORLDS, truth=WORLDS)
def test_counting_by_group_size_equals_counting_every_pair(predicted, truth):
    found = pairwise(predicted, truth)
    assert (found.true_pairs, found.predicted_pairs, found.correct_pairs) == enumerated(
        predicted, truth
    )


@settings(max_examples=200, deadline=None, derandomize=True)
@given(predicted=WORLDS, truth=WORLDS)
def test_mixed_profiles_are_those_that_hold_more_than_one_person(predicted, truth):
    assert worst_profiles(predicted, truth) == listed(predicted, truth)


def test_the_people_themselves_score_one():
    truth = {"a": "ann", "b": "ann", "c": "bob"}
    found = pairwise(truth, truth)
    assert found == Score(1, 1, 1, identifiers=3, missing=0, unknown=0)
    assert (found.precision, found.recall, found.f1) == (1.0, 1.0, 1.0)
    assert worst_profiles(truth, truth) == MixedProfiles(0, 0, 0, 0)


def test_one_profile_for_all_has_full_recall_and_poor_precision():
    truth = {"a": "ann", "b": "ann", "c": "bob", "d": "bob"}
    found = pairwise(dict.fromkeys(truth, 1), truth)
    assert found == Score(2, 6, 2, identifiers=4, missing=0, unknown=0)
    assert (found.precision, found.recall, found.f1) == (2 / 6, 1.0, 0.5)
    assert worst_profiles(dict.fromkeys(truth, 1), truth) == MixedProfiles(1, 2, 4, 2)


def test_a_profile_for_each_identifier_has_full_precision_and_no_recall():
    truth = {"a": "ann", "b": "ann"}
    found = pairwise({"a": 1, "b": 2}, truth)
    assert (found.precision, found.recall, found.f1) == (1.0, 0.0, 0.0)


def test_an_identifier_without_a_profile_costs_recall_only():
    truth = {"a": "ann", "b": "ann", "c": "ann"}
    expected = Score(3, 1, 1, identifiers=3, missing=1, unknown=0)
    assert pairwise({"a": 1, "b": 1}, truth) == expected
    assert pairwise({"a": 1, "b": 1, "c": None}, truth) == expected


def test_an_identifier_of_nobody_is_in_no_pair_yet_whom_it_joins_is():
    truth = {"a": "ann", "b": "bob", "kiosk": None}
    apart = pairwise({"a": 1, "b": 2, "kiosk": 1}, truth)
    joined = pairwise({"a": 1, "b": 1, "kiosk": 1}, truth)
    assert apart == Score(0, 0, 0, identifiers=2, missing=0, unknown=0)
    assert joined == Score(0, 1, 0, identifiers=2, missing=0, unknown=0)


def test_an_identifier_the_truth_does_not_know_is_counted_and_not_judged():
    found = pairwise({"a": 1, "x": 1, "y": 1, "z": None}, {"a": "ann"})
    assert found == Score(0, 0, 0, identifiers=1, missing=0, unknown=2)


def test_a_score_holds_no_identifier():
    truth = {"ann@example.com": "ann", "bob@example.com": "bob"}
    together = dict.fromkeys(truth, 1)
    shown = f"{pairwise(together, truth)} {worst_profiles(together, truth)}"
    assert not any(hidden in shown for hidden in ("ann", "bob", "@"))


def test_the_examples_in_the_docstrings_hold():
    results = doctest.testmod(score)
    assert (results.failed, results.attempted > 0) == (0, True)
