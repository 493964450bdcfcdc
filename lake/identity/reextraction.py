"""Identifiers taken from stored events again, by other rules than they were accepted under."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from lake.frames import WorkerRows, unchanged
from lake.identity.identifiers import Extraction, extractor

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_READ = ("type", "user_id", "anonymous_id", "context", "traits", "properties")


def re_extracted(events: DataFrame, extraction: Extraction) -> WorkerRows:
    """The events with identifiers, identity_set and extraction by these rules; all else as it is.

    The same rule as for a new call, on the columns that hold the call's exact JSON text. One
    Arrow kernel, no shuffle.
    """

    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        extract = extractor(extraction)
        for batch in batches:
            columns = [batch[name].to_pylist() for name in _READ]
            found = [extract(*row) for row in zip(*columns, strict=True)]
            new = {
                "identifiers": [[{"type": t, "value": v} for t, v in s.identifiers] for s in found],
                "identity_set": [s.key for s in found],
                "extraction": [extraction.fingerprint] * len(found),
            }
            for name, values in new.items():
                at = batch.schema.get_field_index(name)
                field = batch.schema.field(at)
                batch = batch.set_column(at, field, pa.array(values, field.type))  # noqa: PLW2901
            yield batch

    return replace(unchanged(events), kernel=kernel)
