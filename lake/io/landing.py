"""Landing objects → rows of `STAGED_LINES`: every line as a call or a refusal, and one row for
each object with what became of it.

The ``lines`` of an object's row is the number of its call rows and rejected rows.

What costs here is not JSON but making columns of Python values one by one. So nested objects
are never decoded to be written: their texts are joined and given their offsets, and times are
cast all at once. Each block of lines becomes a record batch while the processor's caches still
have it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import accumulate, chain, compress
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, cast

import numpy as np
import pyarrow as pa

from lake.events.calls import (
    IDENTIFIERS,
    NAMES,
    NESTED,
    TIMES,
    Sent,
    fields,
    instants,
    message_keys,
    payload_hash,
)
from lake.events.lines import HEAD, LINE_LIMIT, Block, LongLine, UnreadableRest, lines
from lake.events.rejection import Reason, Rejection
from lake.frames import WorkerRows, without_cycles
from lake.identity.identifiers import VALUE_LIMIT, Extraction, IdentitySets, extractor
from lake.identity.shapes import Texts
from lake.io.objects import ObjectChanged, ObjectMissing
from lake.tables import STAGED_LINES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_ROWS: Final = 2048
_BYTES: Final = 4 << 20
_IN_MEMORY: Final = 16 << 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MICROS: Final = 86_400_000_000
_SCHEMA: Final = STAGED_LINES.arrow
_INSTANT: Final = _SCHEMA.field("received_at").type
_SCALARS: Final = ("message_id", "type", *NAMES, *IDENTIFIERS)
#: Never more rows in a batch: refused lines of two blocks may meet.
_MOST_ROWS: Final = 2 * _ROWS
_NULLS: Final = {f.name: pa.nulls(_MOST_ROWS, f.type) for f in _SCHEMA}
_KINDS: Final = {kind: pa.repeat(kind, _MOST_ROWS) for kind in ("call", "rejected", "object")}
_FROM: Final = pa.array(["receivedAt", "sentAt", "timestamp", "originalTimestamp", "object"])


class Store(Protocol):
    """Where objects are read from; see `lake.io.objects`."""

    def open_stream(self, uri: str, etag: str) -> BinaryIO:
        """The bytes of exactly this version; ObjectChanged or ObjectMissing, here or later."""


@dataclass(frozen=True)
class Reading:
    """How objects are read; it travels to the workers. ``batch`` is the ingest batch."""

    store: Store
    batch: int
    extraction: Extraction = field(default_factory=Extraction)
    line_limit: int = LINE_LIMIT


def staged_lines(objects: DataFrame, reading: Reading) -> WorkerRows:
    """The rows of `STAGED_LINES` for a manifest of objects, partitioned as the caller likes.

    In: source, object (URI), etag, size, last_modified; a row an object version. Out: a row of
    kind ``call`` or ``rejected`` for each line, one of kind ``object`` for each manifest entry.
    An object that changed or went since it was listed gives its own row alone, with 0 lines.
    A store that fails raises StorageError in the task.

    One pass, no shuffle. A worker holds some tens of MiB whatever the objects are; an object
    over 16 MiB is first copied to the worker's temporary folder, so that no line gets through
    of a version that is seen to change only at its end.
    """
    manifest = objects.select("source", "object", "etag", "size", "last_modified")
    return WorkerRows(manifest, partial(record_batches, reading), STAGED_LINES.ddl)


def record_batches(
    reading: Reading, manifest: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """What a worker gives for its part of the manifest: batches of at most 4,096 rows or some
    4 MiB, all rows of one kind, an object's own row behind its lines."""
    with _thrifty():
        for entries in manifest:
            for entry in entries.to_pylist():
                yield from _LandingObject(entry, reading).batches()


@contextmanager
def _thrifty() -> Iterator[None]:
    """No cycle collector, and Arrow's memory from the C library, which keeps a freed page for the
    next batch: fetching pages anew from the system was a twentieth of the cost."""
    pool = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        with without_cycles():
            yield
    finally:
        pa.set_memory_pool(pool)


@dataclass
class _Refused:
    """Refused lines, as lists of equal length; of each line the first 64 KiB are kept."""

    numbers: list[int] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    size: int = 0

    def add(self, number: int, rejection: Rejection, line: bytes, length: int) -> None:
        self.numbers.append(number)
        self.rejections.append(rejection)
        self.heads.append(line[:HEAD])
        self.lengths.append(length)
        self.size += min(length, HEAD)

    @property
    def full(self) -> bool:
        """Whether they are enough for a record batch."""
        return len(self.numbers) >= _ROWS or self.size >= _BYTES


class _LandingObject:
    """One entry of the manifest, read once."""

    def __init__(self, entry: Mapping[str, Any], reading: Reading) -> None:
        self._entry = entry
        self._reading = reading
        self._extractor = extractor(reading.extraction)
        self._modified = (entry["last_modified"] - _EPOCH) // timedelta(microseconds=1)
        self._constant = _NULLS | {
            "batch": pa.repeat(pa.scalar(reading.batch, pa.int64()), _MOST_ROWS),
            **{c: pa.repeat(entry[c], _MOST_ROWS) for c in ("source", "object", "etag")},
        }
        self._refused = _Refused()
        self._lines = 0
        self._state = "read"

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows of the object, its own row last."""
        copy = self._copy()
        if copy is not None:
            with copy:
                yield from self._line_batches(copy)
        own = {
            "lines": pa.array([self._lines]),
            "state": pa.array([self._state]),
            "size": pa.array([self._entry["size"]], pa.int64()),
            "last_modified": pa.array([self._modified]).cast(_INSTANT),
        }
        yield self._batch("object", 1, own)

    def _copy(self) -> BinaryIO | None:
        """All bytes of this version, in memory or on disk; None where it is no more."""
        copy = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  closed by the caller
        uri, etag = self._entry["object"], self._entry["etag"]
        try:
            with self._reading.store.open_stream(uri, etag) as stream:
                shutil.copyfileobj(stream, copy, 1 << 20)
        except (ObjectChanged, ObjectMissing) as error:
            self._state = "changed" if isinstance(error, ObjectChanged) else "missing"
            copy.close()
            return None
        copy.seek(0)
        return cast(BinaryIO, copy)

    def _line_batches(self, stream: BinaryIO) -> Iterator[pa.RecordBatch]:
        for part in lines(stream, self._reading.line_limit):
            if isinstance(part, Block):
                for at in range(0, len(part.lines), _ROWS):
                    some = slice(at, at + _ROWS)
                    yield from self._call_batches(part.lines[some], part.numbers[some])
                    if self._refused.full:
                        yield self._refused_batch()
            else:
                self._refuse(part)
                if self._refused.full:
                    yield self._refused_batch()
        if self._refused.numbers:
            yield self._refused_batch()

    def _call_batches(
        self, found: Sequence[bytes], numbers: Sequence[int]
    ) -> Iterator[pa.RecordBatch]:
        """The calls of these lines, if there are any; the other lines are added to the refused."""
        values, refused = fields(found)
        texts, sets = self._extracted(values)
        if refused or sets.too_long:
            kept = [i for i in range(len(found)) if i not in refused]
            for row, t in sets.too_long.items():
                why = f"a value of {t} is over {VALUE_LIMIT} characters"
                refused[kept[row]] = Rejection(Reason.IDENTIFIER_TOO_LONG, why)
            for i, rejection in sorted(refused.items()):
                self._refused.add(numbers[i], rejection, found[i], len(found[i]))
            if sets.too_long:
                fit = [row for row in range(len(kept)) if row not in sets.too_long]
                values = {f: [column[row] for row in fit] for f, column in values.items()}
                texts, sets = self._extracted(values)
            kept = [i for i in kept if i not in refused]
            found, numbers = [found[i] for i in kept], [numbers[i] for i in kept]
        if found:
            columns = {
                **dict(zip(_SCALARS, _strings([values[c] for c in _SCALARS]), strict=True)),
                **{c: _json_texts(texts[c]) for c in NESTED},
                **_time_columns({c: values[c] for c in TIMES}, self._modified),
                **_identity_columns(sets),
                "extraction": pa.repeat(self._reading.extraction.fingerprint, len(found)),
                "message_key": pa.array(message_keys(values["message_id"])),
                "payload_hash": pa.array(list(map(payload_hash, found)), pa.binary()),
                "line": pa.array(numbers, pa.int64()),
            }
            yield self._batch("call", len(found), columns)

    def _extracted(
        self, values: Mapping[str, Sequence[Any]]
    ) -> tuple[dict[str, Texts], IdentitySets]:
        """The nested objects as texts, and the identity sets of calls with these fields."""
        texts = {f: Texts.of(values[f]) for f in NESTED}
        sets = self._extractor.column(
            values["type"],
            values["user_id"],
            values["anonymous_id"],
            texts["context"],
            texts["traits"],
            texts["properties"],
        )
        return texts, sets

    def _refuse(self, part: LongLine | UnreadableRest) -> None:
        if isinstance(part, LongLine):
            limit = self._reading.line_limit
            why = Rejection(Reason.LINE_TOO_LONG, f"{part.bytes} bytes, over {limit}")
        else:
            why = Rejection(Reason.UNREADABLE_REST, part.detail)
            self._state = "damaged"
        self._refused.add(part.number, why, part.head, part.bytes)

    def _refused_batch(self) -> pa.RecordBatch:
        refused, self._refused = self._refused, _Refused()
        rows = len(refused.numbers)
        columns = {
            "reason": pa.array([r.reason.value for r in refused.rejections]),
            "detail": pa.array([r.detail for r in refused.rejections]),
            "raw": pa.array(refused.heads, pa.binary()),
            "bytes": pa.array(refused.lengths, pa.int64()),
            "line": pa.array(refused.numbers, pa.int64()),
        }
        return self._batch("rejected", rows, columns)

    def _batch(self, kind: str, rows: int, columns: Mapping[str, pa.Array]) -> pa.RecordBatch:
        """Rows of one kind; the columns that are not given are null."""
        self._lines += rows
        known = self._constant | {"kind": _KINDS[kind]}
        arrays = [
            columns[f.name] if f.name in columns else known[f.name].slice(0, rows) for f in _SCHEMA
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA)


def _strings(columns: Sequence[Sequence[str | None]]) -> list[pa.Array]:
    """String columns of one length, made as slices of one: each array made costs something. Many
    are of fields that no call has."""
    rows = len(columns[0])
    # The first value that is no empty text tells; where there is none, they are counted.
    told = [any(column) or column.count(None) < rows for column in columns]
    together = pa.array(list(chain.from_iterable(compress(columns, told))), pa.string())
    nothing = pa.nulls(rows, pa.string())
    places = accumulate(told, initial=0)
    return [
        together.slice(place * rows, rows) if any_told else nothing
        for place, any_told in zip(places, told, strict=False)
    ]


def _json_texts(texts: Texts) -> pa.Array:
    """A string column of JSON texts, null where there is none."""
    rows = len(texts.lengths)
    offsets = np.zeros(rows + 1, np.int32)
    np.cumsum(texts.lengths, out=offsets[1:])
    valid = np.packbits(texts.lengths > 0, bitorder="little")
    buffers = [pa.py_buffer(valid), pa.py_buffer(offsets), pa.py_buffer(texts.joined)]
    return pa.Array.from_buffers(pa.string(), rows, buffers)


def _time_columns(sent: Mapping[str, Sequence[Sent]], modified: int) -> dict[str, pa.Array]:
    """The four times, and the received one that is never null, with its day and origin."""
    times = instants([sent[name] for name in TIMES])
    columns = {
        name: pa.array(micros, mask=None if known.all() else ~known).view(_INSTANT)
        for name, micros, known in zip(TIMES, times.micros, times.known, strict=True)
    }
    # The object's own time stands behind the four and is always known.
    rows = times.known.shape[1]
    origin = np.vstack([times.known, np.ones(rows, np.bool_)]).argmax(axis=0)
    micros = np.vstack([times.micros, np.full(rows, modified)])
    received = micros[origin, np.arange(rows)]
    return columns | {
        "received_at": pa.array(received).view(_INSTANT),
        "received_at_from": _FROM.take(pa.array(origin)),
        "received_date": pa.array((received // _DAY_MICROS).astype(np.int32)).view(pa.date32()),
        "bad_times": pa.array(times.bad.sum(axis=0, dtype=np.int32)),
    }


def _identity_columns(sets: IdentitySets) -> dict[str, pa.Array]:
    listed = _SCHEMA.field("identifiers").type
    texts = _strings([sets.types, sets.values])
    offsets = np.zeros(len(sets.counts) + 1, np.int32)
    np.cumsum(np.fromiter(sets.counts, np.int32, len(sets.counts)), out=offsets[1:])
    flat = pa.StructArray.from_arrays(texts, fields=list(listed.value_type))
    return {
        "identifiers": pa.ListArray.from_arrays(pa.array(offsets), flat, type=listed),
        "identity_set": pa.array(sets.keys, pa.binary()),
    }
