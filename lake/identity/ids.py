"""Keys and ids: pure functions of an identifier, the same in Python and on Spark.

An identifier's key is 64 bits and only finds rows quickly; whoever uses it compares type and
value too. A profile's id is 128 bits, because it must never meet another.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column

_KEYED = ["type", "value", "key"]
_SPARK_SEED = 42


def identifier_key(kind: str, value: str) -> int:
    """The 64-bit key of an identifier, as Spark's ``xxhash64(type, value)`` has it (signed).

    >>> identifier_key("email", "ann@example.com")
    -4124319099632072333
    """
    first = xxhash.xxh64_intdigest(kind.encode(), seed=_SPARK_SEED)
    both = xxhash.xxh64_intdigest(value.encode(), seed=first)
    return both - (1 << 64) if both >= 1 << 63 else both


def identifier_key_column(kind: Column, value: Column) -> Column:
    """The same key as a Spark column (BIGINT)."""
    from pyspark.sql import functions as F

    return F.xxhash64(kind, value)


def with_keys(identifiers: pa.ListArray) -> pa.ListArray:
    """Lists of (type, value, key), the identifiers' `identifier_key`, of lists of (type, value)."""
    import pyarrow as pa

    every = identifiers.flatten()
    kinds, values = every.field("type"), every.field("value")
    told = pa.StructArray.from_arrays([kinds, values, keys_of(kinds, values)], _KEYED)
    offsets = identifiers.offsets.to_numpy()
    return pa.ListArray.from_arrays(pa.array(offsets - offsets[0]), told)


def keys_of(kinds: pa.Array, values: pa.Array) -> pa.Array:
    """The `identifier_key` of each identifier."""
    import numpy as np
    import pyarrow as pa

    encoded = kinds.dictionary_encode()
    seeds = [
        xxhash.xxh64_intdigest(kind.encode(), seed=_SPARK_SEED)
        for kind in encoded.dictionary.to_pylist()
    ]
    of_each = [seeds[code] for code in encoded.indices.to_pylist()]
    hashes = list(map(xxhash.xxh64_intdigest, values.to_pylist(), of_each))
    return pa.array(np.array(hashes, np.uint64).view(np.int64))


def profile_id(space: str, kind: str, value: str) -> str:
    """The id of the profile founded by this identifier: 32 hex digits.

    A space's name is part of it, so the same person has other ids in other spaces. NUL divides
    the parts: neither a space nor a type may hold one.

    >>> profile_id("shop", "user_id", "u1")
    '99ec79b80dcc888ceca3c229b8061d66'
    """
    text = f"profile-lake/1\0{space}\0{kind}\0{value}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]
