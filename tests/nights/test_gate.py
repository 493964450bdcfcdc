"""The quality gate: a bad night is not shown, and a good one after it is."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from lake.errors import GateClosed
from tests.nights.conftest import Lake
from tests.support.nights import AS_OF, copied, land

IMPOSSIBLE = {
    "name": "profiles",
    "expectations": [
        {
            "type": "expect_table_row_count_to_be_between",
            "kwargs": {"max_value": 1},
            "meta": {"severity": "block", "about": "Nobody has one customer."},
        }
    ],
}
CALL = {
    "type": "identify",
    "messageId": "new-1",
    "receivedAt": "2026-11-05T08:00:00Z",
    "userId": "gate-1",
    "traits": {"email": "gate@example.com"},
}


def test_yesterdays_publication_stays_until_a_candidate_is_good(
    one_night: Lake, tmp_path: Path
) -> None:
    (tmp_path / "expectations").mkdir()
    (tmp_path / "expectations" / "profiles.json").write_text(json.dumps(IMPOSSIBLE))
    own = {"expectations": str(tmp_path / "expectations")}
    sources = {"gate": tmp_path / "landing"}
    lake = copied(one_night.site, tmp_path, sources=sources, quality=own)
    land(tmp_path / "landing" / "new.jsonl", [CALL])
    current = (Path(lake.root) / "_control" / "current.json").read_bytes()

    with pytest.raises(GateClosed, match=r"not published: .*row") as closed:
        lake.run(AS_OF + timedelta(days=1))

    assert closed.value.exit_code == 3
    assert (Path(lake.root) / "_control" / "current.json").read_bytes() == current
    assert lake.contents() == one_night.contents
    assert lake.place.control.record(2)["status"] == "blocked"
    failed = [r for r in lake.dicts("expectation_results") if not r["success"]]
    assert [(r["run"], r["table"], r["severity"]) for r in failed if r["run"] == "00000002"] == [
        ("00000002", "profiles", "block")
    ]

    shipped = copied(lake, tmp_path, "shipped", quality={})
    record = shipped.run(AS_OF + timedelta(days=2))

    assert (record["status"], record["publication"]) == ("published", 2)
    assert record["lines"]["read"] == 0, "what was read for the blocked night is not read again"
    assert record["profiles"] == len(one_night.contents["profiles"]) + 1
    found = shipped.publication().lookup("email", "gate@example.com")
    assert found["identifiers"] == {"email": ["gate@example.com"], "user_id": ["gate-1"]}
    born = shipped.publication().query(
        "select publication, profile_id, change from identity_changes where publication = 2"
    )
    assert born.to_pylist() == [
        {"publication": 2, "profile_id": found["profile_id"], "change": "born"}
    ]
