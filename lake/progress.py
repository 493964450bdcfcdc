"""What a run tells while it works: one line a fact, and nobody's data.

On a terminal the stage that is under way is shown live below the lines; elsewhere there are only
the lines.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.status import Status


@dataclass
class Progress:
    """Stages with their wall seconds, and the facts told in them.

    ``seconds`` sums each stage's time without that of stages inside it, for the run record.
    """

    out: TextIO = field(default_factory=lambda: sys.stderr)
    quiet: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)
    _stages: list[str] = field(default_factory=list)
    _live: Status | None = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Everything inside belongs to this stage."""
        began, inner = time.monotonic(), sum(self.seconds.values())
        self._stages.append(name)
        self._show()
        try:
            yield
        finally:
            own = time.monotonic() - began - (sum(self.seconds.values()) - inner)
            self.seconds[name] = round(self.seconds.get(name, 0.0) + own, 2)
            self._stages.pop()
            self._show()

    def say(self, text: str, **facts: object) -> None:
        """One fact, as a line of seconds since the start, stage, text and key=value pairs."""
        if self.quiet:
            return
        told = " ".join(f"{k}={v}" for k, v in facts.items())
        stage = self._stages[-1] if self._stages else ""
        line = f"{time.monotonic() - self._began:7.1f}s  {stage:<8} {text} {told}".rstrip()
        if self._live is not None:
            self._live.console.print(line, highlight=False, markup=False)
        else:
            # In one piece: another thread may have something to say, too.
            print(f"{line}\n", end="", file=self.out, flush=True)

    def _show(self) -> None:
        """Show the innermost stage, live, if this is a terminal; take it away after the last."""
        if self.quiet or not self.out.isatty():
            return
        if not self._stages:
            if self._live is not None:
                self._live.stop()
                self._live = None
            return
        if self._live is None:
            from rich.console import Console

            self._live = Console(file=self.out).status("")
            self._live.start()
        self._live.update(f"{self._stages[-1]} …")
