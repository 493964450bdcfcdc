"""Expectation suites: read from files, checked as a whole, before anything is started.

A suite is a file ``<table>.json`` in Great Expectations' format::

    {"name": "profiles", "expectations": [
      {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "profile_id"},
       "meta": {"severity": "block", "about": "A profile is one row."}}]}

``meta.severity`` says what a failure does (``block`` or ``warn``), ``meta.about`` why it matters.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal

from lake.errors import ConfigError, SetupError
from lake.quality import judge
from lake.quality.phrases import phrase
from lake.tables import PUBLISHED, table

Severity = Literal["block", "warn"]

SUITE_KEYS = ("name", "expectations", "meta", "notes", "id", "suite_parameters")
EXPECTATION_KEYS = ("type", "kwargs", "meta", "notes", "id", "description", "severity")

#: Arguments that name columns of the table: one name or a list of them.
COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list", "column_set")

#: Arguments by which a suite could make Great Expectations hold rows, or look elsewhere.
REFUSED_ARGUMENTS = ("result_format", "catch_exceptions", "batch_id")


@dataclass(frozen=True)
class Expectation:
    """One expectation; ``phrase`` says it in words and is unique within its suite."""

    type: str
    kwargs: Mapping[str, Any]
    severity: Severity
    about: str
    phrase: str


@dataclass(frozen=True)
class Suite:
    """What is expected of one published table, in the order of its file."""

    table: str
    expectations: tuple[Expectation, ...]


def load_suites(folder: Path | None) -> dict[str, Suite]:
    """The suites by table: those shipped with the product, single tables replaced by ``folder``'s.

    Raises ConfigError, naming the file and the place in it, if a file is no suite, its table is
    not published, or an expectation has an unknown type, argument, column or severity. Files in
    ``folder`` other than ``*.json`` are left alone. Great Expectations is imported (seconds) only
    where ``folder`` is given; the shipped suites are checked against it by the tests.
    """
    suites = {s.table: s for s in map(_suite, _json_files(_shipped()))}
    if folder is None:
        return suites
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder of expectation suites.")
    own = _json_files(folder)
    if not own:
        raise ConfigError(f"{folder}: no suite in it; a suite is a file such as profiles.json.")
    for file in own:
        suite = _suite(file)
        _check_arguments(str(file), suite)
        suites[suite.table] = suite
    return suites


def _shipped() -> Traversable:
    """The product's own suites: inside the package where it was packed, else of the checkout."""
    packed = files("lake.quality").joinpath("suites")
    if packed.is_dir():
        return packed
    checkout = Path(__file__).resolve().parents[2] / "conf" / "expectations"
    if checkout.is_dir():
        return checkout
    raise SetupError(
        "lake/quality/suites: the expectation suites are not in this package. "
        "Build the wheel again from a whole checkout."
    )


def _json_files(folder: Traversable) -> list[Traversable]:
    found = (f for f in folder.iterdir() if f.name.endswith(".json"))
    return sorted(found, key=lambda f: f.name)


def _suite(file: Traversable) -> Suite:
    """The suite in a file; every check that needs nothing but the file and ``lake.tables``."""
    name = file.name.removesuffix(".json")
    names = [t.name for t in PUBLISHED]
    if name not in names:
        raise ConfigError(
            f"{file}: there is no published table {name}.{_did_you_mean(name, names)}"
        )
    document = _document(file)
    where = str(file)
    _check_keys(where, document, SUITE_KEYS)
    entries = document.get("expectations")
    if not isinstance(document.get("name"), str) or not isinstance(entries, list) or not entries:
        raise ConfigError(f'{file}: a suite needs a "name" and a list of "expectations".')
    found = [_expectation(f"{where}: expectations[{i}]", name, e) for i, e in enumerate(entries)]
    return Suite(name, tuple(_told_apart(found)))


def _document(file: Traversable) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as e:
        raise ConfigError(f"{file}: line {e.lineno}, column {e.colno}: {e.msg}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: not UTF-8.") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{file}: a suite is an object, not {_kind(document)}.")
    return document


def _expectation(where: str, table_name: str, entry: object) -> Expectation:
    if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
        raise ConfigError(f'{where}: an expectation is an object with a "type".')
    where = f"{where} ({entry['type']})"
    _check_keys(where, entry, EXPECTATION_KEYS)
    kwargs, meta = entry.get("kwargs", {}), entry.get("meta", {})
    if not isinstance(kwargs, dict) or not isinstance(meta, dict):
        raise ConfigError(f"{where}: kwargs and meta are objects.")
    severity, about = meta.get("severity"), meta.get("about")
    if severity not in ("block", "warn"):
        hint = _did_you_mean(str(severity), ("block", "warn"))
        raise ConfigError(f"{where}: meta.severity is {severity!r}, not block or warn.{hint}")
    if not isinstance(about, str) or not about.strip():
        raise ConfigError(f"{where}: meta.about is missing: a sentence that says why it matters.")
    _check_columns(where, table_name, kwargs)
    _check_query(where, kwargs)
    asks = entry["type"] == "unexpected_rows_expectation"
    # A query says little to whoever is woken by it; what it is about was written for them.
    words = about.removesuffix(".") if asks else phrase(entry["type"], kwargs)
    return Expectation(entry["type"], kwargs, severity, about, words)


def _check_keys(where: str, found: Mapping[str, Any], known: Iterable[str]) -> None:
    for key in found:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key}.{_did_you_mean(key, known)}")


def _check_columns(where: str, table_name: str, kwargs: Mapping[str, Any]) -> None:
    columns = table(table_name).names
    for argument in COLUMN_ARGUMENTS:
        value = kwargs.get(argument, [])
        for column in [value] if isinstance(value, str) else value:
            if column not in columns:
                raise ConfigError(
                    f"{where}: kwargs.{argument}: {table_name} has no column {column}."
                    + _did_you_mean(str(column), columns)
                )
    for argument in REFUSED_ARGUMENTS:
        if argument in kwargs:
            raise ConfigError(f"{where}: kwargs.{argument} is not to be set: the gate sets it.")


def _check_query(where: str, kwargs: Mapping[str, Any]) -> None:
    query = kwargs.get("unexpected_rows_query")
    if query is not None and "{batch}" not in str(query):
        raise ConfigError(
            f"{where}: kwargs.unexpected_rows_query does not read {{batch}}, the candidate table."
        )


def _check_arguments(file: str, suite: Suite) -> None:
    """Raises ConfigError where Great Expectations does not know a type or takes other arguments."""
    for i, e in enumerate(suite.expectations):
        where = f"{file}: expectations[{i}] ({e.type})"
        known = judge.types()
        if e.type not in known:
            raise ConfigError(f"{where}: unknown expectation type.{_did_you_mean(e.type, known)}")
        problems = judge.problems(e.type, e.kwargs)
        if problems:
            raise ConfigError(f"{where}: " + "; ".join(problems) + ".")


def _told_apart(expectations: list[Expectation]) -> list[Expectation]:
    """The expectations, a phrase that occurs again numbered from 2: verdicts are kept by phrase."""
    seen: Counter[str] = Counter()
    told = []
    for e in expectations:
        seen[e.phrase] += 1
        again = f"{e.phrase} ({seen[e.phrase]})" if seen[e.phrase] > 1 else e.phrase
        told.append(Expectation(e.type, e.kwargs, e.severity, e.about, again))
    return told


def _did_you_mean(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), n=1)
    return f" Did you mean {close[0]}?" if close else ""


def _kind(value: object) -> str:
    return {list: "a list", str: "a string", type(None): "null"}.get(type(value), "a number")
