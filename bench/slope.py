"""Whether a night costs what it touched: the same calls on 1, 3 and 10 times the history.

    python bench/slope.py --calls 20000

Each lake is filled by one night, then the same objects land in all of them: a tenth as many calls
as the smallest history has, of a tenth of its people, which are 1 % of the largest one's. That
night is measured from landing to publication: CPU of all processes, rows written and removed by
table. More history is more people like the first ones (`bench.calls`), not more of each.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bench.calls import World, landed  # noqa: E402
from bench.night import configured, night  # noqa: E402

SCALES = (1, 3, 10)


def written(root: Path, after: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Rows added to and taken from each table by the commits after these versions."""
    found: dict[str, tuple[int, int]] = {}
    for log in sorted(root.glob("*/_delta_log")):
        table = log.parent.name
        rows: dict[str, int] = {}
        added = removed = 0
        for commit in sorted(log.glob("*.json")):
            for action in map(json.loads, commit.read_text().splitlines()):
                new = int(commit.stem) > after.get(table, -1)
                if add := action.get("add"):
                    rows[add["path"]] = json.loads(add["stats"])["numRecords"]
                    added += new * rows[add["path"]]
                elif remove := action.get("remove"):
                    removed += new * rows.get(remove["path"], 0)
        if added or removed:
            found[table] = (added, removed)
    return found


def versions(root: Path) -> dict[str, int]:
    """The newest version of each table."""
    return {
        log.parent.name: max(int(commit.stem) for commit in log.glob("*.json"))
        for log in root.glob("*/_delta_log")
    }


def measured(folder: Path, scale: int, calls: int) -> dict[str, Any]:
    """The second night of a lake whose first was ``scale`` times ``calls``."""
    people = max(10, calls // 20)
    landed(folder / "landing", World(calls * scale, people, populations=scale, seed=1))
    config = configured(folder)
    first = night(config)
    before = versions(folder / "lake")
    delta = World(max(1, calls // 10), people, days=1, first_day=5, touched=0.1, odd=False, seed=2)
    landed(folder / "landing", delta)
    second = night(config)
    return {
        "scale": scale,
        "history": calls * scale,
        "delta": delta.calls,
        "first_cpu": first["cpu"],
        "cpu": second["cpu"],
        "wall": second["wall"],
        "seconds": second["seconds"],
        "cpu_by_stage": second["cpu_by_stage"],
        "rows": written(folder / "lake", before),
    }


def compare(folder: Path, calls: int, scales: tuple[int, ...]) -> list[dict[str, Any]]:
    found = []
    for scale in scales:
        here = folder / f"x{scale}"
        here.mkdir(parents=True)
        found.append(measured(here, scale, calls))
        shutil.rmtree(here)
        one = found[-1]
        print(
            f"{one['history']:>10,} calls, then {one['delta']:,}: first night "
            f"{one['first_cpu']:6.1f} s CPU, second {one['cpu']:6.1f} s CPU, {one['wall']:6.1f} s",
            flush=True,
        )
    print()
    print(f"{'rows added (removed)':24}{headings(found)}")
    for name in dict.fromkeys(name for one in found for name in one["rows"]):
        cells = [one["rows"].get(name, (0, 0)) for one in found]
        print(f"{name:24}" + "".join(f"{f'{a:,} ({r:,})':>20}" for a, r in cells))
    print()
    print(f"{'CPU s by stage':24}{headings(found)}")
    for stage in dict.fromkeys(stage for one in found for stage in one["cpu_by_stage"]):
        print(f"{stage:24}" + "".join(f"{o['cpu_by_stage'].get(stage, 0):20.1f}" for o in found))
    print()
    slope = found[-1]["cpu"] / found[0]["cpu"]
    print(f"CPU of the second night, ×{scales[-1]} to ×{scales[0]}: {slope:.2f}")
    return found


def headings(found: list[dict[str, Any]]) -> str:
    """The scales, above the columns of a table."""
    return "".join(f"{'×' + str(one['scale']):>20}" for one in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=20_000, help="of the smallest history")
    parser.add_argument("--scales", default=",".join(map(str, SCALES)), help="by comma")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = parser.parse_args()
    scales = tuple(map(int, args.scales.split(",")))
    with tempfile.TemporaryDirectory(prefix="slope-") as name:
        found = compare(Path(name), args.calls, scales)
    if args.json:
        args.json.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
