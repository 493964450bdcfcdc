"""Work that does not wait for each other's results, done at the same time.

Between two of its jobs a query keeps no worker busy: the driver plans, compiles and commits. Of a
small night that is half the time, on a cluster more, and the workers then do what another query
has for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

T = TypeVar("T")

#: More would wait for the same workers, and each query holds what it broadcasts.
AT_A_TIME: Final = 4


def together(*works: Callable[[], T]) -> list[T]:
    """What each of these gives, in their order.

    All of them end, whatever becomes of the others; then the first of them that raised raises
    here. So a step that comes after them finds all done.
    """
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        under_way = [pool.submit(work) for work in works]
    return [work.result() for work in under_way]


@contextmanager
def beside(work: Callable[[], object]) -> Iterator[None]:
    """While what is inside is done, ``work`` is too; at the end both have ended, and what it
    raised is raised, unless the inside did."""
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(work)
        yield
    under_way.result()
