"""A crash anywhere changes nothing: the rerun's tables are those of an undisturbed night.

Readers poll meanwhile. They see the publication before or the one after, whole.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from jobs import compact, publish, stitch
from lake.errors import NotFound
from lake.tables import (
    ACTIVITY,
    AUDIENCE_MEMBERS,
    CONSENT_OBSERVATIONS,
    IDENTIFY_CALLS,
    PROFILE_CONSENTS,
    PROFILES_CONSENTED,
    SHARED_VALUES,
)
from tests.nights.conftest import Lake, Zone
from tests.support.nights import AS_OF, SHOP_IDENTITY, Contents, Crash, Site, copied, site

ROOT = Path(__file__).resolve().parents[2]

#: What is not written where nothing is asked of calls, of consent or of shared values, and
#: Profiles Sync is not enabled, as here.
UNASKED = (
    *(SHARED_VALUES, ACTIVITY, AUDIENCE_MEMBERS, IDENTIFY_CALLS),
    *(CONSENT_OBSERVATIONS, PROFILE_CONSENTS, PROFILES_CONSENTED),
)
#: What a night calls its commit boundaries, in order, but for scratch tables.
STEPS = (
    "plan",
    *(t.name for job in (compact, stitch, publish) for t in job.WRITES if t not in UNASKED),
    *("current.json", "runs", "record"),
)
WITHOUT_PHONE = {
    **SHOP_IDENTITY,
    "identifiers": {t: r for t, r in SHOP_IDENTITY["identifiers"].items() if t != "phone"},
}
SECONDS_TO_DIE = 600


def test_a_crash_at_every_commit_boundary_in_turn(
    first_of_two: Lake, two_nights: Lake, tmp_path: Path
) -> None:
    lake = copied(first_of_two.site, tmp_path, "lake", judged=False)
    crashed: list[str] = []

    def crash_once(name: str) -> None:
        if name not in crashed:
            crashed.append(name)
            raise Crash(name)

    while True:
        before = len(crashed)
        with suppress(Crash):
            lake.run(on_step=crash_once)
        if len(crashed) == before:
            break
        after = crashed[-1] in ("current.json", "runs", "record")
        shown = two_nights if after else first_of_two
        assert lake.publication().number == 1 + after
        assert lake.contents() == shown.contents, f"after a crash at {crashed[-1]}"
    assert set(STEPS) <= set(crashed)
    assert set(crashed) == set(two_nights.steps)
    assert_same(lake, two_nights)
    assert not (Path(lake.root) / "_scratch").exists()


def test_new_rules_after_a_crash_count_nothing_twice(
    one_night: Lake, zone: Zone, tmp_path: Path
) -> None:
    """The unfinished run is superseded; what it wrote of the facts stays and is gone on from."""
    sources = zone.sources(one_night.landing)
    lake = site(tmp_path, sources)
    with pytest.raises(Crash):
        lake.run(on_step=crash_at("trait_observations"))
    with pytest.raises(NotFound):
        lake.publication()
    changed = site(tmp_path, sources, judged=False)

    assert changed.run()["status"] == "published"

    assert changed.contents() == one_night.contents
    assert_same_facts(changed, one_night)
    assert changed.leftovers() == one_night.site.leftovers()


def test_what_a_run_resolved_before_it_was_given_up_is_published_by_the_next(
    first_of_two: Lake, two_nights: Lake, tmp_path: Path
) -> None:
    lake = copied(first_of_two.site, tmp_path, judged=False)
    with pytest.raises(Crash):
        lake.run(on_step=crash_at("set_profiles"))
    said = json.loads(lake.config.read_text())
    said["spark"]["conf"]["spark.sql.shuffle.partitions"] = "3"
    lake.config.write_text(json.dumps(said))

    assert lake.run()["pass"] == "incremental"

    assert lake.contents() == two_nights.contents


def test_rules_taken_back_after_a_crash_leave_no_trace(one_night: Lake, tmp_path: Path) -> None:
    """The events and some of the facts were made anew by other rules when the run died."""
    fewer = copied(one_night.site, tmp_path, judged=False, identity=WITHOUT_PHONE)
    with pytest.raises(Crash):
        fewer.run(on_step=crash_at("identity_sets"))
    assert fewer.state("events") != one_night.site.state("events")

    again = Site(tmp_path / "again.yaml", fewer.root)
    again.config.write_text(
        json.dumps(json.loads(fewer.config.read_text()) | {"identity": dict(SHOP_IDENTITY)})
    )
    again.run()

    assert again.contents() == one_night.contents
    assert_same_facts(again, one_night)


def test_other_rules_after_a_crash_on_the_first_night_are_the_rules(
    one_night: Lake, zone: Zone, tmp_path: Path
) -> None:
    sources = zone.sources(one_night.landing)
    fewer = site(tmp_path, sources, identity=WITHOUT_PHONE, judged=False)
    with pytest.raises(Crash):
        fewer.run(on_step=crash_at("ingest_ledger"))
    lake = site(tmp_path, sources, judged=False)
    lake.run()
    assert lake.contents() == one_night.contents
    assert_same_facts(lake, one_night)


def assert_same_facts(lake: Site, undisturbed: Lake) -> None:
    for name in ("identity_sets", "trait_observations", "sightings"):
        assert lake.state(name) == undisturbed.site.state(name), name


def crash_at(step: str) -> Callable[[str], None]:
    def crash(name: str) -> None:
        if name == step:
            raise Crash(name)

    return crash


def assert_same(lake: Site, undisturbed: Lake) -> None:
    """Readers see the same, nothing was written twice, and every table has as many versions."""
    assert lake.contents() == undisturbed.contents
    assert lake.counts() == undisturbed.site.counts()
    assert lake.leftovers() == undisturbed.site.leftovers()
    assert lake.versions() == undisturbed.site.versions()


KILLS = [(step, round(random.Random(step).random(), 2)) for step in STEPS]


SAMPLE = random.Random(20261105).sample(KILLS[:-1], 1)


@pytest.mark.soak
@pytest.mark.parametrize(("step", "seconds"), KILLS)
def test_a_killed_process_on_disk(
    first_of_two: Lake, two_nights: Lake, tmp_path: Path, step: str, seconds: float
) -> None:
    lake = copied(first_of_two.site, tmp_path, "lake", judged=False)
    with polled(lake, {1: first_of_two.contents, 2: two_nights.contents}):
        killed(lake, step, seconds)
        lake.run()
    assert lake.publication().number == 2
    assert_same(lake, two_nights)


@pytest.mark.parametrize(
    ("step", "seconds"),
    [pytest.param(*kill, marks=() if kill in SAMPLE else pytest.mark.soak) for kill in KILLS],
)
def test_a_killed_process_on_s3(
    one_night: Lake, on_s3: Site, tmp_path: Path, step: str, seconds: float
) -> None:
    with polled(on_s3, {1: one_night.contents}):
        killed(on_s3, step, seconds)
        on_s3.run()
    assert on_s3.publication().number == 1
    assert_same(on_s3, one_night)


def killed(lake: Site, step: str, seconds: float) -> None:
    """A night in a process group of its own, dead by SIGKILL at the step."""
    command = [sys.executable, "-m", "tests.support.night_driver", str(lake.config)]
    process = subprocess.Popen(
        [*command, AS_OF.isoformat(), step, str(seconds)],
        cwd=ROOT,
        env={**os.environ, **lake.environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        steps, log = process.communicate(timeout=SECONDS_TO_DIE)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, log[-2000:]
    assert step in steps.split()


@contextmanager
def polled(lake: Site, expected: dict[int, Contents]) -> Iterator[None]:
    """Readers look all the time; each time they see one of the expected publications, whole."""
    over, wrong = threading.Event(), []
    seen: dict[int, Mapping[str, int]] = {}

    def look() -> None:
        now = lake.publication()
        if seen.get(now.number) == now.versions:
            return  # a version of a Delta table never changes
        if now.number < max(seen, default=0) or now.number in seen:
            wrong.append(f"publication {now.number} after {sorted(seen)}")
        seen[now.number] = now.versions
        if lake.contents() != expected.get(now.number):
            wrong.append(f"publication {now.number} is not what it should be")

    def look_all_the_time() -> None:
        while not over.wait(0.3):
            try:
                look()
            except NotFound:
                if seen:
                    wrong.append("no publication any more")
            except Exception as error:
                wrong.append(repr(error))

    reader = threading.Thread(target=look_all_the_time)
    reader.start()
    try:
        yield
        time.sleep(1)
    finally:
        over.set()
        reader.join()
    assert not wrong
    assert set(seen) == set(expected)
