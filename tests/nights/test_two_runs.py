"""Two runs started at once: one works, the other leaves at once, and nothing is done twice."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.support.nights import commands, environment, land, site

#: What `run --output json` promises.
PROMISED = {"run_id", "status", "publication", "lines", "sets", "profiles", "seconds"}


def calls() -> list[dict[str, Any]]:
    """Ten people's calls, two each."""
    return [
        {
            "type": "identify",
            "messageId": f"m-{person}-{n}",
            "receivedAt": f"2026-11-01T10:0{person}:0{n}Z",
            "userId": f"planted-{person}",
            "traits": {"email": f"planted{person}@example.com", "secret": "planted-trait"},
        }
        for person in range(10)
        for n in range(2)
    ]


def test_one_of_two_runs_started_at_once_publishes_and_the_other_exits_75(
    tmp_path: Path,
) -> None:
    land(tmp_path / "landing" / "calls.jsonl", [*calls(), b'{"planted@example.com'])
    lake = site(tmp_path, {"web": tmp_path / "landing"})
    command = commands(lake, "run", "--output", "json", "--as-of", "2026-11-05T03:00Z")

    both = [
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    first = next_to_end(both)
    (other,) = (process for process in both if process is not first)
    assert other.poll() is None, "the one that works takes longer than the one that may not"
    refused, why = first.communicate(timeout=10)
    worked, log = other.communicate(timeout=600)

    assert (first.returncode, other.returncode) == (75, 0), log[-2000:]
    assert refused == ""
    assert why.startswith("profile-lake: Another run is writing to this lake")
    record = json.loads(worked)
    assert set(record) >= PROMISED
    assert (record["run_id"], record["status"], record["publication"]) == (
        "00000001",
        "published",
        1,
    )
    assert record["lines"] == {"read": 21, "accepted": 20, "rejected": 1, "duplicate": 0}
    assert (record["sets"], record["profiles"]) == (10, 10)
    assert {"compact", "stitch", "publish", "quality"} <= set(record["seconds"])

    assert lake.counts() == {"lines": 21, "accepted": 20, "rejected": 1, "duplicate": 0}
    assert [len(lake.dicts(name)) for name in ("events", "rejected_calls", "runs")] == [20, 1, 1]
    assert [p.name for p in (Path(lake.root) / "_control" / "runs").iterdir()] == ["00000001"]
    assert "planted" not in worked + why + log.replace(str(tmp_path), "")


def next_to_end(processes: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """The process that ends first."""
    while True:
        for process in processes:
            try:
                process.wait(timeout=0.1)
            except subprocess.TimeoutExpired:
                continue
            return process
