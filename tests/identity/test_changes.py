"""What became of profiles between two publications."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession

from lake.identity import changes
from lake.tables import IDENTITY_CHANGES


def _identifiers(spark: SparkSession, profiles: dict[str, str]) -> DataFrame:
    """`{"A": "x y"}`: profile A has identifiers x and y."""
    rows = [("email", v, owner) for owner, values in profiles.items() for v in values.split()]
    return spark.createDataFrame(rows, "type string, value string, profile_id string")


def _changes(spark: SparkSession, before: dict[str, str], now: dict[str, str]) -> DataFrame:
    moves = changes.moves(_identifiers(spark, before), _identifiers(spark, now))
    causes = spark.createDataFrame([("A", b"set")], "profile_id string, cause_set binary")
    return changes.identity_changes(moves, causes)


def _told(frame: DataFrame) -> set[tuple[object, ...]]:
    return {(r.profile_id, r.change, tuple(r.others), r.identifiers) for r in frame.collect()}


def test_each_kind_of_change_is_told_once_with_what_it_is_about(spark: SparkSession) -> None:
    before = {"A": "a", "B": "b1 b2", "C": "c1 c2", "D": "d1 d2", "E": "e", "G": "g", "K": "k"}
    now = {"A": "a b1 b2 a2", "C": "c1", "X": "c2", "D": "d1", "F": "d2 f", "N": "n", "G": "g"}
    now |= {"K": "k k2 k3"}
    assert _told(_changes(spark, before, now)) == {
        ("A", "grown", (), 1),
        ("K", "grown", (), 2),
        ("B", "merged", ("A",), 2),
        ("C", "split", ("X",), 1),
        ("D", "split", ("F",), 1),
        ("E", "retired", (), 1),
        ("F", "born", (), 1),
        ("N", "born", (), 1),
        ("X", "born", (), 0),
        ("X", "moved", ("C",), 1),
        ("F", "moved", ("D",), 1),
    }


def test_at_first_every_profile_is_born_with_all_its_identifiers(spark: SparkSession) -> None:
    found = _changes(spark, {}, {"A": "a1 a2", "B": "b"})
    assert _told(found) == {("A", "born", (), 2), ("B", "born", (), 1)}
    assert {r.profile_id: r.cause_set and bytes(r.cause_set) for r in found.collect()} == {
        "A": b"set",
        "B": None,
    }


def test_the_cause_is_the_least_of_the_new_sets_by_its_bytes(spark: SparkSession) -> None:
    new = spark.createDataFrame([(b"\x7f",), (b"\xff",), (b"\x80",)], "identity_set binary")
    one, other = "0a" * 16, "fb" * 16
    owners = [(b"\x7f", one), (b"\xff", other), (b"\x80", other), (b"\x00", other)]
    sets = spark.createDataFrame(owners, "identity_set binary, profile_id string")
    found = changes.causes(new, sets).as_frame().collect()
    assert {r.profile_id: bytes(r.cause_set) for r in found} == {one: b"\x7f", other: b"\x80"}


def test_where_nothing_was_published_all_are_born_as_any_other_changes_are_told(
    spark: SparkSession,
) -> None:
    ids = [f"{n:032x}" for n in range(0, 2**128, 2**128 // 40)]
    named = {one: " ".join(f"{one}{i}" for i in range(n % 4)) for n, one in enumerate(ids)}
    now = _identifiers(spark, named)
    owners = [(bytes([n, i]) * 8, one) for n, one in enumerate(ids) for i in range(n % 3)]
    sets = spark.createDataFrame(owners, "identity_set binary, profile_id string")
    new = spark.createDataFrame([(key,) for key, _ in owners[::2]], "identity_set binary")
    moves = changes.moves(_identifiers(spark, {}), now)
    causes = changes.causes(new, sets).as_frame()
    wanted = changes.numbered(changes.identity_changes(moves, causes), 3)
    found = changes.first_changes(now, new, sets, 3).as_frame()
    names = list(IDENTITY_CHANGES.names)
    told = {str(row) for row in wanted.select(names).collect()}
    assert {str(row) for row in found.select(names).collect()} == told
    assert found.count() == wanted.count() == len([n for n in range(40) if n % 4])


def test_a_merge_names_the_new_set_of_the_profile_that_took_it_in(spark: SparkSession) -> None:
    found = _changes(spark, {"A": "a", "B": "b"}, {"A": "a b"}).collect()
    assert [(r.profile_id, bytes(r.cause_set)) for r in found] == [("B", b"set")]


def test_redirects_are_flat_and_end_when_an_id_is_back(spark: SparkSession) -> None:
    columns = "old_profile_id string, profile_id string, outcome string"
    none = spark.createDataFrame([], columns)

    def after(
        earlier: DataFrame, before: dict[str, str], now: dict[str, str]
    ) -> tuple[DataFrame, set[tuple[object, ...]]]:
        current = _identifiers(spark, now).select("profile_id").distinct()
        frame = changes.redirects(earlier, _changes(spark, before, now), current)
        rows = [tuple(r) for r in frame.collect()]
        return spark.createDataFrame(rows, columns), set(rows)

    one, two = {"A": "a", "B": "b", "C": "c"}, {"B": "a b", "C": "c"}
    three, four = {"C": "a b c"}, {"A": "a", "C": "b c"}
    redirects, told = after(none, one, two)
    assert told == {("A", "B", "merged")}
    redirects, told = after(redirects, two, three)
    assert told == {("A", "C", "merged"), ("B", "C", "merged")}
    redirects, told = after(redirects, three, four)
    assert told == {("B", "C", "merged")}
