"""The worked cases of Segment, Adobe, Treasure Data and others, as whole nights."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.support.case_nights import BATCHES, CAPS, ONE_LOAD, SHUFFLED, CaseLake, Group, groups

GROUPS = groups()
#: What most cases are about; the rest is for `make soak`.
USUAL = (Group("segment", "drop_lowest", *CAPS), Group("latest_wins", "drop_lowest", *CAPS))


def named(group: Group) -> str:
    return "-".join(map(str, group))


@pytest.mark.parametrize("group", USUAL, ids=named)
def test_a_worked_case_comes_out_as_its_source_says_in_any_order_of_its_lines(
    spark: SparkSession, tmp_path: Path, group: Group
) -> None:
    lake = CaseLake(tmp_path, group, GROUPS[group], (ONE_LOAD, SHUFFLED))
    lake.run()
    assert lake.faults() == []


@pytest.mark.soak
@pytest.mark.parametrize("group", GROUPS, ids=named)
def test_a_worked_case_comes_out_the_same_batch_by_batch_under_every_strategy_it_names(
    spark: SparkSession, tmp_path: Path, group: Group
) -> None:
    ways = (BATCHES,) if group in USUAL else (ONE_LOAD, SHUFFLED, BATCHES)
    lake = CaseLake(tmp_path, group, GROUPS[group], ways)
    lake.run()
    assert lake.faults() == []
