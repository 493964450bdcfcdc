"""What a run tells while it works: one line a fact, and nobody's data.

A sink is called with facts; a terminal shows them as a live display, a file gets plain lines.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO


@dataclass
class Progress:
    """Stages with their wall seconds, and the commits made in them.

    ``seconds`` sums each stage's time, for the run record.
    """

    out: TextIO = field(default_factory=lambda: sys.stderr)
    quiet: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)
    _stage: str = ""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Everything inside belongs to this stage."""
        outer, self._stage = self._stage, name
        began = time.monotonic()
        self.began(name)
        try:
            yield
        finally:
            spent = time.monotonic() - began
            self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 2)
            self._stage = outer

    def began(self, name: str) -> None:
        """A stage began; a live display shows it."""

    def say(self, text: str, **facts: object) -> None:
        """One fact, as a line of time, stage, text and key=value pairs."""
        if self.quiet:
            return
        told = " ".join(f"{k}={v}" for k, v in facts.items())
        clock = f"{time.monotonic() - self._began:7.1f}s"
        line = f"{clock}  {self._stage:<8} {text} {told}".rstrip()
        print(line, file=self.out, flush=True)
