"""All benches, one after the other, as one table: `python -m bench [--quick | --full]`.

Each bench is a program of its own; what it measures for a way of doing the work becomes a row. CPU
is the figure to compare: other load on the machine lengthens the wall time and hardly touches it.
Table, figures and chart are written to build/bench as bench.txt, bench.json and bench.svg. Ends
with 1 where a bench fails, prints nothing that is understood, or is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bench.support import Watch

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Row:
    """One way of doing the work: CPU for each of its units, and whether the answer was right;
    what Spark shuffled and the highest memory of a worker where they are known."""

    bench: str
    way: str
    units: int
    unit: str
    cpu: float
    wall: float | None
    right: bool | None = None
    jobs: int | None = None
    shuffle_bytes: int | None = None
    shuffle_rows: int | None = None
    peak_mib: int | None = None

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
class Told:
    """What a bench printed, and the figures it wrote where it writes any."""

    lines: list[str]
    figures: list[dict[str, Any]]


@dataclass(frozen=True)
class Bench:
    """A program, its arguments at each size, and how what it tells is read."""

    name: str
    ordinary: tuple[str, ...]
    quick: tuple[str, ...]
    full: tuple[str, ...]
    rows: Callable[[Told], Iterable[Row]]
    writes: bool = True

    def command(self, size: str, figures: Path) -> list[str]:
        given = {"ordinary": self.ordinary, "quick": self.quick, "full": self.full}[size]
        told = ("--json", str(figures)) if self.writes else ()
        return [sys.executable, str(ROOT / "bench" / f"{self.name}.py"), *given, *told]


def number(text: str) -> float:
    return float(text.replace(",", ""))


_CALLS = re.compile(r"(\d+) calls of")
_TURN = re.compile(r"\d+  (?P<way>\S+) +(?P<cpu>[\d.]+) s CPU +(?P<wall>[\d.]+) s wall")
_FOLD = re.compile(r" *(?P<way>.*?) +(?P<units>[\d,]+) sightings +(?P<cpu>[\d.]+) s ")
_KIND = re.compile(r"(?P<kind>[^:]+): \d+%")


def reading_rows(told: Told) -> Iterator[Row]:
    """The better of each way's turns."""
    count = int(next(m[1] for line in told.lines if (m := _CALLS.match(line))))
    best: dict[str, tuple[float, float]] = {}
    for turn in filter(None, map(_TURN.match, told.lines)):
        found = (float(turn["cpu"]), float(turn["wall"]))
        best[turn["way"]] = min(best.get(turn["way"], found), found)
    for way, (cpu, wall) in best.items():
        yield Row("reading", way, count, "call", cpu, wall)


def components_rows(told: Told) -> Iterator[Row]:
    """A row a solver; its answer was compared with scipy's."""
    for one in told.figures:
        peak = one.pop("python_mib")
        yield Row("components", unit="edge", peak_mib=peak, **one)


def fold_rows(told: Told) -> Iterator[Row]:
    """A row a strategy and kind of component; one process, so its wall time is its CPU time."""
    kind = ""
    for line in told.lines:
        if headed := _KIND.match(line):
            kind = f"{headed['kind']}: "
        elif timed := _FOLD.match(line):
            units = int(number(timed["units"]))
            yield Row("fold", kind + timed["way"], units, "sighting", float(timed["cpu"]), None)


def night_rows(told: Told) -> Iterator[Row]:
    """The whole night and each of its stages, ours and by hand; the row counts of both agree."""
    for one in told.figures:
        way, units = one["way"], one["units"]
        whole = (one["cpu"], one["wall"], one["right"])
        yield Row("night", way, units, "call", *whole, peak_mib=one["peak_mib"])
        for stage, wall in one["seconds"].items():
            if cpu := one["cpu_by_stage"].get(stage):
                yield Row("night", f"{way}: {stage}", units, "call", cpu, wall)


def slope_rows(told: Told) -> Iterator[Row]:
    """The second night over each history; its units are the calls that landed for it."""
    for one in told.figures:
        way = f"a night over {one['history']:,} calls"
        yield Row("slope", way, one["delta"], "call", one["cpu"], one["wall"])


def publishing_rows(told: Told) -> Iterator[Row]:
    """Traits, computed traits and audiences, ours and by hand; the rows of both agree."""
    for one in told.figures:
        yield Row("publishing", unit="observation", **one)


#: `stars` joins over all edges once a round: minutes, where the others take seconds.
_QUICK = "one-task,contraction,duckdb,scipy"

BENCHES = (
    Bench("reading", ("120000", "2"), ("12000", "2"), ("300000", "1"), reading_rows, writes=False),
    Bench(
        "components",
        ("--edges", "1000000"),
        ("--edges", "50000", "--only", _QUICK),
        ("--edges", "10000000"),
        components_rows,
    ),
    Bench(
        "fold",
        ("--components", "2000"),
        ("--components", "200"),
        ("--components", "5000", "--giant", "1000000"),
        fold_rows,
        writes=False,
    ),
    Bench("night", ("--calls", "200000"), ("--calls", "5000"), ("--calls", "2000000"), night_rows),
    Bench(
        "slope",
        ("--calls", "10000"),
        ("--calls", "1000", "--scales", "1,3"),
        ("--calls", "100000"),
        slope_rows,
    ),
    Bench(
        "publishing",
        ("--sets", "200000", "--observations", "1000000"),
        ("--sets", "20000", "--observations", "100000"),
        ("--sets", "1000000", "--observations", "5000000"),
        publishing_rows,
    ),
)


def ran(bench: Bench, size: str) -> tuple[list[Row], Cost]:
    """The rows of a bench and what it cost. Raises CalledProcessError where it failed."""
    began = time.monotonic()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        written = Path(folder) / "figures.json"
        with (
            subprocess.Popen(
                bench.command(size, written),
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
                cwd=ROOT,
            ) as process,
            Watch(process.pid, interval=0.5) as watch,
        ):
            assert process.stdout is not None
            lines = process.stdout.read().splitlines()
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, bench.name)
        figures = json.loads(written.read_text()) if bench.writes else []
    rows = list(bench.rows(Told(lines, figures)))
    if not rows or len({row.way for row in rows}) < len(rows):
        raise ValueError(f"bench/{bench.name}.py tells otherwise than bench/__main__.py reads")
    return rows, Cost(time.monotonic() - began, watch.cpu, watch.peak_bytes >> 20)


def shown(rows: Iterable[Row], costs: dict[str, Cost]) -> Table:
    """All rows as one table; the costs stand behind each bench's rows."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("bench")
    table.add_column("way")
    headings = (
        "units",
        "CPU s",
        "µs each",
        "wall s",
        "jobs",
        "B each",
        "rows each",
        "MiB",
        "right",
    )
    for heading in headings:
        table.add_column(heading, justify="right")
    by_bench: dict[str, list[Row]] = {}
    for row in rows:
        by_bench.setdefault(row.bench, []).append(row)
    for name, own in by_bench.items():
        for row in own:
            table.add_row(name, row.way, *cells(row))
        cost = costs[name]
        whole = f"all of it; peak {cost.peak_mib:,} MiB"
        table.add_row(name, whole, "", f"{cost.cpu:.1f}", "", f"{cost.wall:.1f}", style="dim")
        table.add_section()
    return table


def cells(row: Row) -> Iterator[str]:
    """What a row shows below each heading."""
    yield f"{row.units:,} {row.unit}s"
    yield f"{row.cpu:.2f}"
    yield f"{row.each:.2f}"
    yield "" if row.wall is None else f"{row.wall:.2f}"
    yield "" if row.jobs is None else str(row.jobs)
    yield "" if row.shuffle_bytes is None else f"{row.shuffle_bytes / row.units:.1f}"
    yield "" if row.shuffle_rows is None else f"{row.shuffle_rows / row.units:.2f}"
    yield "" if row.peak_mib is None else f"{row.peak_mib:,}"
    yield {None: "", True: "yes", False: "NO"}[row.right]


def charted(rows: Iterable[Row], path: Path) -> None:
    """CPU for a unit of each way, a panel a bench, as SVG."""
    import altair as alt

    points = [{"bench": r.bench, "way": r.way, "µs of CPU each": r.each} for r in rows]
    bars = alt.Chart(alt.Data(values=points)).mark_bar()
    panel = bars.encode(
        x=alt.X("µs of CPU each:Q"),
        y=alt.Y("way:N", sort=None, title=None, axis=alt.Axis(labelLimit=320)),
        row=alt.Row("bench:N", sort=None, title=None),
    )
    panel.resolve_scale(x="independent", y="independent").save(path)


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small sizes: does it run at all?")
    size.add_argument("--full", action="store_true", help="10 M edges, 2 M calls: an hour or more")
    parser.add_argument("--only", default=",".join(b.name for b in BENCHES), help="by comma")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench", metavar="FOLDER")
    args = parser.parse_args(given)
    names = args.only.split(",")
    if unknown := set(names) - {b.name for b in BENCHES}:
        parser.error(f"there is no bench {', '.join(sorted(unknown))}")
    chosen = "quick" if args.quick else "full" if args.full else "ordinary"
    rows: list[Row] = []
    costs: dict[str, Cost] = {}
    for bench in (b for b in BENCHES if b.name in names):
        print(f"{bench.name} …", file=sys.stderr, flush=True)
        own, costs[bench.name] = ran(bench, chosen)
        rows += own
    table = shown(rows, costs)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if args.quick:
        print("Quick sizes: starting costs dominate. They show that the benches run, no more.")
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "bench.txt").open("w") as text:
        Console(width=160, file=text).print(table)
    figures = {
        "machine": {"cores": os.cpu_count(), "system": platform.platform()},
        "size": chosen,
        "rows": [{**asdict(row), "microseconds_each": round(row.each, 3)} for row in rows],
        "costs": {name: asdict(cost) for name, cost in costs.items()},
    }
    (args.out / "bench.json").write_text(json.dumps(figures, indent=1) + "\n")
    charted(rows, args.out / "bench.svg")
    print(f"Written to {args.out}: bench.txt, bench.json, bench.svg")
    wrong = [f"{row.bench} {row.way}" for row in rows if row.right is False]
    if wrong:
        print(f"Wrong answers: {', '.join(wrong)}.", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
