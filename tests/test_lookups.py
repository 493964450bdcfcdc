"""Rows looked up in others: the same whoever joins them, and as plain Python has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from lake import lookups
from lake.frames import Rows
from lake.io.objects import LocalObjects
from lake.io.scratch import Stored, read_back
from lake.lookups import looked_up
from tests.support.stored import Scratch

SEEN = "identity_set binary, day date, first struct<at:timestamp,source:string>, unasked string"
KNOWN = "identity_set binary, unasked bigint, told array<struct<a:string,b:bigint>>, owner string"


def rows_and_known() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of which some have no key, or one that nobody knows, and many the same."""
    keys = [bytes([n]) * 16 for n in range(40)]
    known = [
        {
            "identity_set": key,
            "told": [{"a": f"é{i}", "b": None} for i in range(n % 3)] if n % 5 else None,
            "owner": None if n % 7 == 0 else f"p{n}",
        }
        for n, key in enumerate(keys[:30])
    ]
    rows = [
        {"identity_set": None if n % 11 == 0 else keys[n % 40], "first": {"source": f"s{n}"}}
        for n in range(300)
    ]
    return rows, known


@pytest.mark.parametrize("most", [0, 1_000])
@pytest.mark.parametrize("stored", [True, False])
def test_each_row_has_what_is_known_of_its_key_and_others_are_left_out(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, *, stored: bool
) -> None:
    rows, known = rows_and_known()
    monkeypatch.setattr(lookups, "MOST_HELD", most)
    scratch = Scratch(tmp_path)
    seen: Rows = spark.createDataFrame(rows, SEEN)
    if stored:
        seen = scratch.of(spark, "rows", rows, SEEN)
    held = scratch.of(spark, "known", known, KNOWN)

    made = looked_up(seen, ("first", "identity_set"), held, "identity_set", ("told", "owner"))

    of_key = {each["identity_set"]: each for each in known}
    wanted = [
        (row["first"]["source"], row["identity_set"], own["told"], own["owner"])
        for row in rows
        if (own := of_key.get(row["identity_set"]))
    ]
    found = [
        (r["first"]["source"], bytes(r["identity_set"]), r["told"], r["owner"])
        for r in made.as_frame().toArrow().to_pylist()
    ]
    assert sorted(found, key=repr) == sorted(wanted, key=repr)
    assert made.as_frame().columns == ["first", "identity_set", "told", "owner"]


def test_files_may_differ_in_what_may_be_null_inside_of_a_column(
    spark: SparkSession, tmp_path: Path
) -> None:
    kinds = {
        f"{number}.parquet": pa.list_(pa.struct([pa.field("a", pa.string(), nullable=nullable)]))
        for number, nullable in enumerate((True, False))
    }
    for name, kind in kinds.items():
        own = {"identity_set": [name.encode()], "told": pa.array([[{"a": name}]], kind)}
        pq.write_table(pa.table(own), tmp_path / name)
    files = tuple(str(tmp_path / name) for name in kinds)
    stored = spark.read.schema("identity_set binary, told array<struct<a:string>>").parquet(*files)
    both = read_back(stored, Stored(files, 2), LocalObjects())

    made = looked_up(both, ("identity_set",), both, "identity_set", ("told",))

    found = {r["told"][0]["a"] for r in made.as_frame().toArrow().to_pylist()}
    assert found == set(kinds)


def test_nothing_is_known_where_nothing_is_stored(spark: SparkSession, tmp_path: Path) -> None:
    rows, _ = rows_and_known()
    held = Scratch(tmp_path).of(spark, "known", [], KNOWN)
    seen = spark.createDataFrame(rows, SEEN)
    made = looked_up(seen, ("identity_set", "day"), held, "identity_set", ("owner",))
    assert made.as_frame().collect() == []
