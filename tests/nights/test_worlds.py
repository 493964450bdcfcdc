"""The product beside an independent judge on thousands of worlds, whole rows compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.oracle import judge
from tests.support.histories import unlike_the_rules
from tests.support.judged import differences
from tests.support.worlds import Call, Lake, graphs, lines, oracle, overridden, worlds

SAMPLE, ALL, SEED = 100, 2_000, 1
LAKES = (
    Lake(merges=6, mappings=25),
    Lake(strategy="latest_wins"),
    Lake(on_limit="drop_conflict"),
    Lake(order_by="timestamp"),
    Lake(on_limit="drop_conflict", order_by="timestamp", merges=3, mappings=12),
    Lake(strategy="components"),
    Lake(strategy="latest_wins", order_by="timestamp", mappings=12),
)


@pytest.mark.parametrize(("rules", "largest"), [(LAKES[0], 4), (LAKES[1], 3)], ids=str)
def test_a_hundred_worlds_and_every_small_graph_are_those_of_the_oracle(
    spark: SparkSession, tmp_path: Path, rules: Lake, largest: int
) -> None:
    calls = [*worlds(SAMPLE, SEED), *graphs(largest)]
    assert_the_oracle_agrees(overridden(rules, SAMPLE, SEED), calls, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("number", range(len(LAKES)), ids=lambda n: str(LAKES[n]))
def test_two_thousand_worlds_are_those_of_the_oracle(
    spark: SparkSession, tmp_path: Path, number: int
) -> None:
    count, seed = -(-ALL // len(LAKES)), SEED + 1 + number
    rules = overridden(LAKES[number], count, seed)
    assert_the_oracle_agrees(rules, worlds(count, seed), tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize(
    "rules",
    [Lake(), Lake(on_limit="drop_conflict"), Lake(strategy="latest_wins")],
    ids=str,
)
def test_every_graph_of_five_identifiers_of_three_types_is_that_of_the_oracle(
    spark: SparkSession, tmp_path: Path, rules: Lake
) -> None:
    assert_the_oracle_agrees(rules, list(graphs(5)), tmp_path)


def assert_the_oracle_agrees(rules: Lake, calls: list[Call], folder: Path) -> None:
    """The rows that differ name their world, and so its seed."""
    lake = rules.site(folder, calls)
    lake.run()
    assert differences(lake, judge(lines(calls), rules.settings(), oracle(rules))) == {}
    assert unlike_the_rules(lake) == {}
