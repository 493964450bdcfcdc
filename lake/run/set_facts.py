"""What calls say of identity sets: the sets, their sightings and their traits, in one pass.

    calls ─► rows of three kinds ─► brought together by identity set ─► sums of each kind

All that is kept of calls by identity set follows from them together: they are read once and
shuffled once, and the worker to which a range of sets comes writes all that is told of those.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake import sums
from lake.clock import MOMENT, times_of
from lake.frames import ManyRows, columns_of, in_larger, widened
from lake.identity.stitching import SET_TOTALS, keyed_sets
from lake.packing import exchanged
from lake.profiles.traits import exploded
from lake.schema import arrow_schema
from lake.tables import (
    IDENTIFIERS_TYPE,
    IDENTITY_SETS,
    MOMENT_TYPE,
    SIGHTINGS,
    TRAIT_OBSERVATIONS,
)

if TYPE_CHECKING:
    from lake.frames import Rows

#: The kind of rows that say of each set all that calls add to it: see `told`.
SETS: Final = "sets"
_CALLS: Final = "calls"
_TRAITS: Final = TRAIT_OBSERVATIONS.name

#: What the calls become before they are brought together: each with its set, each set with its
#: identifiers, each trait of a call.
_ONE: Final = {
    _CALLS: f"identity_set binary, day date, batch bigint, first {MOMENT_TYPE}",
    SETS: f"identity_set binary, identifiers {IDENTIFIERS_TYPE}",
    _TRAITS: "identity_set binary, trait string, value string, source string, batch bigint, "
    f"first {MOMENT_TYPE}",
}
#: Of calls of a set, what they add up to, and of a set what it is.
_SUM_OF_SET: Final = arrow_schema(
    f"identity_set binary, calls bigint, first {MOMENT_TYPE}, last {MOMENT_TYPE}, "
    f"identifiers {IDENTIFIERS_TYPE}, batch bigint"
)


def told(events: Rows, clock: str, kinds: Collection[str]) -> ManyRows:
    """What events say of the identity sets that they carry, in rows of these kinds.

    ``identity_sets``, ``sightings`` and ``trait_observations``: the columns of these tables. A
    trait is told by identify calls alone. `SETS`: (identity_set, calls, first, last, identifiers
    with keys, batch), a row a set: what these events add to it, and the first batch of them.

    One scan and one shuffle. A worker holds up to 2 GiB: what it can add up no further goes to its
    disk.
    """
    schemas = {SETS: f"{SET_TOTALS}, batch bigint"}
    schemas |= {t.name: t.ddl for t in (IDENTITY_SETS, SIGHTINGS, TRAIT_OBSERVATIONS)}
    asked = _Asked(clock, frozenset(kinds))
    one = columns_of(events, asked.columns).apart(partial(_apart, asked), _ONE)
    wanted = {kind: schemas[kind] for kind in schemas if kind in kinds}
    return exchanged(one, "identity_set", partial(_added_up, asked), wanted)


@dataclass(frozen=True)
class _Asked:
    """By whose order of calls, and what of them; goes to the workers."""

    clock: str
    kinds: frozenset[str]

    @property
    def columns(self) -> list[str]:
        """What is read of calls."""
        of_traits = ["traits"] if _TRAITS in self.kinds else []
        return ["identity_set", "batch", *MOMENT, *of_traits, *(["identifiers"] * self.of_sets)]

    @property
    def of_sets(self) -> bool:
        """Whether sets themselves are asked for."""
        return bool(self.kinds & {SETS, IDENTITY_SETS.name})

    @property
    def of_calls(self) -> bool:
        """Whether calls are to be counted."""
        return self.of_sets or SIGHTINGS.name in self.kinds


def _apart(
    asked: _Asked, batches: Iterable[pa.RecordBatch]
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Calls as rows of the kinds that are shuffled."""
    for every in in_larger(batches):
        calls = every.filter(every["identity_set"].is_valid())
        moments = pa.StructArray.from_arrays([calls[name] for name in MOMENT], list(MOMENT))
        plain = calls.select(["identity_set", "batch"]).append_column(sums.FIRST, moments)
        if asked.of_calls:
            time, _ = times_of(moments, asked.clock)
            yield _CALLS, plain.append_column("day", time.cast(pa.date32()))
        if asked.of_sets:
            encoded = calls["identity_set"].dictionary_encode().indices
            _, first = np.unique(encoded.to_numpy(), return_index=True)
            yield SETS, calls.select(["identity_set", "identifiers"]).take(pa.array(first))
        if _TRAITS in asked.kinds:
            says = pc.and_(
                pc.equal(calls["type"], "identify"), pc.starts_with(calls["traits"], "{")
            )
            telling = plain.append_column("source", calls["source"])
            yield _TRAITS, exploded(telling.append_column("traits", calls["traits"]).filter(says))


def _added_up(
    asked: _Asked, rows: Iterable[tuple[str, pa.RecordBatch]]
) -> Iterator[tuple[str, pa.RecordBatch]]:
    """All rows of some sets added up, in the kinds that are asked for."""
    with tempfile.TemporaryDirectory(prefix="sets-") as folder:
        calls, sets, traits = (
            sums.Adding(how, tempfile.mkdtemp(dir=folder), share=3) for how in _sums(asked.clock)
        )
        adding = {_CALLS: calls.add, SETS: sets.add, _TRAITS: traits.add}
        for kind, batch in rows:
            adding[kind](widened(batch, _SUM_OF_SET) if kind == SETS else batch)
        for batch in calls.rows():
            if SIGHTINGS.name in asked.kinds:
                yield SIGHTINGS.name, batch
            if asked.of_sets:
                sets.add(widened(batch, _SUM_OF_SET))
        yield from ((_TRAITS, batch) for batch in traits.rows())
        for batch in sets.rows():
            yield from _of_sets(asked, batch)


def _sums(clock: str) -> tuple[sums.How, sums.How, sums.How]:
    """How calls are added up to sightings, these to sets, and what calls say of traits."""
    own = {"identifiers": sums.SAME, "batch": "min"}
    return (
        sums.How(SIGHTINGS.grain, clock),
        sums.How(("identity_set",), clock, own),
        sums.How(TRAIT_OBSERVATIONS.grain, clock),
    )


def _of_sets(asked: _Asked, sets: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    if IDENTITY_SETS.name in asked.kinds:
        yield IDENTITY_SETS.name, sets.select(IDENTITY_SETS.names)
    if SETS in asked.kinds:
        yield SETS, keyed_sets(sets)
