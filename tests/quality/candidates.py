"""Candidate tables of one good row each, and rows built to break single expectations."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from lake.tables import table

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
PROFILE = "0123456789abcdef0123456789abcdef"
KEY = bytes(range(16))

SEEN: dict[str, Any] = {"first_seen": NOON, "last_seen": NOON + timedelta(days=1), "calls": 3}

#: A row of each published table that meets all that is expected; other columns are null.
GOOD: dict[str, dict[str, Any]] = {
    "events": {
        "message_id": "m-1",
        "type": "track",
        "received_at": NOON,
        "received_date": date(2024, 5, 1),
        "bad_times": 0,
        "source": "web",
        "object": "landing/web/1.gz",
        "line": 1,
        "identity_set": KEY,
    },
    "profiles": {
        "profile_id": PROFILE,
        **SEEN,
        "identifiers": {"email": ["ada@example.com"]},
        "traits": {},
        "first_source": "web",
        "last_source": "web",
    },
    "profile_identifiers": {
        "type": "email",
        "value": "ada@example.com",
        "profile_id": PROFILE,
        **SEEN,
        "identifier_key": 7,
    },
    "profile_traits": {
        "profile_id": PROFILE,
        "trait": "plan",
        "value": '"gold"',
        "message_id": "m-1",
        "received_at": NOON,
        "rule": "latest",
    },
    "set_profiles": {"identity_set": KEY, "profile_id": PROFILE},
    "profile_redirects": {"old_profile_id": PROFILE, "profile_id": "f" * 32, "outcome": "merged"},
    "identity_changes": {
        "publication": 1,
        "profile_id": PROFILE,
        "change": "born",
        "others": [],
        "identifiers": 2,
        "cause": "calls",
    },
}


def candidate(spark: SparkSession, name: str, *changes: dict[str, Any]) -> DataFrame:
    """A frame of the table with one row for each change made to its good row."""
    declared = table(name)
    rows = [{**GOOD[name], **change} for change in changes]
    return spark.createDataFrame(
        [tuple(row.get(column) for column in declared.names) for row in rows], declared.ddl
    )
