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
_PARENT, _CPU, _BEGAN, _RESIDENT = 1, slice(11, 13), 19, 21


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


@dataclass
class Watch:
    """Looks at a process tree every ``interval`` seconds while work goes on.

    CPU is added up over every process that was ever seen: what one used whose parent never waited
    for it (a Python worker of Spark, an orphaned JVM) would be gone from the tree with it. What a
    process does between the last look at it and its end is missing.
    """

    root: int | None = None
    interval: float = 0.2
    peak_bytes: int = 0
    #: The highest resident memory of one Python process of the tree, but the root; its own is
    #: meant where the root is alone.
    python_bytes: int = 0
    _used: dict[tuple[int, str], int] = field(default_factory=dict)
    _began: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _done: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        # Work in this process begins at what it has used already; a child begins at nothing.
        self._began = 0.0 if self.root else self.cpu_now()
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
        self.cpu_now()

    @property
    def cpu(self) -> float:
        """CPU seconds that were seen so far, of user and system."""
        return sum(self._used.values()) / _TICKS - self._began

    def cpu_now(self) -> float:
        """The same after another look."""
        resident = python = 0
        own = self.root or os.getpid()
        with self._lock:
            for pid, stat in process_tree(self.root):
                self._used[pid, stat[_BEGAN]] = sum(map(int, stat[_CPU]))
                size = int(stat[_RESIDENT]) * _PAGE
                resident += size
                if pid != own and _is_python(pid):
                    python = max(python, size)
        self.peak_bytes = max(self.peak_bytes, resident)
        self.python_bytes = max(self.python_bytes, python)
        return self.cpu

    def _look(self) -> None:
        while not self._done.wait(self.interval):
            self.cpu_now()


def _is_python(pid: int) -> bool:
    try:
        return b"python" in (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")[0]
    except OSError:
        return False  # it has ended
