"""What the commands print for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def profile_text(profile: Mapping[str, Any]) -> str:
    """A profile as a person reads it."""
    said = [
        f"profile {profile['profile_id']}  (publication {profile['publication']})",
        f"  seen {profile['first_seen']:%Y-%m-%d %H:%M} … {profile['last_seen']:%Y-%m-%d %H:%M} UTC"
        f" in {profile['calls']} calls, first from {profile['first_source']},"
        f" last from {profile['last_source']}",
        "  identifiers",
    ]
    said += [
        f"    {kind:<16} {v}" for kind, vs in sorted(profile["identifiers"].items()) for v in vs
    ]
    said += ["  traits"] if profile["traits"] else []
    said += [f"    {name:<16} {value}" for name, value in sorted(profile["traits"].items())]
    return "\n".join(said)


def runs_text(records: Iterable[Mapping[str, Any]]) -> str:
    """A line a run, and a line for each expectation that failed."""
    said = [
        f"{'run':<10}{'status':<12}{'publication':>12}{'lines':>12}{'profiles':>12}{'seconds':>9}"
    ]
    for r in records:
        lines, seconds = r.get("lines", {}).get("read", 0), sum(r.get("seconds", {}).values())
        said.append(
            f"{r['run_id']:<10}{r['status']:<12}{r.get('publication') or '-':>12}"
            f"{lines:>12,}{r.get('profiles', 0):>12,}{seconds:>9.0f}"
        )
        said += [
            f"          {q['severity']}: {q['table']}: {q['expectation']}"
            for q in r.get("quality", [])
            if not q["success"]
        ]
    return "\n".join(said)


def verified_text(found: Mapping[str, Any]) -> str:
    """What `verify` saw, a line a table, and some of the rows that differ."""
    share = (
        "" if found["sample"] is None else f" in a sample of {found['sample']:.2%} of components"
    )
    said = [f"{'layer':<11}{'table':<22}{'rows':>12}{'differences':>13}"]
    for table in found["tables"]:
        said.append(
            f"{table['layer']:<11}{table['table']:<22}{table['rows']:>12,}"
            f"{table['differences']:>13,}"
        )
        for row in table["shown"]:
            rest = {k: v for k, v in row.items() if k not in ("difference", "columns")}
            where = ", ".join(f"{k} {v}" for k, v in rest.items())
            columns = f" in {', '.join(row['columns'])}" if row["columns"] else ""
            said.append(f"             {row['difference']}{columns}: {where}")
    if found["same"]:
        said.append(f"The live tables are what a full rebuild gives{share}.")
    else:
        said.append(f"Not the same{share}: {found['cause']}. `profile-lake run --full` mends it.")
    return "\n".join(said)


def optimized_text(found: Mapping[str, Any]) -> str:
    """What upkeep did, a line a table where anything was to do."""
    busy = [t for t in found["tables"] if t["merged"] or t["removed"]]
    said = [
        f"{t['table']:<28}{t['merged']:>8,} small files merged{t['removed']:>8,} old files removed"
        for t in busy
    ]
    return "\n".join([*said, f"{found['added_up']:,} rows of partial sums added up."])
