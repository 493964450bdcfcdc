"""JSON values as plain text: a worker and Spark read them alike."""

from __future__ import annotations

import json

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lake.profiles.values import (
    date_in,
    day_of,
    micros_of,
    number_in,
    number_of,
    plain_text,
    plain_texts,
    time_in,
)

VALUES = [
    *('"a"', '""', '"a \\"b\\""', '"\\u00e9\\n"', '"é"', '"\\\\"', '" "', '"7"', '"[1]"', '"null"'),
    *("7", "-1.50", "true", "null", "[]", '["a"]', '{"a": "b"}', None),
]


def test_a_worker_and_spark_make_the_same_texts_of_values(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(value,) for value in VALUES], "value string")
    by_spark = [row[0] for row in frame.select(plain_text(F.col("value"))).collect()]
    assert plain_texts(pa.array(VALUES, pa.string())).to_pylist() == by_spark


TEXTS = [
    *("5", "-1.50", "+7", ".5", "5.", "1e3", "1E-3", "1e999", "-1e999", "NaN", "Infinity", "5d"),
    *("5\n", "5\r\n", "5\r", "5\n\n", " 5", "5 ", "5\u0085", "5\u2028", "٥", "1_0", "0x1", ""),
    *("2026-01-03", "2026-01-03 or so", "2026-02-29", "2024-02-29", "26-01-03", "0001-01-01"),
    *("2026-13-01", "٢٠٢٦-٠١-٠٣", "9999-12-31", "2026-1-3", "0000-01-01"),
    *(f"2026-01-03{t}" for t in ("T10:00:00Z", " 10:00:00Z", "T10:00Z", "T10:00:00", "T24:00:00Z")),
    *(f"2026-01-03T10:00:{s}Z" for s in ("00.1", "59.123456789", "60", "00.1234567890", "00.")),
    *(f"2026-01-03T10:00:00{z}" for z in ("+05:30", "-0530", "+18:00", "-18:01", "+10:60", "+1")),
    *("1969-12-31T23:59:59.999999Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    *("2026-02-30T10:00:00Z", "2026-01-03t10:00:00z", "2026-01-03T10:00:00+05:30x", "one"),
]


def test_a_worker_and_spark_find_the_same_numbers_days_and_moments(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(text,) for text in TEXTS], "text string")
    text = F.col("text")
    asked = frame.select(
        "text",
        number_in(text).alias("number"),
        F.unix_date(date_in(text)).cast("double").alias("day"),
        F.unix_micros(time_in(text)).cast("double").alias("micros"),
    )
    by_spark = {row["text"]: (row["number"], row["day"], row["micros"]) for row in asked.collect()}
    assert {text: (number_of(text), day_of(text), micros_of(text)) for text in TEXTS} == by_spark


@given(st.lists(st.one_of(st.none(), st.text(), st.integers()), max_size=8))
def test_a_text_is_what_was_written_down(values: list[str | int | None]) -> None:
    told = [None if value is None else json.dumps(value) for value in values]
    wanted = [None if value is None else str(value) for value in values]
    assert plain_texts(pa.array(told, pa.string())).to_pylist() == wanted
