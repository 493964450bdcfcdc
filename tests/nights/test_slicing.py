"""However the same calls land, readers see the same."""

from __future__ import annotations

import random
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from tests.nights.conftest import Lake, Zone
from tests.support.nights import AS_OF, copied, files, site


def test_a_second_run_is_a_noop_and_writes_nothing(one_night: Lake) -> None:
    before = files(one_night.site.root)
    record = one_night.site.run(AS_OF + timedelta(days=1))
    assert (record["status"], record["run_id"], record["publication"]) == ("noop", None, 1)
    assert record["lines"] == {"read": 0, "accepted": 0, "rejected": 0, "duplicate": 0}
    assert files(one_night.site.root) == before


def test_three_nights_show_what_one_shows(one_night: Lake, zone: Zone, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    lake = site(tmp_path, zone.sources(landing), judged=False)
    records = []
    for day, objects in enumerate(zone.days):
        zone.land(objects, landing)
        records.append(lake.run(AS_OF + timedelta(days=day)))
    assert [r["status"] for r in records] == ["published"] * 3
    assert [r["publication"] for r in records] == [1, 2, 3]
    assert lake.contents() == one_night.contents
    assert lake.counts() == one_night.site.counts()
    assert lake.leftovers() == one_night.site.leftovers()


def test_copies_received_earlier_that_land_later_take_their_place(
    one_night: Lake, two_nights: Lake
) -> None:
    lake = two_nights.site
    displaced = [row for row in lake.dicts("duplicate_calls") if row["displaced"]]
    assert displaced, "the zone is to hold retries, or this shows nothing"
    assert lake.contents() == one_night.contents
    assert lake.counts() == one_night.site.counts()
    assert lake.leftovers() == one_night.site.leftovers()


def test_an_object_landed_twice_or_under_another_name_changes_no_profile(
    one_night: Lake, tmp_path: Path
) -> None:
    lake = copied(one_night.site, tmp_path, "lake", judged=False)
    landing = tmp_path / "landing"
    shutil.copytree(one_night.landing, landing)
    lake.config.write_text(lake.config.read_text().replace(str(one_night.landing), str(landing)))
    # The zone moved to another folder: every object is new by name, and no call is.
    twice = sorted(p for p in landing.rglob("*") if p.is_file())[::9]
    for path in twice:
        shutil.copy2(path, path.with_name(f"again-{path.name}"))
    record = lake.run(AS_OF + timedelta(days=1))
    assert record["status"] == "published"
    assert lake.contents() == one_night.contents
    assert record["lines"]["accepted"] == 0
    # Where an object's name breaks a tie between equal copies, one takes the other's place.
    before, after = one_night.site.counts(), lake.counts()
    assert after["accepted"] == before["accepted"]
    assert after["lines"] == before["lines"] + record["lines"]["read"]


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_object_by_object_in_any_order_shows_what_one_night_shows(
    one_night: Lake, zone: Zone, tmp_path: Path
) -> None:
    landing = tmp_path / "landing"
    lake = site(tmp_path, zone.sources(landing), judged=False)
    objects = zone.objects
    random.Random(5).shuffle(objects)
    for path in objects:
        zone.land([path], landing)
        lake.run()
    assert lake.contents() == one_night.contents
    assert lake.counts() == one_night.site.counts()
    assert lake.leftovers() == one_night.site.leftovers()
