"""What work costs, over all of its processes: CPU seconds and resident memory (Linux).

A Spark program is a Python driver, a JVM and Python workers, so a process alone says little.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

# Places in /proc/<pid>/stat, counted from the process's state.
_PARENT, _CPU, _RESIDENT = 1, slice(11, 15), 21


def process_tree(root: int | None = None) -> Iterator[tuple[int, list[str]]]:
    """A process (default: this one) and all below it: the id, and its stat from the state on."""
    stats: dict[int, list[str]] = {}
    below: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue  # it has ended
        stats[int(entry.name)] = stat
        below.setdefault(int(stat[_PARENT]), []).append(int(entry.name))
    waiting = [root or os.getpid()]
    while waiting:
        pid = waiting.pop()
        waiting += below.get(pid, [])
        if pid in stats:
            yield pid, stats[pid]


def cpu_seconds(root: int | None = None) -> float:
    """User and system time of the tree, with that of children that ended and were waited for."""
    return sum(sum(map(int, stat[_CPU])) for _, stat in process_tree(root)) / _TICKS


def resident_bytes(root: int | None = None) -> int:
    """Resident memory of the tree. Pages that processes share are counted in each of them."""
    return sum(int(stat[_RESIDENT]) for _, stat in process_tree(root)) * _PAGE


@dataclass
class Watch:
    """Looks at a tree every ``interval`` seconds while work goes on; keeps the highest figures.

    The highest CPU figure, not the last: what an orphaned JVM used is gone from the tree with it.
    Both are known to within an interval.
    """

    root: int | None = None
    interval: float = 0.2
    cpu: float = 0.0
    peak_bytes: int = 0
    _began: float = 0.0
    _done: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        # Work in this process begins at what it has used already; a child begins at nothing.
        self._began = cpu_seconds() if self.root is None else 0.0
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        assert self._thread is not None
        self._thread.join()
        self._sample()

    def _look(self) -> None:
        while not self._done.wait(self.interval):
            self._sample()

    def _sample(self) -> None:
        self.cpu = max(self.cpu, cpu_seconds(self.root) - self._began)
        self.peak_bytes = max(self.peak_bytes, resident_bytes(self.root))
