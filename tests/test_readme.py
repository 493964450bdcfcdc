"""README says what the product is: generated parts are fresh, and what it names exists."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import typer

from lake.cli.main import app
from lake.config import Config, load
from lake.tables import TABLES
from tests.support import readme

TEXT = readme.README.read_text("utf-8")
CHANGES = (readme.ROOT / "CHANGELOG.md").read_text("utf-8")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return _FENCE.sub("", text)


def blocks(language: str) -> list[str]:
    return [body for name, body in _FENCE.findall(TEXT) if name == language]


def commanded(text: str) -> str:
    """What stands in code: fenced blocks and inline code."""
    inline = re.findall(r"`([^`\n]+)`", prose(text))
    return "\n".join([*(body for _, body in _FENCE.findall(text)), *inline])


def anchors(text: str) -> set[str]:
    """The fragments by which GitHub reaches the headings of a page."""
    headings = (re.sub(r"[^\w\- ]", "", h.lower()).strip() for h in _HEADING.findall(prose(text)))
    return {heading.replace(" ", "-") for heading in headings}


def test_generated_parts_are_fresh() -> None:
    assert readme.stale(TEXT) == [], "run `make docs`"


def test_every_generated_part_has_its_place() -> None:
    placed = re.findall(r"<!-- generated: (\w+) -->", TEXT)

    assert sorted(placed) == sorted(readme.PARTS)


def test_a_stale_part_is_found_and_made_anew() -> None:
    fresh = readme.rewritten(TEXT)
    old = fresh.replace("| 75 | another run holds the lease |", "| 75 | who knows |")

    assert readme.stale(old) == ["exit_codes"]
    assert readme.rewritten(old) == fresh


@pytest.mark.parametrize("page", [TEXT, CHANGES], ids=["README", "CHANGELOG"])
def test_every_relative_link_leads_somewhere(page: str) -> None:
    links = [link for link in _LINK.findall(prose(page)) if "://" not in link]
    files = [link for link in links if not link.startswith("#")]
    inner = [link.removeprefix("#") for link in links if link.startswith("#")]

    assert [name for name in files if not (readme.ROOT / name.partition("#")[0]).exists()] == []
    assert [name for name in inner if name not in anchors(page)] == []


@pytest.mark.parametrize("page", [TEXT, CHANGES], ids=["README", "CHANGELOG"])
def test_every_make_target_exists(page: str) -> None:
    named = set(re.findall(r"\bmake ([a-z]+)\b", commanded(page)))
    there = set(re.findall(r"^([a-z]+):", readme.MAKEFILE.read_text("utf-8"), re.MULTILINE))

    assert named - there == set()


def test_every_command_exists() -> None:
    named = set(re.findall(r"\bprofile-lake ([a-z]+)\b", commanded(TEXT)))

    assert named - set(typer.main.get_group(app).commands) == set()


def test_every_file_that_is_named_in_code_exists() -> None:
    folders = "|".join(("lake", "jobs", "conf", "tests", "notebooks", "bench"))
    named = re.findall(rf"(?<![\w./-])((?:{folders})/[\w./]+)", commanded(TEXT))

    assert [name for name in named if not (readme.ROOT / name.rstrip("./")).exists()] == []


def test_every_configuration_shown_is_accepted(tmp_path: Path) -> None:
    shown = blocks("yaml")
    file = tmp_path / "lake.yaml"
    secrets = {"S3_KEY": "key", "S3_SECRET": "secret"}

    spaces = []
    for text in shown:
        file.write_text(text)
        spaces.append(load(file, {**os.environ, **secrets}).space)

    assert spaces == ["shop"] * len(shown) != []


def test_the_smallest_configuration_is_the_smallest() -> None:
    smallest = {line.split(":")[0] for line in blocks("yaml")[0].splitlines() if line[0] != " "}
    needed = {name for name, field in Config.model_fields.items() if field.is_required()}

    assert smallest == needed


def test_every_setting_is_in_the_table() -> None:
    rows = set(re.findall(r"^\| `([\w.<>]+)` \|", readme.configuration(), re.MULTILINE))
    groups = {name.split(".")[0] for name in rows}

    assert groups == set(Config.model_fields)
    assert {"sources.<name>.path", "identity.caps.merges", "storage.secret_key"} <= rows


def test_every_table_has_a_place_to_link_to() -> None:
    assert {readme.anchor(t.path) for t in TABLES} - anchors(TEXT) == set()


def test_the_changelog_begins_with_the_version_of_the_product() -> None:
    import lake

    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", CHANGES, re.MULTILINE)

    assert versions[0] == lake.__version__
