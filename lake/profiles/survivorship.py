"""Survivorship: of all values a profile was told for a trait, which one is published, and why.

A trait without a rule of its own is that of its latest value, as Segment's `user_traits` has it
(segment.com/docs/unify/profiles-sync/tables). Decisions where a reader might expect otherwise:

- A null removes what was told before it: every value whose last telling is earlier, by a source
  that ranks no higher. A value told again later is there again, with all of its calls.
  `never_empty` alone takes no notice of a null; nor of blank text, `[]` and `{}`.
- `""` is a value like any other.
- Ages, first and last go by the clock that orders calls, and ties end with the value's text.
- Values are compared as they were sent: `1` and `1.0` are two. `highest` and `lowest` compare
  numbers, also those sent as text; of a trait declared as a date or timestamp, times.
- Of one value told by several sources, the winner names the source that the rule prefers, else
  the one that told it last; the others `agree`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Window
from pyspark.sql import functions as F

from lake.clock import RECEIVED_AT, in_order, time_of
from lake.language.spelling import spellings
from lake.profiles.values import date_in, number_in, plain_text, time_in
from lake.ranges import RANGE, with_range
from lake.tables import PROFILE_TRAIT_CANDIDATES, PROFILE_TRAITS

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.window import WindowSpec

    from lake.frames import Materialised, WorkerRows

LATEST = "latest"
LIST = "list"
NEVER_EMPTY = "never_empty"

#: Why a value is not published, by the rule that ranks another one before it.
_BEATEN = {
    LATEST: "older",
    NEVER_EMPTY: "older",
    "first": "later",
    "most_frequent": "less_frequent",
    "longest": "shorter",
    "highest": "lower",
    "lowest": "higher",
}

#: What a trait is judged within: `range` is that of profile_id.
_TRAIT = ("profile_id", "trait", RANGE)

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True)
class TraitRule:
    """A declared trait: which value survives, from which sources first, how old it may be.

    ``type`` is the type of its column in `profiles` (see `lake.profiles.values`), None for none.
    """

    name: str
    rule: str = LATEST
    sources: tuple[str, ...] = ()
    max_age: timedelta | None = None
    type: str | None = None

    @property
    def column(self) -> str:
        """Its column in `profiles`: the path's dots are underscores there."""
        return self.name.replace(".", "_")

    @property
    def told(self) -> str:
        """The rule as `profile_traits` names it."""
        if not self.sources:
            return self.rule
        return "sources" if self.rule == LATEST else f"sources, {self.rule}"


def named(observations: DataFrame, rules: Sequence[TraitRule]) -> DataFrame:
    """The observations by the names of declared traits, however the calls spelt them.

    In and out: the columns of ``trait_observations``. A declared path (`address.city`) adds the
    observations inside its object; the object's own stay.
    """
    known = {s: r.name for r in rules for s in spellings(r.name)}
    if not known:
        return observations
    paths = {r.name: tuple(map(spellings, r.name.split("."))) for r in rules if "." in r.name}
    if paths:
        roots = sorted({s for path in paths.values() for s in path[0]})
        around = observations.where(F.col("trait").isin(roots))
        inside = around.mapInArrow(partial(_inside, paths), observations.schema)
        observations = observations.unionByName(inside)
    names = F.create_map(*(F.lit(text) for pair in sorted(known.items()) for text in pair))
    name = F.coalesce(F.try_element_at(names, F.col("trait")), F.col("trait"))
    return observations.withColumn("trait", name)


def _inside(
    paths: dict[str, tuple[tuple[str, ...], ...]], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """The observations at the paths inside observed objects; a removed object removes them all."""
    for batch in batches:
        rows: list[int] = []
        names: list[str] = []
        values: list[str | None] = []
        told = zip(batch["trait"].to_pylist(), batch["value"].to_pylist(), strict=True)
        for row, (root, text) in enumerate(told):
            for name, (first, *rest) in paths.items():
                for value in _at(text, rest) if root in first else ():
                    rows.append(row)
                    names.append(name)
                    values.append(value)
        taken = batch.take(pa.array(rows, pa.int64()))
        for column, found in (("trait", names), ("value", values)):
            place = taken.schema.get_field_index(column)
            taken = taken.set_column(place, column, pa.array(found, pa.string()))
        yield taken


def _at(text: str | None, path: Sequence[tuple[str, ...]]) -> Iterator[str | None]:
    """The JSON texts at a path, each step in any of its spellings; None where it is removed."""
    if text in (None, "null") or not path:
        yield None if text == "null" else text
    elif text is not None and text.startswith("{"):
        members = _object.decode(text)
        for spelling in path[0]:
            if spelling in members:
                yield from _at(bytes(members[spelling]).decode(), path[1:])


def judged_values(
    observations: DataFrame,
    set_profiles: DataFrame,
    rules: Sequence[TraitRule],
    clock: str,
    as_of: datetime,
    ranges: int,
) -> DataFrame:
    """Every value of every trait of every profile, and why it is not published.

    In: ``trait_observations``, ``set_profiles``, the declared traits, the clock that orders calls,
    the time of the publication (UTC), the number of tasks. Out: as `judged` gives it. One shuffle
    for the join and one for the traits.
    """
    sets = with_range(set_profiles.select("identity_set", "profile_id"), "profile_id", ranges)
    told = in_short(named(observations, rules), rules, clock).join(sets, "identity_set")
    return judged(told, rules, clock, F.lit(as_of), ranges)


def in_short(told: DataFrame, rules: Sequence[TraitRule], clock: str) -> DataFrame:
    """The rows with what is to be judged of their moments, before anything moves them.

    In: any columns and ``first`` and ``last``, moments. Out: instead of these two the time of the
    first as ``first_seen``, and both as they compare; the first where a rule goes by it, else null.
    """
    by_first = F.col("trait").isin([r.name for r in rules if r.rule in ("first", LIST)])
    return told.select(
        *(F.col(name) for name in told.columns if name not in ("first", "last")),
        time_of("first.", clock).alias("first_seen"),
        F.when(by_first, in_order("first.", clock)).alias("first"),
        in_order("last.", clock).alias("last"),
    )


def judged(
    told: DataFrame, rules: Sequence[TraitRule], clock: str, as_of: Column, ranges: int
) -> DataFrame:
    """Every value of every trait of every profile, and why it does not survive.

    In: rows of what a profile was told, `in_short`: (profile_id, trait, value, source, calls,
    first_seen, first, last), by the names of declared traits, and `range` of profile_id (see
    `with_range`); ``as_of`` over profile_id. Out: the columns of ``profile_traits`` and those of
    ``profile_trait_candidates`` but last_seen, which is a time of the call: one row a profile,
    trait, value and source, ``reason`` being null where the value survives. A list is one row, and
    none for what is in it: it names the call that told its newest value. Of a value that `first`
    chose the call is the first that told it, of every other the last. Each of the ``ranges`` of
    profile_id is a task, sorted by profile_id and trait. One shuffle; the traits are sorted twice:
    to add up and to judge.
    """
    values = (
        # All that follows keeps to this partitioning; Spark by itself would shuffle for each step.
        told.repartition(ranges, RANGE)
        .groupBy(*_TRAIT, "value", "source")
        .agg(
            F.sum("calls").alias("calls"),
            F.min("first_seen").alias("first_seen"),
            F.min("first").alias("first"),
            F.max("last").alias("last"),
        )
    )
    special = [r for r in rules if r.told != LATEST or r.max_age]
    order: tuple[Column, ...] = (
        F.col("rank"),
        F.col("score").desc_nulls_last(),
        *_earliest_first(special),
        F.col("last").desc(),
        F.col("value"),
        F.col("source"),
    )
    # In this order a removal is found and so is the winner.
    in_turn = _ranked(values, special).sortWithinPartitions(*_TRAIT, *order)
    lost = _lost(special, clock, as_of)
    values = _removals(in_turn, special).where(F.col("value").isNotNull()).withColumn("lost", lost)
    whole = (
        Window.partitionBy(*_TRAIT)
        .orderBy(*order)
        .rowsBetween(Window.unboundedPreceding, Window.unboundedFollowing)
    )
    running = F.when(F.col("lost").isNull(), F.struct("value", "source", "rank", "score"))
    winner = F.first(running, ignorenulls=True).over(whole)
    values = values.select("*", winner.alias("winner"))
    if any(r.rule == LIST for r in special):
        values = _with_lists(values, whole)
    reason = _reason()
    first = reason.isNull() & (F.col("rule") == "first")
    call = F.when(first, F.col("first")).otherwise(F.col("last"))
    return values.select(
        *("profile_id", "trait"),
        _published(special).alias("value"),
        *(call[part].alias(part) for part in ("message_id", "received_at", "timestamp")),
        _by_trait(special, lambda r: r.told, LATEST).alias("rule"),
        *("source", reason.alias("reason"), "calls", "first_seen"),
    )


def _with_lists(values: DataFrame, whole: WindowSpec) -> DataFrame:
    """The values, of those that a list takes only the newest, with what the list takes as
    ``entries``. ``whole``: the window of a profile's trait."""
    own, entry = F.struct("last", "source", "value"), F.struct("first", "value")
    newest = F.max(F.when(_is_listed(), own)).over(whole)
    entries = F.collect_list(F.when(_is_listed(), entry)).over(whole)
    values = values.select("*", newest.alias("newest"), entries.alias("entries"))
    return values.where(~_is_listed() | (own == F.col("newest")))


def _is_listed() -> Column:
    """Whether a list takes the value."""
    return (F.col("rule") == LIST) & F.col("lost").isNull()


def _published(rules: Sequence[TraitRule]) -> Column:
    """The value; of a list a JSON list of all, each once, in the order they were first told."""
    if all(rule.rule != LIST for rule in rules):
        return F.col("value")
    texts = F.array_distinct(F.array_sort("entries")["value"])
    whole = F.concat(F.lit("["), F.array_join(texts, ","), F.lit("]"))
    return F.when(_is_listed(), whole).otherwise(F.col("value"))


def _ranked(values: DataFrame, rules: Sequence[TraitRule]) -> DataFrame:
    """The values with what their trait asks for.

    ``rule``, the ``rank`` of the source among those the trait prefers (0 for none) and ``score``,
    for which a value's votes are the calls of all sources that told it.
    """

    def rank(rule: TraitRule) -> Column | int:
        listed = F.array(*(F.lit(source) for source in rule.sources))
        found = F.array_position(listed, F.col("source")).cast("int")
        return F.when(found > 0, found).otherwise(len(rule.sources) + 1) if rule.sources else 0

    votes = F.col("calls")
    if any(r.rule == "most_frequent" for r in rules):
        votes = F.sum("calls").over(Window.partitionBy(*_TRAIT, "value"))
    return values.withColumns(
        {
            "rule": _by_trait(rules, lambda r: r.rule, LATEST),
            "rank": _by_trait(rules, rank, 0),
            "score": _score(rules, votes),
        }
    )


def _removals(ranked: DataFrame, rules: Sequence[TraitRule]) -> DataFrame:
    """The values with ``removed``: the order of the last null by a source that ranks no lower."""
    told = Window.partitionBy(*_TRAIT)
    if any(r.sources for r in rules):
        told = told.orderBy("rank").rangeBetween(Window.unboundedPreceding, Window.currentRow)
    null = F.when(F.col("value").isNull(), F.col("last"))
    return ranked.withColumn("removed", F.max(null).over(told))


def _lost(rules: Sequence[TraitRule], clock: str, as_of: Column) -> Column:
    """Why a value is out of the running; null where it is in it."""
    text = plain_text(F.col("value"))
    rule = F.col("rule")
    reason = F.when((rule != NEVER_EMPTY) & (F.col("last") < F.col("removed")), "removed")
    if any(r.rule == NEVER_EMPTY for r in rules):
        empty = F.col("value").isin("[]", "{}") | (F.trim(text) == "")
        reason = reason.when((rule == NEVER_EMPTY) & empty, "empty")
    for aged in (r for r in rules if r.max_age):
        assert aged.max_age is not None
        old = time_of("last.", clock) < as_of - F.lit(aged.max_age)
        reason = reason.when((F.col("trait") == aged.name) & old, "expired")
    for compared in (r for r in rules if r.rule in ("highest", "lowest")):
        none = _comparable(compared, text).isNull()
        reason = reason.when((F.col("trait") == compared.name) & none, "not_comparable")
    return reason


def _comparable(rule: TraitRule, text: Column) -> Column:
    """The number by which a value is higher or lower than another; null where it has none."""
    match rule.type:
        case "date":
            return F.unix_date(date_in(text)).cast("double")
        case "timestamp":
            return F.unix_micros(time_in(text)).cast("double")
        case _:
            return number_in(text)


def _score(rules: Sequence[TraitRule], votes: Column) -> Column:
    """What the rule prefers more of, as a number; null where it goes by time alone."""
    text = plain_text(F.col("value"))

    def score(rule: TraitRule) -> Column | None:
        match rule.rule:
            case "most_frequent":
                return votes.cast("double")
            case "longest":
                return F.length(text).cast("double")
            case "highest":
                return _comparable(rule, text)
            case "lowest":
                return -_comparable(rule, text)
            case _:
                return None

    return _by_trait(rules, score, None).cast("double")


def _earliest_first(rules: Sequence[TraitRule]) -> Iterator[Column]:
    if any(r.rule == "first" for r in rules):
        yield F.when(F.col("rule") == "first", F.col("first")).asc_nulls_last()


def _reason() -> Column:
    """Why a value is not published; null for the winner and for all that a list takes."""
    beaten = F.lit(None).cast("string")
    for rule, reason in _BEATEN.items():
        beaten = F.when(F.col("rule") == rule, reason).otherwise(beaten)
    differs = ~F.col("score").eqNullSafe(F.col("winner.score"))
    won = F.col("value") == F.col("winner.value")
    return (
        F.when(F.col("lost").isNotNull(), F.col("lost"))
        .when(F.col("rule") == LIST, None)
        .when(won & (F.col("source") == F.col("winner.source")), None)
        .when(won, "agrees")
        .when(F.col("rank") > F.col("winner.rank"), "lesser_source")
        .when(differs | F.col("score").isNull(), beaten)
        .otherwise("older")
    )


def _by_trait(
    rules: Sequence[TraitRule],
    said: Callable[[TraitRule], Column | str | int | None],
    otherwise: str | int | None,
) -> Column:
    """What is said of each declared trait; ``otherwise`` of all others."""
    column = F.lit(otherwise)
    for rule in rules:
        column = F.when(F.col("trait") == rule.name, said(rule)).otherwise(column)
    return column


def winning_traits(judged: Materialised) -> WorkerRows:
    """The columns of ``profile_traits``: of each profile's traits the value that survives.

    In: what `judged` gives, stored.
    """
    needed = (*PROFILE_TRAITS.names, "reason")
    return replace(judged.through(_winners, PROFILE_TRAITS.ddl, needed), in_order=True)


def trait_candidates(judged: Materialised, clock: str) -> WorkerRows:
    """The columns of ``profile_trait_candidates``: the values that were not taken, and why.

    In: what `judged` gives, stored, and the clock that orders calls.
    """
    own = (name for name in PROFILE_TRAIT_CANDIDATES.names if name != "last_seen")
    needed = (*own, "received_at", "timestamp")
    lost = judged.through(partial(_losers, clock), PROFILE_TRAIT_CANDIDATES.ddl, needed)
    return replace(lost, in_order=True)


def _winners(judged: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for rows in judged:
        survived = pc.is_null(rows.column("reason"))
        yield rows.filter(survived).select(list(PROFILE_TRAITS.names))


def _losers(clock: str, judged: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for every in judged:
        rows = every.filter(pc.is_valid(every.column("reason")))
        seen = rows.column("received_at")
        if clock != RECEIVED_AT:
            seen = pc.coalesce(rows.column("timestamp"), seen)
        rows = rows.append_column("last_seen", seen)
        yield rows.select(list(PROFILE_TRAIT_CANDIDATES.names))
