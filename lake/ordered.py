"""Rows in order, and where in them others begin: how kernels group rows.

pyarrow's parts are imported where they are used: a lookup comes through here and needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Column: TypeAlias = "pa.Array | pa.ChunkedArray | NDArray[Any]"


def places(rows: pa.Table, names: Sequence[str]) -> pa.Array:
    """The places of the rows in ascending order of these columns, nulls last."""
    import pyarrow.compute as pc

    return pc.sort_indices(rows, [(name, "ascending") for name in names])


def ascending(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """The rows in ascending order of these columns, each column in one piece."""
    return rows.take(places(rows, names)).combine_chunks()


def begins(*columns: Column) -> NDArray[np.int64]:
    """The places of the rows, which are in order, that differ from the one before in one of these
    columns; none of them has a null. The first row is one.

    >>> begins(np.array([1, 1, 2, 2, 2]), pa.array(["a", "a", "a", "b", "b"])).tolist()
    [0, 2, 3]
    """
    if not len(columns[0]):
        return np.empty(0, np.int64)
    differs = reduce(np.logical_or, map(_differs, columns))
    return np.flatnonzero(np.append(True, differs))


def numbers(starts: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """The number of each of so many rows' group, of groups that begin at ``starts``.

    >>> numbers(np.array([0, 2, 3]), 5).tolist()
    [0, 0, 1, 2, 2]
    """
    return np.repeat(np.arange(len(starts)), np.diff(np.append(starts, size)))


def _differs(column: Column) -> NDArray[np.bool_]:
    """Whether each value but the first is another than the one before."""
    import pyarrow.compute as pc

    if isinstance(column, np.ndarray):
        return np.asarray(column[1:] != column[:-1], np.bool_)
    return np.asarray(
        pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False), np.bool_
    )
