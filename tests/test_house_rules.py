"""The rules of the house that ruff cannot say, checked on the syntax trees of our own files.

Each rule is a function from a file to its faults, so each is shown a file that breaks it too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from jobs import compact, profiles_sync, publish, stitch
from lake.run.facts import FACTS
from lake.schema import Table
from lake.tables import TABLES

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("lake", "jobs")
EVERYTHING = (*PRODUCT, "tests", "bench", "jars")

#: A function of more lines says in a docstring what it does, private ones too.
SHORT = 25
#: What prints a frame, takes all of it to the driver, or hides columns in a string.
NOT_IN_LAKE = {"toPandas", "show", "selectExpr", "withColumnRenamed"}
#: Calls without arguments that make Spark run. `take` makes it run where it is given a number.
ACTIONS = {"collect", "count", "isEmpty", "first", "head", "toArrow", "toLocalIterator"}
MAY_ACT = ("jobs/", "lake/io/", "lake/quality/", "lake/run/", "lake/cli/")
CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("date", "today"), ("time", "time")}
MAY_ASK_THE_TIME = ("lake/run/", "lake/io/lease.py", "lake/io/objects.py")
SAYS_NOTHING = {"df", "data", "tmp", "util", "utils"}

JOBS = {"compact": compact, "stitch": stitch, "publish": publish, "profiles_sync": profiles_sync}
#: Where identifiers are taken by new rules from calls that are stored, `stitch` rewrites them.
ALSO_WRITES = {("stitch", "events")}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """A file: its path from the root of the checkout, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    def functions(self) -> Iterator[Function]:
        return (n for n in ast.walk(self.tree) if isinstance(n, Function))

    def at(self, node: ast.AST, fault: str) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}: {fault}"


Rule = Callable[[Source], Iterator[str]]


def calls(node: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Every call of a method or of a function of a module, with its last name."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            yield call, call.func.attr


def long_without_docstring(source: Source) -> Iterator[str]:
    for function in source.functions():
        lines = (function.end_lineno or 0) - function.lineno + 1
        if lines > SHORT and not ast.get_docstring(function):
            yield source.at(function, f"{function.name} has {lines} lines and no docstring")


def staircases(source: Source) -> Iterator[str]:
    for function in source.functions():
        steps = sum(name == "withColumn" for _, name in calls(function))
        if steps > 1:
            yield source.at(function, f"{function.name} calls withColumn {steps} times: one select")


def frames_shown(source: Source) -> Iterator[str]:
    for call, name in calls(source.tree):
        if name in NOT_IN_LAKE and source.path.startswith("lake/"):
            yield source.at(call, f".{name}()")


def actions_off_the_edge(source: Source) -> Iterator[str]:
    if source.path.startswith(MAY_ACT):
        return
    for call, name in calls(source.tree):
        bare = not call.args and not call.keywords
        number = len(call.args) == 1 and isinstance(call.args[0], ast.Constant)
        if (name in ACTIONS and bare) or (name == "take" and number):
            yield source.at(call, f".{name}() makes Spark run")


def clocks_read(source: Source) -> Iterator[str]:
    if source.path.startswith(MAY_ASK_THE_TIME):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute):
            asked = (ast.unparse(node.value).rpartition(".")[2], node.attr)
            if asked in CLOCKS:
                yield source.at(node, f"{asked[0]}.{asked[1]}: take the time as an argument")


def names_that_say_nothing(source: Source) -> Iterator[str]:
    if Path(source.path).stem in SAYS_NOTHING:
        yield source.at(source.tree, f"a module called {Path(source.path).stem}")
    for node in ast.walk(source.tree):
        bound = node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else ""
        bound = node.arg if isinstance(node, ast.arg) else bound
        bound = node.name if isinstance(node, (*Function.__args__, ast.ClassDef)) else bound
        bound = (node.asname or "") if isinstance(node, ast.alias) else bound
        if bound in SAYS_NOTHING:
            yield source.at(node, f"the name {bound} says nothing")


def modules_without_docstring(source: Source) -> Iterator[str]:
    if source.tree.body and not ast.get_docstring(source.tree):
        yield source.at(source.tree, "no docstring")


def sources(folders: tuple[str, ...]) -> list[Source]:
    found = [p for folder in folders for p in sorted((ROOT / folder).rglob("*.py"))]
    return [Source(str(p.relative_to(ROOT)), p.read_text("utf-8")) for p in found]


def faults(rule: Rule, folders: tuple[str, ...]) -> list[str]:
    return [fault for source in sources(folders) for fault in rule(source)]


def test_a_long_function_of_the_product_has_a_docstring() -> None:
    assert faults(long_without_docstring, PRODUCT) == []


def test_columns_are_made_by_one_select_and_not_step_by_step() -> None:
    assert faults(staircases, PRODUCT) == []


def test_no_frame_is_shown_or_taken_to_pandas_in_lake() -> None:
    assert faults(frames_shown, PRODUCT) == []


def test_only_the_edge_makes_spark_run() -> None:
    assert faults(actions_off_the_edge, PRODUCT) == []


def test_only_the_run_and_the_lease_ask_for_the_time() -> None:
    assert faults(clocks_read, PRODUCT) == []


def test_no_name_says_nothing() -> None:
    assert faults(names_that_say_nothing, EVERYTHING) == []


def test_every_module_says_what_it_is() -> None:
    assert faults(modules_without_docstring, EVERYTHING) == []


LONG = "def f():\n" + "    x = 1\n" * SHORT


@pytest.mark.parametrize(
    ("rule", "path", "text", "found"),
    [
        (long_without_docstring, "lake/a.py", LONG, "lake/a.py:1: f has 26 lines and no docstring"),
        (
            staircases,
            "lake/a.py",
            "def f(e):\n    return e.withColumn('a', x).withColumn('b', y)\n",
            "lake/a.py:1: f calls withColumn 2 times: one select",
        ),
        (frames_shown, "lake/a.py", "e.selectExpr('a')\n", "lake/a.py:1: .selectExpr()"),
        (
            actions_off_the_edge,
            "lake/identity/a.py",
            "n = F.count('x')\nn = e.count()\n",
            "lake/identity/a.py:2: .count() makes Spark run",
        ),
        (
            actions_off_the_edge,
            "lake/events/a.py",
            "batch.take(rows)\ne.take(1)\n",
            "lake/events/a.py:2: .take() makes Spark run",
        ),
        (
            clocks_read,
            "lake/cli/a.py",
            "import datetime\nx = datetime.datetime.now(UTC)\n",
            "lake/cli/a.py:2: datetime.now: take the time as an argument",
        ),
        (
            names_that_say_nothing,
            "lake/a.py",
            "def f(df):\n    return df.data\n",
            "lake/a.py:1: the name df says nothing",
        ),
        (
            names_that_say_nothing,
            "lake/util.py",
            '"""Odds and ends."""\n',
            "lake/util.py:1: a module called util",
        ),
        (modules_without_docstring, "lake/a.py", "x = 1\n", "lake/a.py:1: no docstring"),
    ],
)
def test_a_file_that_breaks_a_rule_is_found(rule: Rule, path: str, text: str, found: str) -> None:
    assert list(rule(Source(path, text))) == [found]


@pytest.mark.parametrize("declared", TABLES, ids=lambda t: t.name)
def test_a_table_has_one_writer_and_says_which(declared: Table) -> None:
    writers = [name for name, job in JOBS.items() if declared in job.WRITES]

    assert (writers or ["run"]) == [declared.writer]


def committed(job: str) -> set[str]:
    """The tables whose constants a job's functions hand to a writing call, or to one that is put
    together for later."""
    written = set()
    for call in ast.walk(Source(job, (ROOT / "jobs" / f"{job}.py").read_text()).tree):
        if not isinstance(call, ast.Call):
            continue
        said = [call.func, *call.args]
        if ast.unparse(call.func) == "partial":
            said = said[1:]
        verb = ast.unparse(said[0]).rpartition(".")[2]
        if verb in ("append", "append_rows", "replace", "update", "put"):
            written |= {arg.id for arg in said[1:2] if isinstance(arg, ast.Name)}
    # What follows from events is written in a loop, by the one job whose they are.
    accounts = {"account_observations", "account_activity"}
    optional = {*accounts, "activity", "consent_observations", "identify_calls"}
    facts = FACTS.keys() | optional if job == "stitch" else set()
    return {t.name for t in TABLES if t.name.upper() in written} | facts


def read(job: str) -> set[str]:
    """The tables whose constants a job's functions hand to ``read``."""
    tree = Source(job, (ROOT / "jobs" / f"{job}.py").read_text()).tree
    named = {ast.unparse(c.args[0]) for c, verb in calls(tree) if verb == "read" and c.args}
    return {t.name for t in TABLES if t.name.upper() in named}


@pytest.mark.parametrize("job", JOBS)
def test_a_job_writes_what_it_declares_and_nothing_else(job: str) -> None:
    also = {table for name, table in ALSO_WRITES if name == job}
    # The publication is committed by lake.io.publications, which the job calls.
    through_the_edge = {"publications"} if job == "publish" else set()

    declared = {t.name for t in JOBS[job].WRITES}

    assert committed(job) | through_the_edge == declared | also


@pytest.mark.parametrize("job", JOBS)
def test_a_job_reads_only_what_it_declares_or_has_written(job: str) -> None:
    declared = {t.name for t in (*JOBS[job].READS, *JOBS[job].WRITES)}

    assert read(job) - declared == set()


@pytest.mark.parametrize("job", JOBS)
def test_a_job_reads_every_table_it_declares(job: str) -> None:
    text = (ROOT / "jobs" / f"{job}.py").read_text()

    uses = {t.name: len(re.findall(rf"\b{t.name.upper()}\b", text)) for t in JOBS[job].READS}

    # Once in the import, once in READS: a third time where it is used.
    assert [name for name, n in uses.items() if n < 3] == []


def test_every_table_and_every_column_has_a_sentence() -> None:
    said = [(t.name, "", t.about) for t in TABLES]
    said += [(t.name, c.name, c.about) for t in TABLES for c in t.columns]

    mute = [(table, column) for table, column, about in said if not about.endswith(".")]
    short = [(table, column) for table, column, about in said if len(about.split()) < 2]

    assert (mute, short) == ([], [])


def test_the_grain_of_a_table_is_made_of_its_columns() -> None:
    wrong = {t.name: set(t.grain) - set(t.names) for t in TABLES if set(t.grain) - set(t.names)}

    assert wrong == {}


def test_every_table_is_declared_once() -> None:
    names = [t.name for t in TABLES]

    assert sorted(set(names)) == sorted(names)
