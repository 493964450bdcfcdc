"""The analyst's notebook and README's snippets run, on a lake of one night."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from pyspark.sql import SparkSession

from jobs import PIPELINE
from lake.cli.demo import prepared
from lake.cli.world import World
from lake.config import load
from lake.io.reader import opened
from lake.progress import Progress
from lake.run.night import night

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "read_the_lake.ipynb"
SNIPPETS = re.findall(
    r"^```python\n(.*?)^```", (ROOT / "README.md").read_text("utf-8"), re.M | re.S
)
CHARTS = ("identifiers", "calls", "traits", "sizes", "retention")


def cells(notebook: Any, kind: str) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == kind]


@pytest.fixture(scope="module")
def published(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a lake of one night of a small shop; `spark` is the session the night takes."""
    folder = tmp_path_factory.mktemp("demo")
    world = World(calls=1_200, days=1)
    config = prepared(folder, world)
    world.write_day(folder / "landing", 0)
    record = night(
        load(config, os.environ),
        PIPELINE,
        as_of=datetime(2026, 11, 3, tzinfo=UTC),
        progress=Progress(quiet=True),
    )
    assert record["status"] == "published"
    return folder / "lake"


@pytest.fixture(scope="module")
def executed(published: Path) -> Iterator[Any]:
    """The notebook after all of its cells; raises CellExecutionError where one fails."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    before = os.environ.get("LAKE_ROOT")
    os.environ["LAKE_ROOT"] = str(published)
    try:
        client = NotebookClient(
            notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
        )
        yield client.execute()
    finally:
        os.environ.pop("LAKE_ROOT")
        if before is not None:
            os.environ["LAKE_ROOT"] = before


def text(notebook: Any, cell: str) -> str:
    """What a cell printed and showed, as text."""
    (found,) = (c for c in notebook.cells if c.id == cell)
    shown = [o.get("text") or o["data"]["text/plain"] for o in found.outputs]
    return "\n".join(shown)


def test_the_notebook_is_stored_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)

    nbformat.validate(notebook)
    assert [c.id for c in cells(notebook, "code") if c.outputs or c.execution_count] == []


def test_every_code_cell_follows_a_sentence() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)

    pairs = list(zip(notebook.cells, notebook.cells[1:], strict=False))
    bare = [after.id for before, after in pairs if after.cell_type == before.cell_type == "code"]
    mute = [c.id for c in cells(notebook, "markdown") if not c.source.rstrip().endswith(".")]

    assert (bare, mute) == ([], [])


def test_cells_keep_their_names() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)

    assert [c.id for c in cells(notebook, "code")] == [
        "open",
        "profiles",
        "known",
        "identifiers",
        "calls",
        "traits",
        "sizes",
        "person",
        "person-traits",
        "person-calls",
        "why",
        "nights",
        "two-nights",
        "retention",
    ]


def test_every_cell_runs_and_the_charts_are_drawn(executed: Any) -> None:
    failed = [c.id for c in cells(executed, "code") if any("ename" in o for o in c.outputs)]
    drawn = [
        c.id
        for c in cells(executed, "code")
        if any("<svg" in o.get("data", {}).get("image/svg+xml", "") for o in c.outputs)
    ]

    assert (failed, drawn) == ([], list(CHARTS))


def test_the_notebook_shows_what_was_published(executed: Any, published: Path) -> None:
    publication = opened(str(published))
    ann = publication.lookup("email", "ann@example.com")
    identifiers = sum(len(values) for values in ann["identifiers"].values())

    said = text(executed, "open")
    assert said.startswith("Publication 1, dated 2026-11-03 00:00 UTC")
    assert all(f"('{name}', " in said for name in publication.versions)
    assert text(executed, "person").startswith(f"shape: ({identifiers}, 6)")
    assert text(executed, "person-traits").startswith(f"shape: ({len(ann['traits'])}, 5)")
    assert text(executed, "person-calls").startswith(f"shape: ({ann['calls']}, 4)")
    created = publication.query(
        f"select count(*) as n from created_profiles where profile_id = '{ann['profile_id']}'"
    )
    assert text(executed, "why").startswith(f"shape: ({created['n'][0]}, 6)")
    assert "where it was" in text(executed, "two-nights")


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_of_readme_runs(snippet: str, published: Path) -> None:
    # A relative path would mean one below the folder in which the session was started.
    pasted = snippet.replace('"demo/lake"', repr(str(published)))

    names: dict[str, Any] = {}
    exec(compile(pasted, "README.md", "exec"), names)

    assert pasted != snippet
    assert {name: value for name, value in names.items() if value is None} == {}


def test_readme_shows_how_to_read_with_five_readers_and_how_it_was() -> None:
    assert len(SNIPPETS) == 6
