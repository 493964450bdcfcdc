"""RudderStack's tutorial as a lake: its published figures, and its kiosks found unaided.

The sample (wheel `profiles_mlcorelib` 0.10.2, MIT) is fetched and never kept here. One lake goes
through four sets of rules, a night each.
"""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from lake.identity.ids import identifier_key
from tests.support.nights import AS_OF, Site, land, site
from tests.support.worlds import external_ids

START = datetime(2026, 11, 1, tzinfo=UTC)
#: The anonymous ids that the tutorial has its readers find and block.
KIOSKS = [
    "c8bc33a0-7cb7-47f9-b24f-73e077346142",
    "f0ed91a9-e1a9-46a5-9257-d590f45612fe",
    "cbe0ea73-4878-4892-ac82-b9ad42797000",
    "f4690568-e9e7-4182-abc6-6ea2791daba3",
    "b369d6f5-c17a-457c-ab86-5649c1b53883",
]
COLUMNS = {
    "USER_ID": "user_id",
    "SHOPIFY_CUSTOMER_ID": "customer_id",
    "EMAIL": "email",
    "ANONYMOUS_ID": "anonymous_id",
    "DEVICE_ID": "device_id",
    "SHOPIFY_STORE_ID": "store_id",
}


def calls(wheel: Path) -> Iterator[dict[str, Any]]:
    """The rows of the tutorial's three tables, a call a second."""
    package = zipfile.ZipFile(wheel)
    inner = "py_native/profiles_tutorial/profiles_tutorial_cli_sample_data.zip"
    packed = next(name for name in package.namelist() if name.endswith(inner))
    sample = zipfile.ZipFile(io.BytesIO(package.read(packed)))
    for table in ("PAGES", "TRACKS", "IDENTIFIES"):
        text = sample.read(f"profiles_tutorial_cli_sample_data/{table}.csv").decode()
        for number, row in enumerate(csv.DictReader(io.StringIO(text))):
            told = [(t, row[c]) for c, t in COLUMNS.items() if row.get(c)]
            yield {
                "type": "track",
                "messageId": f"{table}-{number}",
                "receivedAt": (START + timedelta(seconds=number)).isoformat(),
                "context": {"externalIds": external_ids(told)},
            }


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    fetch = [sys.executable, "-m", "pip"]
    if subprocess.run([*fetch, "--version"], capture_output=True, check=False).returncode:
        fetch = ["pip"]
    options = ["download", "-q", "--no-deps", "--only-binary", ":all:", "--python-version", "3.11"]
    got = subprocess.run(
        [*fetch, *options, "-d", str(tmp_path), "profiles_mlcorelib==0.10.2"],
        capture_output=True,
        check=False,
    )
    if got.returncode:
        pytest.skip("the wheel profiles_mlcorelib 0.10.2 cannot be had from here")
    land(tmp_path / "landing" / "calls.jsonl", calls(next(tmp_path.glob("*.whl"))))
    return tmp_path / "landing"


@pytest.mark.soak
def test_the_tutorial_has_its_3_and_264_and_319_people_and_auto_finds_the_five_kiosks(
    spark: SparkSession, landing: Path, tmp_path: Path
) -> None:
    types: dict[str, Any] = {t: {"limit": None, "normalise": "exact"} for t in COLUMNS.values()}
    without_store = {t: rule for t, rule in types.items() if t != "store_id"}
    by_hand = {"builtin": False, "by_type": {"anonymous_id": {"values": KIOSKS}}}

    def night(number: int, identifiers: dict[str, Any], **more: Any) -> Site:
        rules = {"strategy": "components", "unknown_types": "ignore", "identifiers": identifiers}
        identity = {**rules, "blocked": {"builtin": False}, **more}
        lake = site(tmp_path, {"web": landing}, identity=identity, judged=False)
        assert lake.run(AS_OF + timedelta(days=number))["status"] == "published"
        return lake

    assert sizes(night(0, types)) == [1811, 1206, 212]

    lake = night(1, without_store)
    assert (len(sizes(lake)), sizes(lake)[:5]) == (264, [263, 253, 249, 235, 205])
    before = homes(lake)

    lake = night(2, without_store, blocked=by_hand)
    assert (len(sizes(lake)), sizes(lake)[0]) == (319, 29)
    after, shown = homes(lake), lake.contents()
    met = {before["anonymous_id", kiosk] for kiosk in KIOSKS}
    assert {i: p for i, p in after.items() if before[i] not in met} == {
        i: p for i, p in before.items() if p not in met
    }, "who never met a kiosk keeps the id"

    lake = night(3, without_store, shared={"mode": "auto"})
    assert lake.contents() == shown
    found = lake.dicts("shared_values")
    assert {row["identifier_key"] for row in found} == {
        identifier_key("anonymous_id", kiosk) for kiosk in KIOSKS
    }
    assert {(row["type"], row["degree"]) for row in found} == {("anonymous_id", 12)}


def homes(lake: Site) -> dict[tuple[str, str], str]:
    rows = lake.publication().arrow("profile_identifiers").to_pylist()
    return {(row["type"], row["value"]): row["profile_id"] for row in rows}


def sizes(lake: Site) -> list[int]:
    """How many identifiers each profile has, the most first."""
    return sorted(Counter(homes(lake).values()).values(), reverse=True)
