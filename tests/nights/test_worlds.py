"""The product beside an independent judge on thousands of worlds, whole rows compared."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.oracle import judge
from tests.support.judged import differences
from tests.support.worlds import Call, Lake, graphs, lines, worlds

SAMPLE, ALL, SEED = 100, 2_000, 1
LAKES = (
    Lake(merges=6, mappings=25),
    Lake(on_limit="drop_conflict"),
    Lake(order_by="timestamp"),
    Lake(on_limit="drop_conflict", order_by="timestamp", merges=3, mappings=12),
    Lake(strategy="components"),
)


def test_a_hundred_worlds_and_every_graph_of_four_identifiers_are_those_of_the_oracle(
    spark: SparkSession, tmp_path: Path
) -> None:
    assert_the_oracle_agrees(LAKES[0], [*worlds(SAMPLE, SEED), *graphs(4)], tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("number", range(len(LAKES)), ids=lambda n: str(LAKES[n]))
def test_two_thousand_worlds_are_those_of_the_oracle(
    spark: SparkSession, tmp_path: Path, number: int
) -> None:
    calls = worlds(ALL // len(LAKES), SEED + 1 + number)
    assert_the_oracle_agrees(LAKES[number], calls, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("on_limit", ["drop_lowest", "drop_conflict"])
def test_every_graph_of_five_identifiers_of_three_types_is_that_of_the_oracle(
    spark: SparkSession, tmp_path: Path, on_limit: str
) -> None:
    assert_the_oracle_agrees(Lake(on_limit=on_limit), list(graphs(5)), tmp_path)


def assert_the_oracle_agrees(rules: Lake, calls: list[Call], folder: Path) -> None:
    """The rows that differ name their world, and so its seed."""
    lake = rules.site(folder, calls)
    lake.run()
    assert differences(lake, judge(lines(calls), rules.settings())) == {}
