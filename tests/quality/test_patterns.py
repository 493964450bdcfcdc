"""Regular expressions of expectations: Python finds them where Spark does, or is not asked."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lake.quality.expectations import load_suites
from lake.quality.patterns import python_pattern

OF_SUITES = {
    str(expectation.kwargs["regex"])
    for suite in load_suites(None).values()
    for expectation in suite.expectations
    if "regex" in expectation.kwargs
}
OTHERS = [
    *(
        r"a",
        r"^a",
        r"a$",
        r"^a$",
        r"a.b",
        r"(?i)k",
        r"(?i)[k-m]",
        r"(?i)é",
        r"(?i)s+$",
        r"\s",
        r"\S",
    ),
    *(r"\d", r"\D", r"\w\z", r"[^a-z]", r"[\d.]+", r"a{2}", r"a{2,}", r"a{1,2}b?", r"(?:a|b)+\z"),
    *(
        r"\A(a|b)*\z",
        r"a*?b",
        r"^[^@\s]+@[^@\s]+\.[a-z]{2,}$",
        r"\.",
        r"^$",
        r"a$|b",
        r"[0-]",
        r"é",
    ),
]
NOT_ASKED = [
    *(
        r"(?<=a)b",
        r"(?=a)",
        r"(?m)^a",
        r"\ba",
        r"\p{L}",
        r"\Qa\E",
        r"[a&&b]",
        r"[a[b]]",
        r"\Z",
        r"\h",
    ),
    *(r"(", r"a{,2}", r"[]a]", r"(a)\1", r"(?<n>a)", r"\x41", r"\u0041", r"a{", r"(?s).", r"\R"),
]
TEXTS = [
    *(
        "",
        "a",
        "A",
        "b",
        "ab",
        "aa",
        "aab",
        "a b",
        "0",
        "-",
        ".",
        "k",
        "K",
        "\u212a",
        "s",
        "ſ",
        "é",
    ),
    *("É", "a\n", "a\r\n", "a\r", "a\n\n", "a\u0085", "a\u2028", "a\nb", "a\u0085b", "a\rb", "\n"),
    *("\x0b", "\x1c", "\u00a0", "٥", "a\U0001f600b", "\U0001f600", "x@y.de", "x@y", "none", "NONE"),
    *("0a" * 16, "0A" * 16, "0a" * 15, "(null)", "anonymous\n", "\r\n", "b\r\n"),
]


@pytest.mark.parametrize("regex", sorted({*OF_SUITES, *OTHERS}))
def test_python_finds_what_spark_finds(spark: SparkSession, regex: str) -> None:
    pattern = python_pattern(regex)
    assert pattern is not None
    frame = spark.createDataFrame([(text,) for text in TEXTS], "text string")
    matching = frame.where(F.col("text").rlike(regex)).collect()
    assert [t for t in TEXTS if pattern.search(t)] == [row["text"] for row in matching]


@pytest.mark.parametrize("regex", NOT_ASKED)
def test_what_may_mean_something_else_is_left_to_spark(regex: str) -> None:
    assert python_pattern(regex) is None
