"""Guards: values that identify nobody, found before the graph is built.

A guarded value stays in its events and sets, and is listed in ``identities``; it only stops
linking. Guards are applied when stitching, never when extracting, so a new one takes effect on
all history, and taking it back gives the former profiles back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
import re2

from lake.frames import WorkerRows, unchanged

if TYPE_CHECKING:
    from lake.frames import Storable

#: Twilio Segment's four recommended blocked values, opt-in there
#: (segment.com/docs/unify/identity-resolution/identity-resolution-onboarding), and placeholders
#: that programs write where they have no value. Its pattern ^[0-]*$, which matches the empty string
#: too, is asked as what it says: RE2 takes several times as long for each value of a lake.
BUILTIN_CHARACTERS = "0-"
BUILTIN_VALUES = frozenset(
    {"-1", "null", "(null)", "nil", "none", "undefined", "unknown", "anonymous"}
    | {"n/a", "na", "nan", "test", "true", "false", "[object object]"}
)

BLOCKED, SHARED = "blocked", "shared"
#: What ``violations`` says of a guarded identifier: Segment's text, and ours for what it has not.
REASONS = {BLOCKED: "ID value blocked", SHARED: "ID value shared by too many"}


@dataclass(frozen=True)
class Blocked:
    """Values and RE2 patterns that identify nobody, for every type and for single types.

    Values are compared without regard to case; patterns are searched in the normalised value.
    """

    builtin: bool = True
    values: frozenset[str] = frozenset()
    patterns: tuple[str, ...] = ()
    by_type: Mapping[str, tuple[frozenset[str], tuple[str, ...]]] = field(default_factory=dict)

    @cached_property
    def _tests(self) -> Callable[[str, str], bool]:
        values = {v.lower() for v in self.values} | (BUILTIN_VALUES if self.builtin else set())
        patterns = [re2.compile(p) for p in self.patterns]
        typed = {
            kind: (
                values | {v.lower() for v in own},
                [*patterns, *(re2.compile(p) for p in searched)],
            )
            for kind, (own, searched) in self.by_type.items()
        }

        def blocked(kind: str, value: str) -> bool:
            named, searched = typed.get(kind, (values, patterns))
            return (
                value.lower() in named
                or (self.builtin and not value.strip(BUILTIN_CHARACTERS))
                or any(p.search(value) for p in searched)
            )

        return blocked

    def __getstate__(self) -> dict[str, object]:
        """Compiled patterns are made anew where the rules arrive."""
        return {k: v for k, v in self.__dict__.items() if k != "_tests"}

    def blocks(self, kind: str, value: str) -> bool:
        """Whether this identifier identifies nobody.

        >>> Blocked().blocks("user_id", "0000-0000"), Blocked().blocks("user_id", "u1")
        (True, False)
        """
        return self._tests(kind, value)


def guarded(identifiers: Storable, blocked: Blocked) -> WorkerRows:
    """The rows with a column ``guard``: why the identifier links nothing, else null.

    ``identifiers`` has ``type`` and ``value`` and any other columns; one row each goes in and
    comes out. An Arrow kernel, because RE2 is not to be had in Spark's SQL, and its own regular
    expressions can be made to run for ever by a customer's value.
    """

    def kernel(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            kinds, values = batch["type"].to_pylist(), batch["value"].to_pylist()
            reasons = [
                BLOCKED if blocked.blocks(k, v) else None
                for k, v in zip(kinds, values, strict=True)
            ]
            yield batch.append_column("guard", pa.array(reasons, pa.string()))

    rows = identifiers if isinstance(identifiers, WorkerRows) else unchanged(identifiers)
    return rows.then(kernel, f"{rows.schema}, guard string")
