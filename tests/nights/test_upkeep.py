"""A lake tampered with is found out and mended; upkeep changes no row that anybody sees."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from jobs.verify import verify
from lake.errors import LakeError, NotFound
from lake.progress import Progress
from lake.run.optimizing import optimize
from lake.tables import table
from tests.nights.conftest import Lake, Zone
from tests.support.nights import AS_OF, SHOP_IDENTITY, Site, copied, site

#: A table, and what is done to one of its rows.
TAMPERED = {
    "identity_sets": "batch",
    "sightings": "calls",
    "trait_observations": "calls",
    "identities": "calls",
    "violations": "rule",
    "set_profiles": "profile_id",
    "profiles": "calls",
    "profile_identifiers": "first_source",
    "profile_traits": "value",
}


def verified(lake: Site, sample: float | None = None) -> dict[str, Any]:
    return verify(lake.place.config, sample=sample, progress=Progress(quiet=True))


def upkept(lake: Site) -> dict[str, Any]:
    return optimize(lake.place.config, keep=2, progress=Progress(quiet=True))


def test_a_row_altered_by_hand_is_named_and_a_full_run_mends_it(
    one_night: Lake, tmp_path: Path
) -> None:
    lake = copied(one_night.site, tmp_path, judged=False)
    untouched = verified(lake, sample=0.5)
    assert untouched["same"], untouched
    for name, column in TAMPERED.items():
        lake.tamper(name, column)
    found = verified(lake)
    shown = {
        t["table"]: [(d["difference"], tuple(d["columns"] or ())) for d in t["shown"]]
        for t in found["tables"]
        if t["differences"]
    }
    assert shown == {name: [("different", (column,))] for name, column in TAMPERED.items()}
    assert found["cause"] == "the facts are not what the events say"

    lake.run(AS_OF + timedelta(days=1), force="full")
    assert verified(lake)["same"]
    assert lake.contents() == one_night.contents


#: A block of the configuration that is not what it was, and what verify says has changed.
CHANGED = (
    ({"traits": {"plan": {"rule": "first"}}}, "traits, computed traits, audiences or consent"),
    ({"computed": {"orders": "event('Order').count()"}}, "computed traits"),
    ({"audiences": {"buyers": "event('Order').count() >= 1"}}, "audiences"),
    ({"consent": True}, "consent"),
    ({"profiles_sync": {"enabled": True}}, "whether Profiles Sync is enabled"),
    ({"identity": {**SHOP_IDENTITY, "caps": {"merges": 2}}}, "the strategy, limits or caps"),
    ({"identity": {**SHOP_IDENTITY, "blocked": {"values": ["x"]}}}, "blocked values"),
    ({"identity": {**SHOP_IDENTITY, "unknown_types": "add"}}, "how identifiers are taken"),
    ({"space": "another"}, "the space, the priorities, the order of calls or the product"),
)


def test_what_was_made_by_other_rules_is_not_compared(one_night: Lake, tmp_path: Path) -> None:
    said = json.loads(one_night.site.config.read_text())
    for n, (block, told) in enumerate(CHANGED):
        changed = Site(tmp_path / f"{n}.yaml", one_night.site.root)
        changed.config.write_text(json.dumps(said | block))
        with pytest.raises(NotFound, match=f"changed: .*{told}.*Run a night, then verify"):
            verified(changed)


def test_neither_verify_nor_upkeep_touches_what_an_unfinished_run_has_stored(
    one_night: Lake, tmp_path: Path
) -> None:
    lake = copied(one_night.site, tmp_path, judged=False)
    lake.run(AS_OF + timedelta(days=1), force="full", until="stitch")

    def stored() -> set[Path]:
        return {path for path in (Path(lake.root) / "_scratch").rglob("*") if path.is_file()}

    before = stored()
    assert before
    for work in (verified, upkept):
        with pytest.raises(LakeError, match="was not finished: `profile-lake run` first"):
            work(lake)
    assert stored() == before
    assert lake.run(AS_OF + timedelta(days=2))["status"] == "published"
    assert verified(lake)["same"]


def test_upkeep_leaves_every_pinned_version_as_it_is(
    spark: SparkSession, zone: Zone, one_night: Lake, tmp_path: Path
) -> None:
    landing = tmp_path / "landing"
    lake = site(tmp_path, zone.sources(landing), judged=False)
    for night, objects in enumerate((zone.days[0], zone.days[1] + zone.days[2])):
        zone.land(objects, landing)
        lake.run(AS_OF + timedelta(days=night))
    before = {n: lake.contents(n) for n in (1, 2)}
    files = {t: len(lake.tables.files(table(t))) for t in before[2]}
    lost = Path(lake.root) / "identities/part-00000002-of-a-run-that-was-killed.parquet"
    lost.write_bytes(b"nobody names this file")

    told = upkept(lake)

    assert told["added_up"] >= 0
    assert not lost.exists()
    assert {n: lake.contents(n) for n in (1, 2)} == before
    assert verified(lake)["same"]
    assert all(len(lake.tables.files(table(t))) <= files[t] for t in files)
    assert lake.run(AS_OF + timedelta(days=4))["status"] == "noop"
    log = Path(lake.root) / "profiles/_delta_log"
    assert list(log.glob("*.checkpoint.parquet"))
    for name in ("events", "identities", "profiles"):
        opened = lake.tables.open(table(name))
        assert opened is not None
        told_columns = {
            c.split(".", 1)[1]
            for c in pa.table(opened.get_add_actions(flatten=True)).column_names
            if c.startswith(("min.", "max."))
        }
        assert not told_columns & {c.name for c in table(name).columns if c.personal}
