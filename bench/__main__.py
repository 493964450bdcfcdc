"""All benches, one after the other, as one table: `python -m bench [--quick] [--json FILE]`.

Each bench is a program of its own; what it prints for a way of doing the work becomes a row. CPU
is the figure to compare: other load on the machine lengthens the wall time and hardly touches it.
Ends with 1 where a bench fails, prints nothing that is understood, or is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from bench.support import Watch

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Row:
    """One way of doing the work: CPU for each of its units, and whether the answer was right."""

    bench: str
    way: str
    units: int
    unit: str
    cpu: float
    wall: float | None
    right: bool | None = None

    @property
    def each(self) -> float:
        """Microseconds of CPU for a unit."""
        return self.cpu / self.units * 1e6


@dataclass(frozen=True)
class Cost:
    """What a whole bench took, its preparations included."""

    wall: float
    cpu: float
    peak_mib: int


@dataclass(frozen=True)
class Bench:
    """A program, its arguments at the ordinary and the quick size, and how its lines are read."""

    name: str
    ordinary: tuple[str, ...]
    quick: tuple[str, ...]
    rows: Callable[[list[str]], Iterable[Row]]

    def command(self, *, quick: bool) -> list[str]:
        given = self.quick if quick else self.ordinary
        return [sys.executable, str(ROOT / "bench" / f"{self.name}.py"), *given]


def number(text: str) -> float:
    return float(text.replace(",", ""))


_CALLS = re.compile(r"(\d+) calls of")
_TURN = re.compile(r"\d+  (?P<way>\S+) +(?P<cpu>[\d.]+) s CPU +(?P<wall>[\d.]+) s wall")
_EDGES = re.compile(r"([\d,]+) edges,")
_SOLVER = re.compile(r"(?P<way>[\w-]+) +(?P<right>yes|NO) +(?P<wall>[\d.]+) +(?P<cpu>[\d.]+) ")
_FOLD = re.compile(r" *(?P<way>.*?) +(?P<units>[\d,]+) sightings +(?P<cpu>[\d.]+) s ")
_KIND = re.compile(r"(?P<kind>[^:]+): \d+%")


def reading_rows(lines: list[str]) -> Iterator[Row]:
    """The better of each way's turns."""
    count = int(next(m[1] for line in lines if (m := _CALLS.match(line))))
    best: dict[str, tuple[float, float]] = {}
    for turn in filter(None, map(_TURN.match, lines)):
        found = (float(turn["cpu"]), float(turn["wall"]))
        best[turn["way"]] = min(best.get(turn["way"], found), found)
    for way, (cpu, wall) in best.items():
        yield Row("reading", way, count, "call", cpu, wall)


def components_rows(lines: list[str]) -> Iterator[Row]:
    """A row a solver; its answer was compared with scipy's."""
    edges = int(number(next(m[1] for line in lines if (m := _EDGES.match(line)))))
    for solved in filter(None, map(_SOLVER.match, lines)):
        cpu, wall = float(solved["cpu"]), float(solved["wall"])
        yield Row("components", solved["way"], edges, "edge", cpu, wall, solved["right"] == "yes")


def fold_rows(lines: list[str]) -> Iterator[Row]:
    """A row a strategy and kind of component; one process, so its wall time is its CPU time."""
    kind = ""
    for line in lines:
        if headed := _KIND.match(line):
            kind = f"{headed['kind']}: "
        elif timed := _FOLD.match(line):
            units = int(number(timed["units"]))
            yield Row("fold", kind + timed["way"], units, "sighting", float(timed["cpu"]), None)


#: `stars` joins over all edges once a round: minutes at the ordinary size, so it is asked for by
#: hand, `python bench/components.py --only stars`.
_SOLVERS = "one-task,contraction,duckdb,scipy"

BENCHES = (
    Bench("reading", ("120000", "2"), ("12000", "2"), reading_rows),
    Bench(
        "components",
        ("--edges", "1000000", "--only", _SOLVERS),
        ("--edges", "50000", "--only", _SOLVERS),
        components_rows,
    ),
    Bench("fold", ("--components", "2000"), ("--components", "200"), fold_rows),
)


def ran(bench: Bench, *, quick: bool) -> tuple[list[Row], Cost]:
    """The rows of a bench and what it cost. Raises CalledProcessError where it failed."""
    began = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with (
        subprocess.Popen(
            bench.command(quick=quick), stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        ) as process,
        Watch(process.pid) as watch,
    ):
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, bench.name)
    rows = list(bench.rows(lines))
    if not rows or len({row.way for row in rows}) < len(rows):
        raise ValueError(f"bench/{bench.name}.py prints otherwise than bench/__main__.py reads")
    return rows, Cost(time.monotonic() - began, watch.cpu, watch.peak_bytes >> 20)


def shown(rows: Iterable[Row], costs: dict[str, Cost]) -> Table:
    """All rows as one table; the costs stand behind each bench's rows."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("bench")
    table.add_column("way")
    for heading in ("units", "CPU s", "µs CPU each", "wall s", "right"):
        table.add_column(heading, justify="right")
    by_bench: dict[str, list[Row]] = {}
    for row in rows:
        by_bench.setdefault(row.bench, []).append(row)
    for name, own in by_bench.items():
        for row in own:
            table.add_row(
                name,
                row.way,
                f"{row.units:,} {row.unit}s",
                f"{row.cpu:.2f}",
                f"{row.each:.1f}",
                "" if row.wall is None else f"{row.wall:.2f}",
                {None: "", True: "yes", False: "NO"}[row.right],
            )
        cost = costs[name]
        whole = f"all of it, with preparations; peak {cost.peak_mib:,} MiB resident"
        table.add_row(name, whole, "", f"{cost.cpu:.1f}", "", f"{cost.wall:.1f}", style="dim")
        table.add_section()
    return table


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run at all?")
    parser.add_argument("--only", default=",".join(b.name for b in BENCHES), help="by comma")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = parser.parse_args(given)
    names = args.only.split(",")
    if unknown := set(names) - {b.name for b in BENCHES}:
        parser.error(f"there is no bench {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    costs: dict[str, Cost] = {}
    for bench in (b for b in BENCHES if b.name in names):
        print(f"{bench.name} …", file=sys.stderr, flush=True)
        own, costs[bench.name] = ran(bench, quick=args.quick)
        rows += own
    Console(width=None if sys.stdout.isatty() else 120).print(shown(rows, costs))
    if args.quick:
        print("Quick sizes: starting costs dominate. They show that the benches run, no more.")
    if args.json:
        figures = {
            "machine": {"cores": os.cpu_count(), "system": platform.platform()},
            "quick": args.quick,
            "rows": [{**asdict(row), "microseconds_each": round(row.each, 3)} for row in rows],
            "costs": {name: asdict(cost) for name, cost in costs.items()},
        }
        args.json.write_text(json.dumps(figures, indent=1) + "\n")
    wrong = [f"{row.bench} {row.way}" for row in rows if row.right is False]
    if wrong:
        print(f"Wrong answers: {', '.join(wrong)}.", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
