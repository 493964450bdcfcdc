"""The product beside an independent judge on thousands of worlds, whole rows compared."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.oracle import Line, judge
from tests.support.histories import unlike_the_rules
from tests.support.judged import differences
from tests.support.nights import AS_OF
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


def test_a_hundred_worlds_and_every_graph_of_four_identifiers_are_those_of_the_oracle(
    spark: SparkSession, tmp_path: Path
) -> None:
    rules = overridden(LAKES[0], SAMPLE, SEED)
    assert_the_oracle_agrees(rules, [*worlds(SAMPLE, SEED), *graphs(4)], tmp_path)


def test_forty_worlds_of_two_nights_are_those_of_the_oracle_under_latest_wins(
    spark: SparkSession, tmp_path: Path
) -> None:
    rules = overridden(LAKES[1], 40, SEED)
    assert_the_oracle_agrees(rules, [*worlds(40, SEED), *graphs(3)], tmp_path, nights=2)


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


def assert_the_oracle_agrees(rules: Lake, calls: list[Call], folder: Path, nights: int = 1) -> None:
    """The rows that differ name their world, and so its seed."""
    told: list[Line] = []
    for number in range(nights):
        file, part = f"night{number}.jsonl", calls[number::nights]
        lake = rules.site(folder, part, file)
        lake.run(AS_OF + timedelta(days=number))
        told += lines(part, file)
    assert differences(lake, judge(told, rules.settings(), oracle(rules))) == {}
    assert unlike_the_rules(lake) == {}
