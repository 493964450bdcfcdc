"""Overrides of the resolution: pairs of identifiers that belong together, or never do.

A CSV file in UTF-8 with the header ``rule,type_a,value_a,type_b,value_b``. Values are taken as
they are written, without the space around them; normalising them is the resolution's work.
No message contains a value.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from lake.config.identifiers import type_fault

HEADER = ("rule", "type_a", "value_a", "type_b", "value_b")
RULES = ("always_together", "never_together")

Rule = Literal["always_together", "never_together"]


@dataclass(frozen=True, order=True)
class Override:
    """A rule about two identifiers; ``a`` sorts before ``b``, so a pair has one spelling."""

    rule: Rule
    type_a: str
    value_a: str
    type_b: str
    value_b: str


@dataclass(frozen=True)
class Overrides:
    """The pairs of a file, sorted and each once, and the faults of its lines."""

    pairs: tuple[Override, ...]
    faults: tuple[str, ...]


def overrides(path: Path, known_types: frozenset[str] | None) -> Overrides:
    """The overrides of a file.

    ``known_types`` are the only types that may occur; None if any may. Faults are sentences that
    begin with ``line N`` of the CSV file, or say why it cannot be read at all.
    """
    try:
        # utf-8-sig: spreadsheets put a byte order mark in front.
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        return Overrides((), (f"cannot be read ({error.strerror}), wanted a CSV file",))
    except UnicodeDecodeError:
        return Overrides((), ("found bytes that are not UTF-8, wanted a CSV file in UTF-8",))
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    faults: list[str] = []
    lines: dict[Override, int] = {}
    try:
        if tuple(next(rows, ())) != HEADER:
            return Overrides((), (f"line 1: found another header, wanted {','.join(HEADER)}",))
        for row in rows:
            line = rows.line_num
            cells = tuple(cell.strip() for cell in row)
            found = [f"line {line}: {text}" for text in _row_faults(cells, known_types)]
            faults += found
            if any(cells) and not found:
                lines.setdefault(_override(cells), line)
    except csv.Error as error:
        faults.append(f"line {rows.line_num}: not CSV: {error}")
    return Overrides(tuple(sorted(lines)), (*faults, *_contradictions(lines)))


def _override(cells: tuple[str, ...]) -> Override:
    a, b = sorted((cells[1:3], cells[3:5]))
    return Override(cast(Rule, cells[0]), a[0], a[1], b[0], b[1])


def _row_faults(cells: tuple[str, ...], known_types: frozenset[str] | None) -> Iterator[str]:
    if not any(cells):
        return
    if len(cells) != len(HEADER):
        yield f"found {len(cells)} cells, wanted {len(HEADER)}"
        return
    rule, type_a, value_a, type_b, value_b = cells
    if rule not in RULES:
        yield f"found another rule, wanted {' or '.join(RULES)}"
    for column, name in (("type_a", type_a), ("type_b", type_b)):
        fault = type_fault(name, known_types)
        if fault:
            yield f"{column}: {fault}"
    for column, value in (("value_a", value_a), ("value_b", value_b)):
        if not value:
            yield f"{column}: found nothing, wanted a value"
    if (type_a, value_a) == (type_b, value_b):
        yield "found an identifier paired with itself, wanted two identifiers"


def _contradictions(lines: dict[Override, int]) -> Iterator[str]:
    """Pairs that are given both rules. Contradictions through a third one are not looked for."""
    together = {
        (o.type_a, o.value_a, o.type_b, o.value_b): n
        for o, n in lines.items()
        if o.rule == RULES[0]
    }
    for override, line in lines.items():
        pair = (override.type_a, override.value_a, override.type_b, override.value_b)
        if override.rule == RULES[1] and pair in together:
            first, second = sorted((together[pair], line))
            yield f"line {second}: line {first} has the other rule for this pair, wanted one rule"
