"""What became of the lines of each object, counted in the tables that hold them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from lake.errors import ConservationError
from lake.events.ledger import counted_lines, ledger
from lake.tables import INGEST_LEDGER
from tests.support.stored import Scratch

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
COLUMNS = "kind string, source string, object string, etag string, size bigint, "
COLUMNS += "last_modified timestamp, state string, lines bigint"
#: Lines of each object: accepted, rejected, duplicate.
LINES = {"a": (3, 0, 1), "b": (0, 2, 0), "c": (0, 0, 0), "d": (0, 0, 2), "e": (5, 1, 1)}


def told(
    spark: SparkSession, folder: Path, lines: dict[str, tuple[int, int, int]], *read: str
) -> pa.Table:
    """What is told of tables with these lines, where these objects were read; of each object a
    duplicate of an earlier batch was displaced."""
    store = Scratch(folder)

    def of(kind: str, name: str, lines: int | None) -> tuple[Any, ...]:
        return kind, "web", name, "1", 9, NOON, "read", lines

    objects = [of("object", name, sum(LINES[name])) for name in read]
    staged = store.of(spark, "staged", [*objects, of("call", "a", None)], COLUMNS)
    place = "object string, etag string"
    tables = [
        store.of(
            spark, name, [(o, "1") for o, counts in lines.items() for _ in range(counts[n])], place
        )
        for n, name in enumerate(("events", "rejected"))
    ]
    lost = [(o, "1", False) for o, counts in lines.items() for _ in range(counts[2])]
    displaced = [(o, "1", True) for o in lines]
    duplicates = store.of(spark, "lost", [*lost, *displaced], f"{place}, displaced boolean")
    return counted_lines(staged, *tables, duplicates).toArrow()


def test_each_object_has_a_row_with_the_lines_that_each_table_has_of_it(
    spark: SparkSession, tmp_path: Path
) -> None:
    rows = ledger(told(spark, tmp_path, LINES, *LINES), 7)
    assert rows.schema == INGEST_LEDGER.arrow
    assert {
        r["object"]: (r["accepted"], r["rejected"], r["duplicate"]) for r in rows.to_pylist()
    } == LINES
    assert rows.column("object").to_pylist() == sorted(LINES)
    assert set(rows.column("batch").to_pylist()) == {7}


@pytest.mark.parametrize(
    "lines",
    [LINES | {"a": (2, 0, 1)}, LINES | {"a": (3, 1, 1)}, LINES | {"c": (1, 0, 0)}],
    ids=["in none", "in two", "of nothing"],
)
def test_a_line_that_is_in_none_or_in_two_tables_stops_the_night(
    spark: SparkSession, tmp_path: Path, lines: dict[str, tuple[int, int, int]]
) -> None:
    found = told(spark, tmp_path, lines, *LINES)
    with pytest.raises(ConservationError, match="1 objects of batch 7"):
        ledger(found, 7)


def test_lines_of_an_object_that_was_not_read_stop_it_too(
    spark: SparkSession, tmp_path: Path
) -> None:
    found = told(spark, tmp_path, LINES, *(name for name in LINES if name != "e"))
    with pytest.raises(ConservationError, match="1 objects"):
        ledger(found, 7)
