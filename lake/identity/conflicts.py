"""The raw components, resolved one at a time by the pure rules.

    components ─► limits that bind? ─ no ─► one set created its profile? ─ yes ─► founded()
                          │                                  └─ no ─► grown() ─► how it merged
                          └─ yes ─► sightings in order ─► resolve() ─► profiles, violations

Two sets in different raw components never influence each other, so components are also what the
work is divided by. One comes to a task whole, its sightings in order; a task holds one component,
or some `_ROWS` sightings of smaller ones.

Where a rule may bind every sighting is sent, not only a set's first: with windows and at the
mapping cap a later day can matter, and each day a rule binds has its own row in `violations`.
(Without windows and caps only first sightings could change who is who: what a call lost once, it
loses again, since profiles only grow.) Of a clean component only who founded it and how it merged
is to be told, and first sightings tell it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.clock import times_of
from lake.frames import widened, without_cycles
from lake.identity.ids import profile_id
from lake.identity.resolve import (
    Limit,
    Profile,
    Resolution,
    Rules,
    Sighting,
    Strategy,
    Window,
    founded,
    grown,
    resolve,
)
from lake.lookups import looked_up
from lake.ordered import ascending, begins, places
from lake.packing import gathered
from lake.schema import arrow_schema, arrow_type
from lake.tables import KEYED_TYPE, MOMENT_TYPE, PATH_TYPE

if TYPE_CHECKING:
    from lake.frames import Materialised, Rows, WorkerRows
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
#: What is told of each merge in a path.
_STEP = ("segment_id", "identity_set", "moment")
_ROWS = 20_000
#: The hash that components are spread over tasks by: theirs times 2^64 over the golden ratio, of
#: which the leading bits depend on all of them (Knuth, The Art of Computer Programming, 6.4).
_SPREAD = "component_hash"
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
#: Merges that are told of one part; of more, the first and the last. More than the usual cap.
MOST_STEPS = 128


def in_conflict(linked: WorkerRows, rules: Rules, pairs: Sequence[Pair] = ()) -> WorkerRows:
    """Raw components in which a limit, a cap or an override may bind: (component).

    ``linked``: a row an identifier, (component, type, value). The same conditions as
    `resolve.is_clean`, but the merge cap is judged by the number of identifiers alone and a
    ``never_together`` pair by either of its ends, which names a few too many. Those are resolved
    like the others and come out as one profile. Named are also those with an end of one of the
    ``pairs``: where these are ``always_together``, components need not be in conflict, but are
    other ones once a pair is taken back. One shuffle.
    """
    ends = frozenset(end for pair in (*rules.never_together, *pairs) for end in pair)
    named = linked.then(partial(_with_named, ends), "component bigint, type string, named boolean")
    return gathered(_spread(named), _SPREAD, partial(_binding, rules), "component bigint")


def _with_named(
    ends: frozenset[Identifier], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """The identifiers of components, and whether each is one of the ``ends``."""
    values = pa.array(sorted({value for _, value in ends}), pa.string())
    for every in batches:
        rows = every.filter(every["component"].is_valid())
        named = np.zeros(len(rows), np.bool_)
        for row in np.flatnonzero(pc.is_in(rows["value"], value_set=values)).tolist():
            named[row] = (rows["type"][row].as_py(), rows["value"][row].as_py()) in ends
        own = rows.select(["component", "type"])
        yield own.append_column("named", pa.array(named))


def _binding(rules: Rules, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    every = list(batches)
    if not every:
        return
    counted = _counted(pa.Table.from_batches(every), ["component", "type"], "named")
    most = [rules.max_mappings]
    if rules.strategy is Strategy.SEGMENT:
        most.append(rules.max_merges + 1)
    counted = ascending(counted, ["component"])
    starts = begins(counted["component"])
    total = np.add.reduceat(counted["type_count"].to_numpy(), starts)
    over = np.maximum.reduceat(_is_over(counted, rules), starts)
    binds = (over | (total > min(most))) & (rules.strategy is not Strategy.COMPONENTS)
    named = np.maximum.reduceat(counted["named_max"].to_numpy(), starts)
    found = counted["component"].to_numpy()[starts]
    yield pa.RecordBatch.from_pydict({"component": found[binds | named]})


def over_limit(outcome: Materialised, rules: Rules) -> WorkerRows:
    """How often profiles of resolved components have more values of a type than any may have for
    ever: (times), a row a task; there must be none. An ``always_together`` pair may break a limit.

    ``outcome``: rows of RESOLVED, stored. One shuffle.
    """
    own = outcome.of_kind(IDENTIFIER, "profile_id string, type string")
    return gathered(own, "profile_id", partial(_over_limit, rules), "times bigint")


def _over_limit(rules: Rules, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    every = list(batches)
    unlimited = rules.strategy is Strategy.COMPONENTS or bool(rules.always_together)
    if every and not unlimited:
        counted = _counted(pa.Table.from_batches(every), ["profile_id", "type"])
        times = int(np.count_nonzero(_is_over(counted, rules, ever=True)))
        yield pa.RecordBatch.from_pydict({"times": [times]})


def _counted(rows: pa.Table, keys: Sequence[str], most: str = "") -> pa.Table:
    """How many rows have the same keys, ``type_count``, and whether what is named by ``most`` is
    true of one of them."""
    wanted = [("type", "count"), *([(most, "max")] if most else [])]
    return rows.group_by(list(keys), use_threads=False).aggregate(wanted).combine_chunks()


def _is_over(
    counted: pa.Table, rules: Rules, *, ever: bool = False
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether there are more values of a type than its limit allows, whatever the limit's window,
    or only where it holds for ``ever``; for latest_wins only unique types have one."""
    unlimited = sys.maxsize

    def most(limit: Limit) -> int:
        count = limit.count
        if count is None or (rules.strategy is Strategy.LATEST_WINS and count != 1):
            return unlimited
        return unlimited if ever and limit.window is not Window.EVER else count

    types = counted["type"].combine_chunks().dictionary_encode()
    limits = [most(rules.limit(kind)) for kind in types.dictionary.to_pylist()]
    own = np.array(limits, np.int64)[types.indices]
    return np.asarray(counted["type_count"].to_numpy() > own, np.bool_)


#: What the rules need of components: the sightings of the sets that are in them.
SIGHTED = (
    f"component bigint, identity_set binary, day date, first {MOMENT_TYPE}, linking {KEYED_TYPE}"
)
_SIGHTED = arrow_schema(SIGHTED)


def every_sighting(sightings: Rows, in_conflict: Materialised) -> WorkerRows:
    """All sightings of sets of components where a rule may bind, in the columns of `SIGHTED`.

    ``sightings``: those of such sets and of others, of any batches; ``in_conflict``: the sets, each
    with its component and linking identifiers.
    """
    seen, own = ("identity_set", "day", "first"), ("component", "linking")
    return looked_up(sightings, seen, in_conflict, "identity_set", own)


@dataclass(frozen=True)
class Judge:
    """The rules, the space whose ids are given and the clock; goes to the workers."""

    rules: Rules
    space: str
    clock: str


def resolved(sightings: WorkerRows, judge: Judge, tasks: int) -> WorkerRows:
    """The outcome of each component, in rows of four kinds (RESOLVED).

    In: the columns of `SIGHTED`, of whole components, in any order; of clean ones the sets, whose
    first sighting they tell, without a day; by how many tasks, each of which holds its rows to sort
    them.

    ``set``: the set's profile, and the created one it had first. ``identifier``: the identifier's
    profile, and when and to which created one it came. ``created``: a profile as it was created,
    by founder, and the profiles it went into. ``violation``: a rule that bound, with the two
    profiles it kept apart. One shuffle, of which a single task has no need.
    """
    if tasks == 1:
        return sightings.then(partial(_in_turn, judge), RESOLVED).in_one_task()
    return gathered(_spread(sightings), _SPREAD, partial(_in_turn, judge), RESOLVED, tasks)


def _spread(rows: WorkerRows) -> WorkerRows:
    """The rows with a hash of their component: the least of some hashes is none itself."""
    return rows.then(_with_spread, f"{rows.schema}, {_SPREAD} bigint")


def _with_spread(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for rows in batches:
        mixed = rows["component"].to_numpy().view(np.uint64) * _GOLDEN
        yield rows.append_column(_SPREAD, pa.array(mixed.view(np.int64)))


def _in_turn(judge: Judge, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What becomes of whole components, whose sightings come in any order."""
    every = [widened(batch, _SIGHTED) for batch in batches]
    if every:
        rows = pa.Table.from_batches(every).combine_chunks()
        yield from _stream(judge, _in_order(rows, judge.clock).to_batches())


def _in_order(rows: pa.Table, clock: str) -> pa.Table:
    """The sightings by component, those of each as calls are ordered (`lake.clock.order_of`)."""
    moments = rows["first"].chunk(0)
    at, tie = times_of(moments, clock)
    keys = [rows["component"], at, tie, moments.field("message_id")]
    names = ["component", "at", "tie", "message_id"]
    return rows.take(places(pa.table(keys, names), names))


def _stream(judge: Judge, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    with without_cycles():
        for table in _whole_components(batches):
            ordered = _Ordered(table, judge.clock)
            outcome = Outcome(judge, ordered)
            for component, rows, creators in ordered.components():
                is_clean = ordered.is_clean(rows)
                if is_clean and (creators == 1 or judge.rules.strategy is Strategy.LATEST_WINS):
                    outcome.add_alone(rows, component)
                else:
                    rule = grown if is_clean else resolve
                    outcome.add(rule(ordered.sightings(rows), judge.rules), component)
            yield from outcome.batches()


def _whole_components(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The rows, which come by component, in tables of some `_ROWS` that end where one does."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in filter(len, batches):
        rest = batch
        if count >= _ROWS:
            last = held[-1]["component"][-1].as_py()
            end = int(np.searchsorted(batch["component"].to_numpy(), last, side="right"))
            if end < len(batch):
                yield pa.Table.from_batches([*held, batch.slice(0, end)])
                held, count, rest = [], 0, batch.slice(end)
        held.append(rest)
        count += len(rest)
    if held:
        yield pa.Table.from_batches(held)


class _Ordered:
    """Rows of whole components, the sightings of each in order.

    What is only handed on is not made Python's own: a set goes by its place among ``sets``, a
    moment by the number of its row.
    """

    def __init__(self, table: pa.Table, clock: str) -> None:
        column = {name: table.column(name).combine_chunks() for name in table.column_names}
        self._components = column["component"].to_numpy()
        encoded = column["identity_set"].dictionary_encode()
        self.sets, self._sets = _plain(encoded.indices), encoded.dictionary
        self._moments = column["first"].cast(arrow_type(MOMENT_TYPE))
        at, tie = (_plain(time.cast(pa.int64())) for time in times_of(self._moments, clock))
        message_ids = _plain(self._moments.field("message_id"))
        # Days since 1970, only to be handed on, so they are not made dates.
        days = column["day"].cast(pa.int32()).to_pylist()
        self._orders = list(zip(at, tie, message_ids, range(len(days)), days, strict=True))
        sizes = pc.list_value_length(column["linking"]).to_numpy()
        self._ends = [0, *np.cumsum(sizes).tolist()]
        self._rows = np.repeat(np.arange(len(sizes)), sizes)
        linking = column["linking"].flatten()
        # An identifier has one key. Made once, it is compared and hashed at less cost too.
        keys = linking.field("key").to_numpy()
        _, first, number = np.unique(keys, return_index=True, return_inverse=True)
        own = linking.take(pa.array(first))
        kinds = map(sys.intern, _plain(own.field("type")))
        names = list(zip(kinds, _plain(own.field("value")), strict=True))
        self._identifiers = [names[each] for each in number.tolist()]
        self._is_new = self._rows[first][number] == self._rows

    def components(self) -> Iterator[tuple[int, range, int]]:
        """Each component, its rows, and how many of them created a profile.

        A set created one exactly if none of its identifiers was seen in an earlier set. The first
        of these *creators* made the profile that stands: a rebuild from nothing gives the same id,
        and it changes only to an older founder's. With one creator nothing was ever merged.
        """
        count = len(self._components)
        starts = begins(self._components)
        creates = np.bincount(self._rows[~self._is_new], minlength=count) == 0
        creators = np.add.reduceat(creates.astype(np.int64), starts).tolist()
        ends = [*starts[1:].tolist(), count]
        every = zip(self._components[starts].tolist(), starts.tolist(), ends, creators, strict=True)
        for component, start, end, created in every:
            yield component, range(start, end), created

    def new(self, rows: range) -> Iterator[tuple[Identifier, int]]:
        """Each identifier of a component, and the first row that has it."""
        own = slice(self._ends[rows.start], self._ends[rows.stop])
        rows_of, new = self._rows[own].tolist(), self._is_new[own].tolist()
        every = zip(self._identifiers[own], rows_of, new, strict=True)
        return ((identifier, row) for identifier, row, is_new in every if is_new)

    def is_clean(self, rows: range) -> bool:
        """Whether these are of a component where no rule can bind."""
        return self._orders[rows[0]][-1] is None

    def carried(self, row: int) -> tuple[Identifier, ...]:
        """The identifiers of a row's set."""
        return tuple(self._identifiers[self._ends[row] : self._ends[row + 1]])

    def sightings(self, rows: range) -> list[Sighting]:
        """Each set on each day once, by the first of its rows.

        A sighting's order goes on, after what tells calls apart, with the number of its row and
        the day.
        """
        first: dict[tuple[int, int | None], Sighting] = {}
        for row in rows:
            key, order = self.sets[row], self._orders[row]
            if (key, order[-1]) not in first:
                first[key, order[-1]] = Sighting(key, order[0], order, self.carried(row))
        return list(first.values())

    def column(self, name: str, told: Sequence[Any]) -> pa.Array:
        """A column of the outcome, of what is told of it."""
        if name == "identity_set":
            return self._sets.take(pa.array(told, pa.int64()))
        if name == "moment":
            return self._moments.take(pa.array(told, pa.int64()))
        if name == "path":
            steps = list(chain.from_iterable(told))
            parts = zip(*steps, strict=True) if steps else repeat((), len(_STEP))
            columns = [self.column(*each) for each in zip(_STEP, parts, strict=True)]
            ends = np.cumsum([0, *map(len, told)], dtype=np.int32)
            values = pa.StructArray.from_arrays(columns, list(_STEP))
            return pa.ListArray.from_arrays(pa.array(ends), values).cast(_ARROW.field(name).type)
        return pa.array(told, _ARROW.field(name).type)


def _plain(column: pa.Array) -> list[Any]:
    """The values as Python's own; much faster than ``to_pylist``, for a column without nulls."""
    return column.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]


class Outcome:
    """Resolutions as rows of the four kinds, each with the columns that it tells."""

    def __init__(self, judge: Judge, ordered: _Ordered) -> None:
        self.judge = judge
        self.ordered = ordered
        self.rows: dict[str, list[tuple[Any, ...]]] = {kind: [] for kind in _TELLS}

    def add_alone(self, rows: range, component: int) -> None:
        """Tell the one profile of a clean component in which nothing merged."""
        place, founder = founded(list(map(self.ordered.carried, rows)), self.judge.rules)
        own, sets, row = profile_id(self.judge.space, *founder), self.ordered.sets, rows[place]
        self.rows[CREATED].append((component, sets[row], *founder, own, own, row, ()))
        self.rows[IDENTIFIER].extend(
            (component, kind, value, own, own, at) for (kind, value), at in self.ordered.new(rows)
        )
        self.rows[SET].extend((component, sets[each], own, own) for each in rows)

    def add(self, resolution: Resolution, component: int) -> None:
        """Tell the sets, identifiers, created profiles and violations of one component."""
        founders = {part.founder for p in resolution.profiles for part in p.parts}
        segments = {founder: profile_id(self.judge.space, *founder) for founder in founders}
        ids = [segments[profile.founder] for profile in resolution.profiles]
        for own, profile in zip(ids, resolution.profiles, strict=True):
            self.rows[CREATED].extend(_created(profile, component, segments))
            self.rows[IDENTIFIER].extend(
                (component, kind, value, own, segments[part], _row(sighting))
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
                    self.ordered.column(f.name, told[f.name])
                    if f.name in told
                    else pa.nulls(len(rows), f.type)
                    for f in _ARROW
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=_ARROW)


def _created(
    profile: Profile, component: int, segments: dict[Identifier, str]
) -> Iterator[tuple[Any, ...]]:
    """A row for each part: who founded it, the call that created it, and where it went."""
    root = segments[profile.founder]
    for (founder, created), merges in paths(profile):
        path = [
            (segments[merge.into], merge.sighting.identity_set, _row(merge.sighting))
            for merge in merges
        ]
        key, moment = created.identity_set, _row(created)
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


def _row(sighting: Sighting) -> int:
    """The row of a sighting, where its moment stands."""
    return sighting.order[-2]  # type: ignore[no-any-return]
