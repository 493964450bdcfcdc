"""The raw components that need order, resolved one at a time by the pure rules.

    components ─► limits that bind? ─ no ─► one set created its profile? ─ yes ─► no further work
                          │                                  └─ no ─► grown() ─► how it merged
                          └─ yes ─► sightings in order ─► resolve() ─► profiles, violations

Two sets in different raw components never influence each other, so components are also what the
work is divided by. A component goes through `lake.identity.resolve` whole, as a stream of its
sightings in order; a task holds one component at a time.

Where a rule may bind every sighting is sent, not only a set's first: with windows and at the
mapping cap a later day can matter, and each day a rule binds has its own row in `violations`.
(Without windows and caps only first sightings could change who is who: what a call lost once, it
loses again, since profiles only grow.) Of a clean component that more than one set created, only
how it merged is to be told, and first sightings tell it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import functions as F

from lake.identity.ids import profile_id
from lake.identity.resolve import (
    Limit,
    Profile,
    Resolution,
    Rules,
    Sighting,
    Strategy,
    Window,
    grown,
    resolve,
)
from lake.identity.resolve.links import id_graph
from lake.identity.sets import RECEIVED_AT, order_of
from lake.schema import arrow_type
from lake.tables import MOMENT_TYPE, PATH_TYPE

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from lake.identity.resolve.model import Identifier, Pair

SET, IDENTIFIER, CREATED, VIOLATION = "set", "identifier", "created", "violation"

_COLUMNS = {
    "kind": "string",
    "component": "bigint",
    "identity_set": "binary",
    "day": "date",
    "type": "string",
    "value": "string",
    "profile_id": "string",
    "segment_id": "string",
    "moment": MOMENT_TYPE,
    "path": PATH_TYPE,
    "reason": "string",
    "rule": "string",
    "apart": "array<string>",
}
RESOLVED = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
_ARROW = pa.schema([(name, arrow_type(kind)) for name, kind in _COLUMNS.items()])
_ROWS = 20_000


def in_conflict(linked: DataFrame, rules: Rules) -> DataFrame:
    """Raw components in which a limit, a cap or an override may bind: (component).

    ``linked``: a row an identifier, (component, type, value). One aggregate; the same conditions
    as `resolve.is_clean`, but the merge cap is judged by the number of identifiers alone and a
    ``never_together`` pair by either of its ends, which names a few too many. Those are resolved
    like the others and come out as one profile.
    """
    counted = (
        linked.where("component is not null")
        .repartition("component")
        .groupBy("component", "type")
        .agg(F.count(F.lit(1)).alias("n"))
    )
    over = F.max(F.col("n") > _limit(rules))
    total = F.sum("n")
    most = [rules.max_mappings]
    if rules.strategy is Strategy.SEGMENT:
        most.append(rules.max_merges + 1)
    binding = over | (total > min(most))
    if rules.strategy is Strategy.COMPONENTS:
        binding = F.lit(False)  # noqa: FBT003
    found = counted.groupBy("component").agg(binding.alias("binds")).where("binds")
    found = found.select("component")
    if not rules.never_together:
        return found
    return found.unionByName(_with_ends(linked, rules.never_together)).distinct()


def joined_by_override(linked: DataFrame, rules: Rules) -> DataFrame:
    """Raw components with an end of an ``always_together`` pair: (component).

    They need not be in conflict, but are other ones once the pair is taken back.
    """
    return _with_ends(linked, rules.always_together)


def _with_ends(linked: DataFrame, pairs: Iterable[Pair]) -> DataFrame:
    ends = sorted({end for pair in pairs for end in pair})
    named = [F.struct(F.lit(kind), F.lit(value)) for kind, value in ends]
    found = linked.where(F.struct("type", "value").isin(named)) if ends else linked.where("false")
    return found.where("component is not null").select("component")


def over_limit(outcome: DataFrame, rules: Rules) -> DataFrame:
    """Profiles of resolved components with more values of a type than any may have for ever, of
    which there must be none: (profile_id, type). An ``always_together`` pair may break a limit.

    ``outcome``: rows of RESOLVED. One aggregate.
    """
    counted = outcome.where("kind = 'identifier'").groupBy("profile_id", "type")
    unlimited = rules.strategy is Strategy.COMPONENTS or bool(rules.always_together)
    over = F.lit(False) if unlimited else F.col("n") > _limit(rules, ever=True)  # noqa: FBT003
    found = counted.agg(F.count(F.lit(1)).alias("n")).where(over)
    return found.select("profile_id", "type")


def _limit(rules: Rules, *, ever: bool = False) -> Column:
    """The limit of a row's type, whatever its window, or only where it holds for ``ever``; for
    latest_wins only unique types."""
    unlimited = 2**31 - 1

    def counts(limit: Limit) -> int:
        count = limit.count
        if count is None or (rules.strategy is Strategy.LATEST_WINS and count != 1):
            return unlimited
        return unlimited if ever and limit.window is not Window.EVER else count

    default = F.lit(counts(rules.default_limit))
    if not rules.limits:
        return default
    # A map and no chain of conditions, which Spark would nest as deep as there are types.
    told = [F.lit(x) for kind, limit in rules.limits.items() for x in (kind, counts(limit))]
    return F.coalesce(F.try_element_at(F.create_map(*told), F.col("type")), default)


def ordered_sightings(
    daily: DataFrame, in_conflict: DataFrame, merged: DataFrame, clock: str
) -> DataFrame:
    """What the rules need of components, a row a sighting, in order within each.

    ``daily``: (identity_set, day, first) summed over batches. ``in_conflict`` and ``merged``: the
    sets of components where a rule may bind, and of clean ones that more than one set created,
    each with component, first moment and linking identifiers; of the latter only first sightings
    are sent, which have no day. A partition holds whole components.
    """
    every = daily.select("identity_set", "day", "first").join(
        in_conflict.drop("first"), "identity_set"
    )
    first = merged.withColumn("day", F.lit(None).cast("date"))
    order = order_of("first.", clock)
    return (
        every.unionByName(first)
        .select(
            "component",
            "identity_set",
            "day",
            F.unix_micros(order["a"]).alias("at"),
            F.unix_micros(order["b"]).alias("tie"),
            F.col("first.message_id").alias("message_id"),
            F.col("first.timestamp").isNotNull().alias("is_timed"),
            F.col("first.source").alias("source"),
            F.col("first.type").alias("call"),
            F.col("first.event").alias("event"),
            F.col("linking.type").alias("types"),
            F.col("linking.value").alias("values"),
        )
        .repartition("component")
        .sortWithinPartitions("component", "at", "tie", "message_id")
    )


@dataclass(frozen=True)
class Judge:
    """The rules, the space whose ids are given and the clock; goes to the workers."""

    rules: Rules
    space: str
    clock: str


def resolved(sightings: DataFrame, judge: Judge) -> DataFrame:
    """The outcome of each component, in rows of four kinds (RESOLVED).

    ``set``: the set's profile, and the created one it had first. ``identifier``: the identifier's
    profile, and when and to which created one it came. ``created``: a profile as it was created,
    by founder, and the profiles it went into. ``violation``: a rule that bound, with the two
    profiles it kept apart. An Arrow kernel over the sorted stream.
    """
    return sightings.mapInArrow(partial(_stream, judge), RESOLVED)


def _stream(judge: Judge, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    rows: list[tuple[Any, ...]] = []
    for component, sightings in _components(batches):
        is_clean = sightings[0].order[-1] is None
        answer = (grown if is_clean else resolve)(sightings, judge.rules)
        rows.extend(outcome_rows(answer, component, judge))
        if len(rows) >= _ROWS:
            yield _batch(rows)
            rows = []
    if rows:
        yield _batch(rows)


def _components(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, list[Sighting]]]:
    """Each component with its sightings; rows of one component follow each other.

    A sighting's order goes on, after what tells calls apart, with what else is known of the call.
    """
    now: int | None = None
    held: list[Sighting] = []
    for batch in batches:
        columns = [batch[name].to_pylist() for name in batch.schema.names]
        for component, key, day, *call, types, values in zip(*columns, strict=True):
            if component != now and held:
                assert now is not None
                yield now, held
                held = []
            now = component
            identifiers = tuple(zip(types, values, strict=True))
            held.append(Sighting(key, call[0], (*call, day), identifiers))
    if held:
        assert now is not None
        yield now, held


def outcome_rows(resolution: Resolution, component: int, judge: Judge) -> Iterator[tuple[Any, ...]]:
    """A resolution as rows of RESOLVED."""
    space = judge.space
    ids = [profile_id(space, *profile.founder) for profile in resolution.profiles]
    for own, profile in zip(ids, resolution.profiles, strict=True):
        segments = {part.founder: profile_id(space, *part.founder) for part in profile.parts}
        yield from _created(profile, component, segments, judge)
        for (kind, value), part, sighting in profile.mapped:
            yield _row(
                *(IDENTIFIER, component, None, None, kind, value, own),
                *(segments[part], _moment(sighting, judge.clock)),
            )
    for outcome in resolution.sets:
        if outcome.profile is not None:
            assert outcome.part is not None
            segment, key = profile_id(space, *outcome.part), outcome.identity_set
            yield _row(SET, component, key, None, None, None, ids[outcome.profile], segment)
    for v in resolution.violations:
        day = v.sighting.order[-1]
        apart = [ids[n] for n in v.apart]
        kind, value = v.identifier
        row = _row(VIOLATION, component, v.identity_set, day, kind, value)
        yield (*row[:-3], str(v.reason), v.rule, apart)


def _created(
    profile: Profile, component: int, segments: dict[Identifier, str], judge: Judge
) -> Iterator[tuple[Any, ...]]:
    """A row for each part: who founded it, the call that created it, and where it went."""
    paths: dict[Identifier, list[dict[str, Any]]] = {part.founder: [] for part in profile.parts}
    for founder, into, cause in id_graph(profile):
        if founder != into:
            moment = _moment(cause, judge.clock)
            step = {"segment_id": segments[into], "identity_set": cause.identity_set}
            paths[founder].append({**step, "moment": moment})
    root = segments[profile.founder]
    for part in profile.parts:
        kind, value = part.founder
        yield _row(
            *(CREATED, component, part.created.identity_set, None, kind, value, root),
            *(segments[part.founder], _moment(part.created, judge.clock), paths[part.founder]),
        )


def _row(*begin: Any) -> tuple[Any, ...]:
    """A row of RESOLVED that begins like this and holds nothing else."""
    return begin + (None,) * (len(_ARROW) - len(begin))


def _moment(sighting: Sighting, clock: str) -> dict[str, Any]:
    """The first call of a sighting as MOMENT has it."""
    at, tie, message, is_timed, source, call, event, _ = sighting.order
    received, happened = (at, tie) if clock == RECEIVED_AT else (tie, at)
    return {
        "received_at": received,
        "timestamp": happened if is_timed else None,
        "message_id": message,
        "source": source,
        "type": call,
        "event": event,
    }


def _batch(rows: list[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(c, f.type) for c, f in zip(columns, _ARROW, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_ARROW)
