"""Suites are read whole, and every mistake in one is told with its place."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from lake.errors import ConfigError
from lake.quality import judge
from lake.quality.expectations import Expectation, Suite, load_suites
from lake.quality.phrases import phrase
from lake.tables import PUBLISHED

ROOT = Path(__file__).resolve().parents[2]

UNIQUE = {
    "type": "expect_column_values_to_be_unique",
    "kwargs": {"column": "profile_id"},
    "meta": {"severity": "block", "about": "A profile is one row."},
}


def suite_file(folder: Path, *entries: Any, file: str = "profiles.json", **more: Any) -> Path:
    path = folder / file
    path.write_text(json.dumps({"name": "own", "expectations": list(entries), **more}))
    return path


def refusal(folder: Path) -> str:
    with pytest.raises(ConfigError) as error:
        load_suites(folder)
    return str(error.value)


def test_every_published_table_has_a_shipped_suite() -> None:
    assert sorted(load_suites(None)) == sorted(t.name for t in PUBLISHED)


def test_great_expectations_knows_every_shipped_expectation_and_its_arguments() -> None:
    shipped = [e for s in load_suites(None).values() for e in s.expectations]
    assert {e.type for e in shipped} <= set(judge.types())
    assert [(e.phrase, judge.problems(e.type, e.kwargs)) for e in shipped] == [
        (e.phrase, []) for e in shipped
    ]


def test_the_suites_of_a_checkout_are_in_great_expectations_own_format() -> None:
    judge.types()
    from great_expectations import ExpectationSuite

    for file in sorted((ROOT / "conf" / "expectations").glob("*.json")):
        document = json.loads(file.read_text())
        suite = ExpectationSuite(**document)
        assert [e.configuration.type for e in suite.expectations] == [
            e["type"] for e in document["expectations"]
        ]


def test_the_grain_of_every_published_table_is_unique_and_not_null_or_nothing_is_published() -> (
    None
):
    suites = load_suites(None)
    for declared in PUBLISHED:
        blocks = {e.phrase for e in suites[declared.name].expectations if e.severity == "block"}
        together = " are unique together" if len(declared.grain) > 1 else " is unique"
        assert {f"{c} is not null" for c in declared.grain} <= blocks
        assert ", ".join(declared.grain) + together in blocks


def test_an_own_suite_replaces_that_of_its_table_and_leaves_the_others(tmp_path: Path) -> None:
    suite_file(tmp_path, UNIQUE)
    (tmp_path / "README.md").write_text("Our own expectations.")
    expected = Expectation(
        type="expect_column_values_to_be_unique",
        kwargs={"column": "profile_id"},
        severity="block",
        about="A profile is one row.",
        phrase="profile_id is unique",
    )
    shipped = load_suites(None)
    assert load_suites(tmp_path) == {**shipped, "profiles": Suite("profiles", (expected,))}


def test_suites_are_read_from_a_zip_of_the_package(tmp_path: Path) -> None:
    archive = tmp_path / "profile_lake.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in sorted((ROOT / "lake").rglob("*.py")):
            packed.write(file, file.relative_to(ROOT))
        for file in sorted((ROOT / "conf" / "expectations").glob("*.json")):
            packed.write(file, f"lake/quality/suites/{file.name}")
    script = tmp_path / "names.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(archive)!r})\n"
        "import lake.quality.expectations as e\n"
        "print(e.__file__.startswith(sys.path[0]), *sorted(e.load_suites(None)))\n"
    )
    told = subprocess.run(
        [sys.executable, "-I", str(script)],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert told.stdout.split() == ["True", *sorted(t.name for t in PUBLISHED)]


def test_a_package_without_suites_says_so(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "lake", tmp_path / "lake")
    script = tmp_path / "names.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import lake.errors, lake.quality.expectations as e\n"
        "try:\n    e.load_suites(None)\n"
        "except lake.errors.SetupError as error:\n    print(error)\n"
    )
    told = subprocess.run(
        [sys.executable, "-I", str(script)],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert told.stdout.startswith("lake/quality/suites: the expectation suites are not in this")


def changed(**changes: Any) -> dict[str, Any]:
    return {**UNIQUE, **changes}


MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    (
        "an unknown expectation",
        changed(type="expect_column_values_to_be_uniqe"),
        "expectations[1] (expect_column_values_to_be_uniqe): unknown expectation type. "
        "Did you mean expect_column_values_to_be_unique?",
    ),
    (
        "a column the table does not have",
        changed(kwargs={"column": "profil_id"}),
        "expectations[1] (expect_column_values_to_be_unique): kwargs.column: "
        "profiles has no column profil_id. Did you mean profile_id?",
    ),
    (
        "a column in a list",
        changed(
            type="expect_compound_columns_to_be_unique",
            kwargs={"column_list": ["profile_id", "cals"]},
        ),
        "expectations[1] (expect_compound_columns_to_be_unique): kwargs.column_list: "
        "profiles has no column cals. Did you mean calls?",
    ),
    (
        "an unknown severity",
        changed(meta={"severity": "warning", "about": "Why."}),
        "expectations[1] (expect_column_values_to_be_unique): meta.severity is 'warning', "
        "not block or warn. Did you mean warn?",
    ),
    (
        "no reason",
        changed(meta={"severity": "warn"}),
        "expectations[1] (expect_column_values_to_be_unique): meta.about is missing: "
        "a sentence that says why it matters.",
    ),
    (
        "an unknown key",
        changed(kwarg={}),
        "expectations[1] (expect_column_values_to_be_unique): unknown key kwarg. "
        "Did you mean kwargs?",
    ),
    (
        "an unknown argument",
        changed(kwargs={"column": "profile_id", "mosty": 0.9}),
        "expectations[1] (expect_column_values_to_be_unique): kwargs.mosty: "
        "extra fields not permitted.",
    ),
    (
        "an argument out of its range",
        changed(kwargs={"column": "profile_id", "mostly": 95}),
        "expectations[1] (expect_column_values_to_be_unique): kwargs.mostly: "
        "ensure this value is less than or equal to 1.0; kwargs.mostly: "
        "value is not a valid dict.",
    ),
    (
        "a result format that would hold rows",
        changed(kwargs={"column": "profile_id", "result_format": "COMPLETE"}),
        "expectations[1] (expect_column_values_to_be_unique): kwargs.result_format "
        "is not to be set: the gate sets it.",
    ),
    (
        "a query of something else",
        changed(
            type="unexpected_rows_expectation",
            kwargs={"unexpected_rows_query": "SELECT 1 FROM other"},
        ),
        "expectations[1] (unexpected_rows_expectation): kwargs.unexpected_rows_query "
        "does not read {batch}, the candidate table.",
    ),
]


@pytest.mark.parametrize(("entry", "told"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_in_an_expectation_is_told_with_its_place(
    tmp_path: Path, entry: dict[str, Any], told: str
) -> None:
    path = suite_file(tmp_path, UNIQUE, entry)
    assert refusal(tmp_path) == f"{path}: {told}"


def test_a_suite_for_no_published_table_is_refused(tmp_path: Path) -> None:
    path = suite_file(tmp_path, UNIQUE, file="profile.json")
    assert refusal(tmp_path) == (
        f"{path}: there is no published table profile. Did you mean profiles?"
    )


def test_a_suite_for_an_internal_table_is_refused_since_nobody_would_run_it(tmp_path: Path) -> None:
    path = suite_file(tmp_path, UNIQUE, file="sightings.json")
    assert refusal(tmp_path) == f"{path}: there is no published table sightings."


def test_a_file_that_is_not_json_is_told_with_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "profiles.json"
    path.write_text('{"name": "profiles",\n "expectations": [,]}')
    assert refusal(tmp_path) == f"{path}: line 2, column 19: Expecting value."


def test_a_suite_without_expectations_is_refused(tmp_path: Path) -> None:
    path = suite_file(tmp_path)
    assert refusal(tmp_path) == f'{path}: a suite needs a "name" and a list of "expectations".'


def test_an_unknown_key_of_the_suite_is_refused(tmp_path: Path) -> None:
    path = suite_file(tmp_path, UNIQUE, expectation=[])
    assert refusal(tmp_path) == f"{path}: unknown key expectation. Did you mean expectations?"


def test_a_folder_without_a_suite_is_refused(tmp_path: Path) -> None:
    (tmp_path / "profiles.yaml").write_text("")
    assert re.match(
        ".*: no suite in it; a suite is a file such as profiles.json", refusal(tmp_path)
    )


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert refusal(gone) == f"{gone}: there is no such folder of expectation suites."


def test_two_expectations_of_the_same_words_are_numbered(tmp_path: Path) -> None:
    one_of: dict[str, Any] = {
        "type": "expect_column_values_to_be_in_set",
        "meta": {"severity": "warn", "about": "Why."},
    }
    first = {**one_of, "kwargs": {"column": "first_source", "value_set": ["web"]}}
    second = {**one_of, "kwargs": {"column": "first_source", "value_set": ["app"]}}
    suite_file(tmp_path, first, second)
    assert [e.phrase for e in load_suites(tmp_path)["profiles"].expectations] == [
        "first_source is one of 1 values",
        "first_source is one of 1 values (2)",
    ]


def test_a_phrase_never_repeats_the_values_of_a_set() -> None:
    kwargs = {"column": "value", "value_set": ["ada@example.com"]}
    assert phrase("expect_column_values_to_not_be_in_set", kwargs) == (
        "column values to not be in set (column=value, value_set=1 values)"
    )
