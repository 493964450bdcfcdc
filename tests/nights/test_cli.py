"""The command line on a lake that is there, and on configurations that are wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lake.cli.world import KIOSK, World
from tests.nights.conftest import Lake, Zone
from tests.support.nights import Site, commands, environment

MODULES = """
import json, sys
from lake.cli.main import main
try:
    main()
finally:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def test_lookup_answers_in_a_fresh_process_without_spark(one_night: Lake) -> None:
    arguments = commands(one_night.site, "lookup", "email", " Ann@Example.com", "--output", "json")
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", MODULES, *arguments[1:]],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    print(f"lookup in a fresh process: {time.monotonic() - began:.2f} s")

    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    expected = one_night.site.publication().query(
        "select p.profile_id, p.calls from profiles p join profile_identifiers i "
        "on p.profile_id = i.profile_id where i.value = 'ann@example.com'"
    )
    assert [{"profile_id": found["profile_id"], "calls": found["calls"]}] == expected.to_pylist()
    assert "ann@example.com" in found["identifiers"]["email"]
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert not loaded & {"pyspark", "great_expectations", "py4j", "pandas"}


def test_lookup_of_nobody_says_so_and_does_not_repeat_the_value(one_night: Lake) -> None:
    done = ran(one_night.site, "lookup", "email", "nobody-at-all@example.com")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("profile-lake: No profile has this email in publication 1.")
    assert "nobody-at-all" not in done.stderr


def test_explain_tells_which_calls_made_two_customers_of_a_kiosk_one_and_what_parts_them(
    one_night: Lake, zone: Zone
) -> None:
    """In this lake nothing is limited, so the store's tablet has merged all who ordered on it."""
    kiosk = {i for i, owner in zone.world.truth().items() if owner is None}
    one, other = (("user_id", person.user_id) for person in zone.world.people[KIOSK][1:3])

    text = ran(one_night.site, "explain", *one, *other).stdout
    found = json.loads(ran(one_night.site, "explain", *one, *other, "--output", "json").stdout)

    assert len(found["profiles"]) == 1
    middle = {tuple(link[end]) for link in found["links"] for end in ("from", "to")} - {one, other}
    assert middle & kiosk == middle != set()
    calls = {call for link in found["links"] for call in link["calls"]}
    assert calls & set(found["profiles"][0]["calls"]) == calls != set()
    first = found["links"][0]["first"]["message_id"]
    assert f"{one[1]} and user_id {other[1]} are one person" in text
    assert first in text
    assert found["cut"]["calls"]
    blocked = {(value["type"], value["value"]) for value in found["cut"]["blocked"]}
    assert len(blocked) == 2
    assert blocked <= kiosk
    assert "which the same calls carry" in text
    assert f"never_together,user_id,{one[1]},user_id,{other[1]}" in text


def test_runs_validate_and_schema_speak_json(one_night: Lake) -> None:
    (run,) = json.loads(ran(one_night.site, "runs", "--output", "json").stdout)
    assert (run["run_id"], run["status"], run["publication"]) == ("00000001", "published", 1)
    facts = json.loads(ran(one_night.site, "validate", "--output", "json").stdout)
    assert (facts["space"], facts["strategy"]) == ("shop", "components")
    assert list(facts["sources"]) == list(World(calls=1_200).sources)
    command = commands(one_night.site, "schema")[:2]
    schema = json.loads(
        subprocess.run(command, env=environment(), capture_output=True, check=True).stdout
    )
    assert {"space", "root", "sources", "identity"} <= set(schema["properties"])


RIGHT = """\
space: shop
root: ./lake
sources:
  web: {path: ./landing/web}
"""
WRONG = {
    "an unknown key": (RIGHT + "identiy: {}\n", 5, "identiy: unknown key"),
    "a pattern RE2 refuses": (
        RIGHT + 'identity:\n  blocked:\n    patterns: ["(?=secret)"]\n',
        7,
        "identity.blocked.patterns",
    ),
    "two sources on one path": (RIGHT + "  app: {path: landing/web}\n", 5, "sources.app"),
    "a missing variable": (RIGHT.replace("./lake", "${NO_SUCH_VARIABLE}"), 2, "NO_SUCH_VARIABLE"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_configuration_exits_2_with_its_line_and_starts_nothing(
    tmp_path: Path, fault: str
) -> None:
    text, line, said = WRONG[fault]
    config = tmp_path / "lake.yaml"
    config.write_text(text)

    done = ran(Site(config, str(tmp_path / "lake")), "run", "--output", "json")

    assert done.returncode == 2
    assert done.stdout == ""
    assert f"lake.yaml:{line}: " in done.stderr
    assert said in done.stderr
    assert "secret" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["lake.yaml"]


def ran(lake: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        commands(lake, *arguments),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
