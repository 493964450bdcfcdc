"""JSON values as plain text: a worker and Spark read them alike."""

from __future__ import annotations

import json

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lake.profiles.values import plain_text, plain_texts

VALUES = [
    *('"a"', '""', '"a \\"b\\""', '"\\u00e9\\n"', '"é"', '"\\\\"', '" "', '"7"', '"[1]"', '"null"'),
    *("7", "-1.50", "true", "null", "[]", '["a"]', '{"a": "b"}', None),
]


def test_a_worker_and_spark_make_the_same_texts_of_values(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(value,) for value in VALUES], "value string")
    by_spark = [row[0] for row in frame.select(plain_text(F.col("value"))).collect()]
    assert plain_texts(pa.array(VALUES, pa.string())).to_pylist() == by_spark


@given(st.lists(st.one_of(st.none(), st.text(), st.integers()), max_size=8))
def test_a_text_is_what_was_written_down(values: list[str | int | None]) -> None:
    told = [None if value is None else json.dumps(value) for value in values]
    wanted = [None if value is None else str(value) for value in values]
    assert plain_texts(pa.array(told, pa.string())).to_pylist() == wanted
