"""Whoever reads the published tables reads the same, and nobody's data lie beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from pyspark.sql import SparkSession

from lake.io.reader import Publication
from lake.tables import PUBLISHED, TABLES
from tests.nights.conftest import Lake
from tests.support.nights import Row, rows


def with_spark(shown: Publication, name: str) -> pa.Table:
    return shown.table(name).toArrow()


def with_deltalake(shown: Publication, name: str) -> pa.Table:
    opened = shown.delta(name)
    # With deltalake's own file system, the interpreter aborts at exit now and then.
    root = opened.table_uri.removeprefix("file://").rstrip("/")
    here = pafs.SubTreeFileSystem(root, pafs.LocalFileSystem())
    return opened.to_pyarrow_dataset(filesystem=here).to_table()


def with_polars(shown: Publication, name: str) -> pa.Table:
    opened = shown.delta(name)
    return pl.scan_delta(opened.table_uri, version=opened.version()).collect().to_arrow()


def with_datafusion(shown: Publication, name: str) -> pa.Table:
    return shown.query(f"select * from {name}")


def with_duckdb(shown: Publication, name: str) -> pa.Table:
    dataset = shown.delta(name).to_pyarrow_dataset()
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        connection.register("t", dataset)
        return connection.sql("select * from t").to_arrow_table()


READERS = [with_spark, with_deltalake, with_polars, with_datafusion, with_duckdb]


@pytest.mark.parametrize("read", READERS)
def test_every_reader_sees_the_same_values(
    one_night: Lake, spark: SparkSession, read: Callable[[Publication, str], pa.Table]
) -> None:
    shown = one_night.site.publication()
    for name, expected in one_night.contents.items():
        assert plain(rows(read(shown, name))) == plain(expected), name


def plain(found: list[Row]) -> list[str]:
    """Rows as text; an entry of a map is a pair in one reader and a struct in another."""
    return sorted(repr(_plain(list(row))) for row in found)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"key", "value"}:
            return [_plain(value["key"]), _plain(value["value"])]
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


@pytest.mark.parametrize("name", [t.name for t in PUBLISHED])
def test_published_tables_need_reader_version_1_and_no_feature(one_night: Lake, name: str) -> None:
    protocol = one_night.site.publication().delta(name).protocol()
    assert protocol.min_reader_version == 1
    assert protocol.reader_features is None


def test_no_statistics_of_personal_columns_are_kept(one_night: Lake) -> None:
    told = 0
    for t in TABLES:
        personal = {c.name for c in t.columns if c.personal}
        for action in log_of(Path(one_night.site.root) / t.name):
            if "add" in action:
                statistics = json.loads(action["add"]["stats"])
                for kind in ("minValues", "maxValues", "nullCount"):
                    assert not personal & set(statistics.get(kind, {})), t.name
                told += "minValues" in statistics
    assert told, "no statistics at all would let no lookup skip a file"


def log_of(folder: Path) -> Iterator[dict[str, Any]]:
    for file in sorted(folder.glob("_delta_log/*.json")):
        yield from map(json.loads, file.read_text().splitlines())


def test_nobodys_identifier_is_in_a_log_a_control_file_or_a_control_table(
    one_night: Lake,
) -> None:
    root = Path(one_night.site.root)
    logs = [f for f in root.rglob("*") if f.is_file() and "_delta_log" in f.parts]
    control = [f for f in (root / "_control").rglob("*") if f.is_file()]
    assert logs
    assert control
    told = b"".join(file.read_bytes() for file in [*logs, *control])
    for name in ("expectation_results", "runs", "publications"):
        told += repr(one_night.site.dicts(name)).encode()
    told += one_night.told.encode()

    identifiers = one_night.site.publication().arrow("profile_identifiers")
    values = {v for v in identifiers["value"].to_pylist() if len(v) > 5}
    assert "ann@example.com" in values
    assert [value for value in sorted(values) if value.encode() in told] == []
    assert b"@example.com" not in told
    assert "wrote profiles" in one_night.told
