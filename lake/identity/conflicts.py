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
import pyarrow.compute as pc
from pyspark.sql import functions as F

from lake import sums
from lake.clock import RECEIVED_AT, order_of
from lake.frames import WorkerRows, without_cycles
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
from lake.schema import arrow_type
from lake.tables import MOMENT_TYPE, PATH_TYPE

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from lake.identity.resolve.model import Identifier, Merge, Pair, Part

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
#: The columns that rows of a kind have, besides the kind.
_TELLS = {
    CREATED: (
        *("component", "identity_set", "type", "value"),
        *("profile_id", "segment_id", "moment", "path"),
    ),
    IDENTIFIER: ("component", "type", "value", "profile_id", "segment_id", "moment"),
    SET: ("component", "identity_set", "profile_id", "segment_id"),
    VIOLATION: ("component", "identity_set", "day", "type", "value", "reason", "rule", "apart"),
}
_ROWS = 20_000
#: Merges that are told of one part; of more, the first and the last. More than the usual cap.
MOST_STEPS = 128


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
    sightings: DataFrame, in_conflict: DataFrame, merged: DataFrame, clock: str
) -> DataFrame:
    """What the rules need of components, a row a set and day, in order within each.

    ``sightings``: those of ``in_conflict``, of any batches. ``in_conflict`` and ``merged``: the
    sets of components where a rule may bind, and of clean ones that more than one set created,
    each with component, first moment and linking identifiers; of the latter only first sightings
    are sent, which have no day. A partition holds whole components.
    """
    carried = dict.fromkeys(("component", "linking"), sums.SAME)
    own = sightings.join(in_conflict.drop("first"), "identity_set")
    every = sums.added_up(own, ["identity_set", "day"], clock, carried).as_frame()
    every = every.select("identity_set", "day", "first", *carried)
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


def resolved(sightings: DataFrame, judge: Judge) -> WorkerRows:
    """The outcome of each component, in rows of four kinds (RESOLVED).

    ``set``: the set's profile, and the created one it had first. ``identifier``: the identifier's
    profile, and when and to which created one it came. ``created``: a profile as it was created,
    by founder, and the profiles it went into. ``violation``: a rule that bound, with the two
    profiles it kept apart. An Arrow kernel over the sorted stream.
    """
    return WorkerRows(sightings, partial(_stream, judge), RESOLVED)


def _stream(judge: Judge, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    outcome = Outcome(judge)
    with without_cycles():
        for component, sightings in _components(batches):
            is_clean = sightings[0].order[-1] is None
            answer = (grown if is_clean else resolve)(sightings, judge.rules)
            outcome.add(answer, component)
            if outcome.size >= _ROWS:
                yield from outcome.batches()
                outcome = Outcome(judge)
        yield from outcome.batches()


def _components(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, list[Sighting]]]:
    """Each component with its sightings; rows of one component follow each other.

    A sighting's order goes on, after what tells calls apart, with what else is known of the call,
    and ends in the day: the number of days since 1970, only to be handed on, so it is not made a
    date.
    """
    now: int | None = None
    held: list[Sighting] = []
    for batch in batches:
        identifiers = list(zip(_flat(batch["types"]), _flat(batch["values"]), strict=True))
        end = 0
        known = ("component", "identity_set", "at", "tie", "message_id", "is_timed", "source")
        columns = [_plain(batch[name]) for name in known]
        columns += [batch["call"].to_pylist(), batch["event"].to_pylist()]
        columns += [batch["day"].cast(pa.int32()).to_pylist()]
        sizes = _plain(pc.list_value_length(batch["types"]))
        for component, key, at, *call, size in zip(*columns, sizes, strict=True):
            if component != now and held:
                assert now is not None
                yield now, held
                held = []
            now, start, end = component, end, end + size
            own = tuple(identifiers[start:end])
            held.append(Sighting(key, at, (at, *call), own))
    if held:
        assert now is not None
        yield now, held


def _plain(column: pa.Array) -> list[Any]:
    """The values as Python's own; much faster than ``to_pylist``, for a column without nulls."""
    return column.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]


def _flat(lists: pa.ListArray) -> list[Any]:
    return _plain(lists.flatten())


class Outcome:
    """Resolutions as rows of the four kinds, each with the columns that it tells."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.rows: dict[str, list[tuple[Any, ...]]] = {kind: [] for kind in _TELLS}

    @property
    def size(self) -> int:
        """How many rows there are."""
        return sum(map(len, self.rows.values()))

    def add(self, resolution: Resolution, component: int) -> None:
        """Tell the sets, identifiers, created profiles and violations of one component."""
        space, clock = self.judge.space, self.judge.clock
        founders = {part.founder for p in resolution.profiles for part in p.parts}
        segments = {founder: profile_id(space, *founder) for founder in founders}
        ids = [segments[profile.founder] for profile in resolution.profiles]
        for own, profile in zip(ids, resolution.profiles, strict=True):
            self.rows[CREATED].extend(_created(profile, component, segments, clock))
            self.rows[IDENTIFIER].extend(
                (component, kind, value, own, segments[part], _moment(sighting, clock))
                for (kind, value), part, sighting in profile.mapped
            )
        self.rows[SET].extend(
            (component, key, ids[place], segments[part])
            for key, place, _, _, part in resolution.sets
            if place is not None and part is not None
        )
        self.rows[VIOLATION].extend(
            (component, key, at.order[-1], kind, value, reason, rule, [ids[n] for n in apart])
            for key, at, (kind, value), reason, rule, apart in resolution.violations
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """A batch of each kind that has rows; what a kind does not tell is null."""
        for kind, rows in self.rows.items():
            if rows:
                told = dict(zip(_TELLS[kind], zip(*rows, strict=True), strict=True))
                told["kind"] = (kind,) * len(rows)
                arrays = [
                    pa.array(told[f.name], f.type)
                    if f.name in told
                    else pa.nulls(len(rows), f.type)
                    for f in _ARROW
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=_ARROW)


def _created(
    profile: Profile, component: int, segments: dict[Identifier, str], clock: str
) -> Iterator[tuple[Any, ...]]:
    """A row for each part: who founded it, the call that created it, and where it went."""
    root = segments[profile.founder]
    for (founder, created), merges in paths(profile):
        path = [
            {
                "segment_id": segments[merge.into],
                "identity_set": merge.sighting.identity_set,
                "moment": _moment(merge.sighting, clock),
            }
            for merge in merges
        ]
        key, moment = created.identity_set, _moment(created, clock)
        yield component, key, *founder, root, segments[founder], moment, path


def paths(profile: Profile) -> Iterator[tuple[Part, list[Merge]]]:
    """Each part with the merges that it went through, in time: at most `MOST_STEPS`.

    A chain of merges, each younger than the next, would else cost the square of its length.
    """
    gone = {merge.absorbed: merge for merge in profile.merges}
    last: dict[Identifier, Merge] = {}
    for merge in reversed(profile.merges):
        last[merge.absorbed] = last.get(merge.into, merge)
    for part in profile.parts:
        path: list[Merge] = []
        step = gone.get(part.founder)
        while step is not None and len(path) < MOST_STEPS:
            path.append(step)
            step = gone.get(step.into)
        if step is not None:
            path[-1] = last[part.founder]
        yield part, path


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
