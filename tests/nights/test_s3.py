"""Landing zone, tables and control files in an object store: the same lake as on disk."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from tests.nights.conftest import Lake
from tests.support.nights import AS_OF, Site


def test_a_night_on_s3_is_the_night_on_disk(one_night: Lake, on_s3: Site) -> None:
    record = on_s3.run()

    on_disk = json.loads(
        (Path(one_night.site.root) / "_control/runs/00000001/run.json").read_text()
    )
    ignored = ("seconds",)
    assert {k: v for k, v in record.items() if k not in ignored} == {
        k: v for k, v in on_disk.items() if k not in ignored
    }
    assert on_s3.contents() == one_night.contents
    assert on_s3.leftovers() == one_night.site.leftovers()
    assert list(on_s3.place.objects.versions(f"{on_s3.root}/_scratch")) == []

    versions = on_s3.versions()
    assert on_s3.run(AS_OF + timedelta(days=1))["status"] == "noop"
    assert on_s3.versions() == versions
