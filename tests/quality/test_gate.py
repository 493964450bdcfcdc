"""The gate lets good tables pass, stops each kind of bad one, and tells numbers only."""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from lake.quality import facts, judge
from lake.quality.expectations import Expectation, Suite, load_suites
from lake.quality.facts import Tally, tallies
from lake.quality.gate import Candidate, Gate, Verdict, blocking, result_rows, summary, warning
from lake.quality.phrases import phrase
from lake.tables import EXPECTATION_RESULTS
from tests.quality.candidates import GOOD, KEY, NOON, PROFILE, candidate
from tests.support.stored import Scratch

SUITES = load_suites(None)

EMAIL = "ada.lovelace@example.com"


def suite_of(*expectations: tuple[str, dict[str, Any]], severity: Any = "warn") -> Suite:
    return Suite(
        "profiles",
        tuple(Expectation(t, k, severity, "A test.", phrase(t, k)) for t, k in expectations),
    )


def verdicts_of(table: str, candidate: DataFrame, suite: Suite) -> list[Verdict]:
    with Gate() as gate:
        gate.show([Candidate(table, candidate, suite)])
        return gate.verdicts()


def failed(found: list[Verdict]) -> dict[str, str]:
    return {v.expectation: v.severity for v in found if not v.success}


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_good_table_meets_all_that_is_expected(spark: SparkSession, name: str) -> None:
    found = verdicts_of(name, candidate(spark, name, {}), SUITES[name])
    assert [(v.expectation, v.success, v.computed) for v in found] == [
        (e.phrase, True, True) for e in SUITES[name].expectations
    ]


@pytest.mark.parametrize("name", sorted(GOOD))
def test_an_empty_lake_is_published_and_only_its_lack_of_profiles_is_told(
    spark: SparkSession, name: str
) -> None:
    found = verdicts_of(name, candidate(spark, name), SUITES[name])
    lacking = {"the number of rows is at least 1": "warn"} if name == "profiles" else {}
    assert failed(found) == lacking


PLACEHOLDER = (
    r"value does not match (?i)\A([0-]*|-1|null|\(null\)|nil|none|undefined|unknown|anonymous)\z"
)
GIANT, LARGE = (
    next(e.phrase for e in SUITES["profile_identifiers"].expectations if part in e.phrase)
    for part in ("a twentieth of all", "more likely a shared device")
)
NOT_HEX = "0123456789ABCDEF0123456789abcdef"

#: For each expectation (table, phrase) a change to the good row, or rows, that breaks it.
#: An expectation `x is not null` is broken by a null and is not listed.
BREAKING: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("events", "message_id is unique"): [{}, {}],
    ("events", "type is one of 6 values"): [{"type": "Track"}],
    ("events", "bad_times is between 0 and 4"): [{"bad_times": 5}],
    ("events", "line is at least 1"): [{"line": 0}],
    ("events", "identity_set has length 16"): [{"identity_set": KEY[:15]}],
    ("events", "identity_set is not null in at least 50% of rows"): [
        {"message_id": "m-1"},
        {"message_id": "m-2", "identity_set": None},
        {"message_id": "m-3", "identity_set": None},
    ],
    ("profiles", "the number of rows is at least 1"): [],
    ("profiles", "profile_id is unique"): [{}, {}],
    ("profile_identifiers", "type, value are unique together"): [{}, {}],
    ("profile_identifiers", r"value matches \S"): [{"value": " "}],
    ("profile_identifiers", PLACEHOLDER): [{"value": "NULL"}],
    ("profile_identifiers", GIANT): [{"value": f"{n}@x.com"} for n in range(1001)],
    ("profile_identifiers", LARGE): [
        {"value": f"{n}@x.com", "profile_id": PROFILE if n < 1001 else f"{n:032x}"}
        for n in range(20_020)
    ],
    ("profile_traits", "profile_id, trait are unique together"): [{}, {}],
    ("set_profiles", "identity_set is unique"): [{}, {}],
    ("profile_redirects", "old_profile_id is unique"): [{}, {}],
    ("profile_redirects", r"old_profile_id matches \A[0-9a-f]{32}\z"): [
        {"old_profile_id": NOT_HEX}
    ],
    ("profile_redirects", "outcome is one of 3 values"): [{"outcome": "lost"}],
    ("identity_changes", "publication, profile_id, change are unique together"): [{}, {}],
    ("identity_changes", "change is one of 6 values"): [{"change": "lost"}],
    ("identity_changes", "cause is one of 2 values"): [{"cause": "chance"}],
    ("set_profiles", "identity_set has length 16"): [{"identity_set": KEY + b"\0"}],
}
for _name in ("profiles", "profile_identifiers", "profile_traits", "set_profiles"):
    BREAKING[_name, r"profile_id matches \A[0-9a-f]{32}\z"] = [{"profile_id": NOT_HEX}]
for _name in ("profiles", "profile_identifiers"):
    BREAKING[_name, "calls is at least 1"] = [{"calls": 0}]
    BREAKING[_name, "last_seen >= first_seen"] = [{"last_seen": NOON - timedelta(microseconds=1)}]

EVERY = [(name, e) for name in sorted(GOOD) for e in SUITES[name].expectations]


@pytest.mark.parametrize(("name", "expectation"), EVERY, ids=[f"{n}: {e.phrase}" for n, e in EVERY])
def test_each_expectation_alone_fails_on_rows_built_to_break_it(
    spark: SparkSession, name: str, expectation: Expectation
) -> None:
    changes = BREAKING.get((name, expectation.phrase))
    if changes is None:
        column = expectation.phrase.removesuffix(" is not null")
        changes = [{column: None}]
    found = verdicts_of(name, candidate(spark, name, *changes), SUITES[name])
    assert failed(found) == {expectation.phrase: expectation.severity}


def test_a_limit_itself_is_within_it(spark: SparkSession) -> None:
    half = [{"message_id": "m-1"}, {"message_id": "m-2", "identity_set": None}]
    identifiers = [{"value": f"{n}@example.com"} for n in range(1000)]
    assert failed(verdicts_of("events", candidate(spark, "events", *half), SUITES["events"])) == {}
    name = "profile_identifiers"
    assert failed(verdicts_of(name, candidate(spark, name, *identifiers), SUITES[name])) == {}


def test_verdicts_tell_how_many_rows_and_what_share(spark: SparkSession) -> None:
    rows = [{"calls": 0}, {"profile_id": "f" * 32}, {"profile_id": "e" * 32, "calls": None}, {}]
    found = {
        v.expectation: v
        for v in verdicts_of("profiles", candidate(spark, "profiles", *rows), SUITES["profiles"])
    }
    assert [
        found["the number of rows is at least 1"],
        found["profile_id is unique"],
        found["calls is not null"],
        found["calls is at least 1"],
    ] == [
        Verdict("profiles", "the number of rows is at least 1", "warn", True, "4", None),
        Verdict("profiles", "profile_id is unique", "block", False, "0.5", 2),
        Verdict("profiles", "calls is not null", "block", False, "0.25", 1),
        Verdict("profiles", "calls is at least 1", "block", False, "0.333333", 1),
    ]


MESSY = "label string, other string, number bigint, low timestamp, high timestamp, key binary"


@pytest.fixture(scope="module")
def messy(spark: SparkSession) -> DataFrame:
    """Rows with nulls, repeats and blanks in every column."""
    early, late = NOON, NOON + timedelta(hours=1)
    return spark.createDataFrame(
        [
            ("a", "x", 1, early, late, KEY),
            ("a", "x", 2, late, early, KEY[:3]),
            ("a", "y", 3, early, early, b""),
            ("", None, 0, None, late, None),
            (None, "x", None, early, None, KEY),
            (None, None, -1, None, None, None),
            (None, None, None, None, None, KEY),
            ("b\n", "y", 7, late, late, KEY),
        ],
        MESSY,
    )


PAIR = {"column_A": "high", "column_B": "low"}

#: (type, arguments, whether `facts` counts it)
SAME: list[tuple[str, dict[str, Any], bool]] = [
    ("expect_table_row_count_to_be_between", {"min_value": 9}, True),
    ("expect_table_row_count_to_be_between", {"min_value": 8, "max_value": 8}, True),
    ("expect_column_values_to_not_be_null", {"column": "label"}, True),
    ("expect_column_values_to_not_be_null", {"column": "label", "mostly": 0.625}, True),
    ("expect_column_values_to_not_be_null", {"column": "label", "mostly": 0.63}, True),
    ("expect_column_values_to_be_unique", {"column": "label"}, True),
    ("expect_column_values_to_be_unique", {"column": "number"}, True),
    ("expect_compound_columns_to_be_unique", {"column_list": ["label", "other"]}, True),
    ("expect_compound_columns_to_be_unique", {"column_list": ["label", "number"]}, True),
    ("expect_column_values_to_match_regex", {"column": "label", "regex": r"\A[ab]\z"}, True),
    ("expect_column_values_to_match_regex", {"column": "label", "regex": "^[ab]$"}, True),
    ("expect_column_values_to_not_match_regex", {"column": "label", "regex": "a"}, True),
    ("expect_column_values_to_not_match_regex", {"column": "other", "regex": "z"}, True),
    ("expect_column_values_to_be_in_set", {"column": "other", "value_set": ["x"]}, True),
    ("expect_column_values_to_be_in_set", {"column": "number", "value_set": [1, 2]}, False),
    ("expect_column_value_lengths_to_equal", {"column": "key", "value": 16}, True),
    ("expect_column_value_lengths_to_equal", {"column": "label", "value": 1}, True),
    ("expect_column_values_to_be_between", {"column": "number", "min_value": 1}, True),
    ("expect_column_values_to_be_between", {"column": "number", "max_value": 3}, True),
    (
        "expect_column_values_to_be_between",
        {"column": "number", "min_value": 0, "max_value": 3, "mostly": 0.6},
        True,
    ),
    (
        "expect_column_values_to_be_between",
        {"column": "number", "min_value": 1, "strict_min": True},
        False,
    ),
    (
        "expect_column_pair_values_a_to_be_greater_than_b",
        {**PAIR, "or_equal": True, "ignore_row_if": "either_value_is_missing"},
        True,
    ),
    ("expect_column_pair_values_a_to_be_greater_than_b", PAIR, False),
    ("expect_column_max_to_be_between", {"column": "number", "max_value": 6}, False),
    (
        "expect_column_values_to_not_be_null",
        {"column": "label", "row_condition": "number > 0", "condition_parser": "spark"},
        False,
    ),
    *(
        ("unexpected_rows_expectation", {"unexpected_rows_query": query}, counted)
        for query, counted in (
            ("SELECT * FROM {batch} WHERE number > 1", True),
            ("SELECT other FROM {batch} GROUP BY other HAVING count(*) > 99; ", True),
            ("SELECT 1 FROM {batch} a JOIN {batch} b ON a.number < b.number", True),
            ("SELECT '{{' FROM {batch} WHERE number > 1", False),
        )
    ),
]


@pytest.mark.parametrize(
    ("type_", "kwargs", "counted"), SAME, ids=[f"{t[7:]} {k}" for t, k, _ in SAME]
)
def test_counts_of_one_pass_are_judged_as_great_expectations_judges_the_table(
    messy: DataFrame, type_: str, kwargs: dict[str, Any], counted: bool
) -> None:
    with judge.quiet():
        alone = judge.validated(judge.built(type_, kwargs), messy)
    [tally] = tallies(messy, [(type_, kwargs)])
    assert (tally is not None) == counted
    [found] = verdicts_of("profiles", messy, suite_of((type_, kwargs)))
    assert not judge.raised(alone)
    assert (found.success, found.unexpected, found.computed) == (
        alone.success,
        alone.result.get("unexpected_count"),
        True,
    )


def test_all_counts_of_a_table_come_from_one_pass(messy: DataFrame) -> None:
    asked = [
        ("expect_column_values_to_not_be_null", {"column": "label"}),
        ("expect_compound_columns_to_be_unique", {"column_list": ["label", "other"]}),
        ("expect_column_max_to_be_between", {"column": "number", "max_value": 6}),
        ("expect_column_values_to_be_between", {"column": "number", "min_value": 1}),
    ]
    assert tallies(messy, asked) == [Tally(8, 8, 3), Tally(8, 6, 2), None, Tally(8, 6, 2)]


@pytest.mark.parametrize("few", [0, 1_000], ids=["by ranges of their hashes", "by one task"])
def test_stored_rows_are_counted_alike_whether_few_or_many(
    messy: DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(facts, "_FEW", few)
    stored = Scratch(tmp_path)("messy", messy.repartition(3))
    asked = [(type_, kwargs) for type_, kwargs, _ in SAME]
    assert tallies(stored, asked) == tallies(messy, asked)


def test_an_expectation_that_cannot_be_computed_blocks_and_the_others_are_still_judged(
    spark: SparkSession,
) -> None:
    frame = candidate(spark, "profiles", {}).drop("first_source").withColumnRenamed("calls", "n")
    suite = suite_of(
        ("expect_column_values_to_not_be_null", {"column": "first_source"}),
        ("expect_column_values_to_not_be_null", {"column": "profile_id"}),
        ("expect_column_values_to_match_regex", {"column": "profile_id", "regex": "("}),
        ("expect_column_max_to_be_between", {"column": "calls", "max_value": 9}),
    )
    unknown = {"success": False, "observed": None, "unexpected": None, "computed": False}
    assert verdicts_of("profiles", frame, suite) == [
        Verdict("profiles", "first_source is not null", "block", **unknown),
        Verdict("profiles", "profile_id is not null", "warn", True, "0", 0),
        Verdict("profiles", "profile_id matches (", "block", **unknown),
        Verdict(
            "profiles", "column max to be between (column=calls, max_value=9)", "block", **unknown
        ),
    ]


def test_no_customers_value_is_told_logged_or_printed(
    spark: SparkSession, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    frame = candidate(spark, "profile_identifiers", {"value": EMAIL}, {"value": EMAIL}, {})
    caplog.set_level(logging.DEBUG)
    suite = suite_of(
        ("expect_compound_columns_to_be_unique", {"column_list": ["type", "value"]}),
        ("expect_column_values_to_be_unique", {"column": "value"}),
        ("expect_column_values_to_not_match_regex", {"column": "value", "regex": "@"}),
        ("expect_column_values_to_not_be_in_set", {"column": "value", "value_set": ["ada"]}),
        ("expect_column_values_to_be_null", {"column": "value"}),
        ("expect_column_distinct_values_to_be_in_set", {"column": "value", "value_set": ["ada"]}),
        ("expect_column_most_common_value_to_be_in_set", {"column": "value", "value_set": ["x"]}),
        ("expect_column_value_lengths_to_be_between", {"column": "value", "max_value": 3}),
        (
            "unexpected_rows_expectation",
            {"unexpected_rows_query": "SELECT value FROM {batch} WHERE value LIKE 'ada%'"},
        ),
        # Spark's message quotes the value that it cannot cast.
        (
            "unexpected_rows_expectation",
            {"unexpected_rows_query": "SELECT 1 FROM {batch} WHERE CAST(value AS INT) = 1"},
        ),
        (
            "unexpected_rows_expectation",
            {"unexpected_rows_query": "SELECT raise_error(value) FROM {batch}"},
        ),
        ("expect_column_values_to_be_between", {"column": "value", "min_value": 1}),
    )
    found = verdicts_of("profile_identifiers", frame, suite)
    assert failed(found).keys() == {
        e.phrase for e in suite.expectations if e.type != "expect_column_values_to_not_be_in_set"
    }
    assert [v.expectation for v in found if not v.computed] == [
        "no rows in SELECT 1 FROM {batch} WHERE CAST(value AS INT) = 1",
        "no rows in SELECT raise_error(value) FROM {batch}",
        "value is at least 1",
    ]
    printed = capfd.readouterr()
    told = [repr(found), summary(found), repr(result_rows("run-1", found))]
    told += [r.getMessage() + str(r.exc_info) for r in caplog.records]
    for text in (*told, printed.out, printed.err):
        assert "lovelace" not in text


def test_nothing_is_printed_where_standard_output_belongs_to_the_caller(
    spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "profile_identifiers"
    verdicts_of(name, candidate(spark, name, {"value": " "}), SUITES[name])
    assert capsys.readouterr().out == ""


def test_the_session_is_left_as_it_was(spark: SparkSession) -> None:
    before = spark.sparkContext.getConf().getAll(), spark.catalog.listTables()
    verdicts_of("profile_identifiers", candidate(spark, "profile_identifiers", {}),
             SUITES["profile_identifiers"])  # fmt: skip
    assert SparkSession.getActiveSession() is spark
    assert (spark.sparkContext.getConf().getAll(), spark.catalog.listTables()) == before


FOUND = [
    Verdict("profiles", "profile_id is unique", "block", False, "0.5", 2),
    Verdict("profiles", "calls is at least 1", "warn", False, "0.25", 1),
    Verdict("profiles", "the number of rows is at least 1", "warn", False, "0", None),
    Verdict("events", "type is not null", "block", True, "0", 0),
    Verdict("events", "source is not null", "block", False, None, None, computed=False),
]


def test_failed_blocks_block_and_failed_warns_are_told() -> None:
    assert blocking(FOUND) == [FOUND[0], FOUND[4]]
    assert warning(FOUND) == [FOUND[1], FOUND[2]]


def test_the_summary_names_what_failed_blocks_first() -> None:
    assert summary(FOUND) == (
        "5 expectations: 1 holds, 2 block, 2 warn\n"
        "  block  profiles: profile_id is unique (2 rows break it)\n"
        "  block  events: source is not null (could not be found out)\n"
        "  warn   profiles: calls is at least 1 (1 row breaks it)\n"
        "  warn   profiles: the number of rows is at least 1 (observed: 0)"
    )


def test_results_are_rows_of_their_table(spark: SparkSession) -> None:
    rows = result_rows("run-1", FOUND[:1])
    assert rows == [
        {
            "run": "run-1",
            "table": "profiles",
            "expectation": "profile_id is unique",
            "severity": "block",
            "success": False,
            "observed": "0.5",
            "unexpected": 2,
        }
    ]
    assert tuple(rows[0]) == EXPECTATION_RESULTS.names


def test_every_phrase_of_a_suite_is_its_own() -> None:
    for suite in SUITES.values():
        phrases = [e.phrase for e in suite.expectations]
        assert len(phrases) == len(set(phrases)), suite.table
        assert PROFILE not in "".join(phrases)
