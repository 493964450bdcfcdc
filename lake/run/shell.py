"""A night as a command: configuration in, a summary or JSON out, an exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lake.config import load
from lake.errors import ConfigError, LakeError, PublishedWithWarnings
from lake.io.session import submitted
from lake.progress import Progress
from lake.run.night import NOOP, PUBLISHED, Step, night


def shell(
    config: Path,
    steps: Sequence[tuple[str, Step]],
    as_of: str | None = None,
    output: str = "text",
    *,
    strict: bool = False,
    force: str | None = None,
) -> int:
    """Run the steps of a night and print how it went; the exit code of lake/errors.py.

    Progress goes to standard error. Standard output gets the summary, or with ``json`` the run
    record and nothing else; under spark-submit, which joins the two, ``json`` means no progress.
    A LakeError is told in its own words, without a traceback.
    """
    signal.signal(signal.SIGTERM, _stopped)
    try:
        record = night(
            load(config, os.environ),
            steps,
            as_of=moment(as_of),
            force=force,
            progress=Progress(quiet=output == "json" and submitted()),
        )
    except LakeError as error:
        return told(error)
    print(json.dumps(record, indent=1) if output == "json" else summary_text(record))  # noqa: T201
    if strict and (broken := warnings(record)):
        return told(PublishedWithWarnings(f"Published, with warnings: {'; '.join(broken)}."))
    return 0


def _stopped(number: int, _frame: object) -> None:
    """A polite end is an end like any other: the lease is given back on the way out."""
    sys.exit(128 + number)


def told(error: LakeError) -> int:
    """Say what failed, on standard error; its exit code."""
    print(f"profile-lake: {error}", file=sys.stderr)  # noqa: T201
    return error.exit_code


def moment(text: str | None) -> datetime | None:
    """A time of the command line in UTC; ConfigError where it is none."""
    if text is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError("--as-of: wanted an ISO-8601 time such as 2026-11-22T03:00Z.") from None
    return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def warnings(record: dict[str, Any]) -> list[str]:
    """The expectations that failed without blocking."""
    return [
        f"{q['table']}: {q['expectation']}"
        for q in record.get("quality", [])
        if not q["success"] and q["severity"] == "warn"
    ]


def summary_text(record: dict[str, Any]) -> str:
    """A night in a few lines, for somebody tired."""
    if record["status"] == NOOP:
        return f"Nothing new. Publication {record['publication']} stays in place."
    lines = record["lines"]
    spent = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in record["seconds"].items())
    said = [
        f"Run {record['run_id']}: {record['status']}"
        + (f" as publication {record['publication']}" if record["status"] == PUBLISHED else ""),
        f"  {record['objects']} objects, {lines['read']:,} lines = {lines['accepted']:,} accepted"
        f" + {lines['rejected']:,} rejected + {lines['duplicate']:,} duplicate",
        f"  {record['profiles']:,} profiles from {record['sets']:,} identity sets",
        f"  {spent}",
    ]
    if record["violations"]:
        found = ", ".join(f"{n:,} × {reason}" for reason, n in record["violations"].items())
        said.append(f"  did not link: {found}")
    if record["shared"]:
        found = ", ".join(f"{n:,} {kind}" for kind, n in record["shared"].items())
        said.append(f"  shared by too many, so they link nothing: {found} (table shared_values)")
    said += [f"  warning: {w}" for w in warnings(record)]
    return "\n".join(said)
