"""The generated parts of README: `python -m tests.support.readme` (or `make docs`) rewrites them.

A part stands between two markers, `<!-- generated: name -->` and `<!-- /generated -->`, and comes
from the product itself, so it cannot say anything else than the product does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

import lake.errors
from jobs import compact, profiles_sync, publish, stitch
from lake.cli.main import app
from lake.config import Config
from lake.events.rejection import SENTENCES
from lake.tables import PUBLISHED, TABLES, reference

ROOT = Path(__file__).resolve().parents[2]
README, MAKEFILE = ROOT / "README.md", ROOT / "Makefile"
JOBS = {"compact": compact, "stitch": stitch, "publish": publish, "profiles_sync": profiles_sync}

_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- /generated -->)", re.DOTALL)


# --- the configuration, from its JSON Schema ------------------------------------------------------


def configuration() -> str:
    """Every setting: its key, its default and its sentence."""
    schema = Config.json_schema()
    rows = [
        f"| `{key}` | {default} | {about} |" for key, default, about in settings(schema, schema, "")
    ]
    return table(("key", "default", "what it does"), rows)


def settings(
    node: Mapping[str, Any], schema: Mapping[str, Any], path: str
) -> Iterator[tuple[str, str, str]]:
    """(key, default, sentence) of each setting below a node; `<name>` stands for any name."""
    for name, setting in node.get("properties", {}).items():
        key = f"{path}{name}"
        single = referred(setting, schema)
        if single is not None:
            yield from settings(single, schema, f"{key}.")
            continue
        needed = name in node.get("required", ())
        yield key, "*needed*" if needed else stated(setting), setting["description"]
        for inner in setting.get("patternProperties", {}).values():
            yield from settings(referred(inner, schema) or {}, schema, f"{key}.<name>.")


def referred(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The group that a node refers to, whose members are settings; else None."""
    found: Mapping[str, Any] | None = None
    if "$ref" in node:
        found = schema["$defs"][node["$ref"].removeprefix("#/$defs/")]
    return found if found and "properties" in found else None


def stated(setting: Mapping[str, Any]) -> str:
    """A default as YAML writes it; nothing where the sentence tells it."""
    if "default" not in setting:
        return ""
    default = setting["default"]
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


# --- commands, exit codes, reasons ----------------------------------------------------------------


def commands() -> str:
    """Every command and its sentence, as `--help` has them."""
    group_of = typer.main.get_group(app)
    rows = [
        f"| `profile-lake {name}{arguments(command)}` | {(command.help or '').strip()} |"
        for name, command in group_of.commands.items()
    ]
    return table(("command", "what it does"), rows)


def arguments(command: Any) -> str:
    """The command's arguments, those it does not need in brackets."""
    named = [p for p in command.params if p.param_type_name == "argument"]
    return "".join(f" {(p.metavar or p.name).upper()}" for p in named)


def exit_codes() -> str:
    """The table of the docstring of lake/errors.py."""
    lines = (lake.errors.__doc__ or "").splitlines()
    return "\n".join(line for line in lines if line.startswith("|")).replace("``", "`")


def reasons() -> str:
    """Why lines are refused."""
    rows = [f"| `{reason}` | {sentence} |" for reason, sentence in SENTENCES.items()]
    return table(("reason", "what it says"), rows)


#: What the product is meant to have and may not have yet; what is there by now is not printed.
MISSING_COMMANDS = {
    "simulate": "the rules on a handful of calls, without Spark",
    "explain": "why identifiers are one profile, or are not",
    "verify": "that the incremental state equals a full rebuild",
    "rollback": "an older publication shown again",
    "erase": "a person removed from every table and from the landing zone",
}
MISSING_TABLES = {
    "activity": "calls by identity set, day and event, with declared measures",
    "profile_redirects": "where a profile_id that is no longer current went",
    "identity_changes": "what became of profiles at each publication",
    "profile_trait_candidates": "trait values that did not win, and why",
    "accounts": "what group calls say of accounts, and their members",
}


def missing() -> str:
    """The commands and tables that are not there yet."""
    there = {*typer.main.get_group(app).commands, *(t.name for t in TABLES)}
    kinds = (("command", MISSING_COMMANDS), ("table", MISSING_TABLES))
    return "\n".join(
        f"- No {kind} `{name}` yet: {what}."
        for kind, planned in kinds
        for name, what in planned.items()
        if name not in there
    )


def targets() -> str:
    """What make can be asked for, as `make help` has it."""
    found = re.findall(r"^([a-z]+):.*?## (.*)$", MAKEFILE.read_text("utf-8"), re.MULTILINE)
    return table(
        ("target", "what it does"), [f"| `make {name}` | {what} |" for name, what in found]
    )


# --- tables and jobs ------------------------------------------------------------------------------


def overview() -> str:
    """Each table and its sentence; what is published first."""
    ordered = [*PUBLISHED, *(t for t in TABLES if t not in PUBLISHED)]
    rows = [f"| [`{t.path}`](#{anchor(t.path)}) | {t.audience} | {t.about} |" for t in ordered]
    return table(("table", "audience", "what it holds"), rows)


def anchor(heading: str) -> str:
    """The fragment by which GitHub reaches a heading that is a path in code."""
    return heading.replace("/", "")


def diagram() -> str:
    """The jobs and the tables between them, as the jobs declare them."""
    published = {t.name for t in PUBLISHED}
    lines = ["```mermaid", "flowchart LR", "  landing[/landing objects/] --> compact"]
    for name, job in JOBS.items():
        written = {t.name for t in job.WRITES}
        lines += [f"  {t.name} --> {name}" for t in job.READS if t.name not in written]
        lines += [f"  {name} --> {t.name}[({t.name})]" for t in job.WRITES]
        lines += [f"  {t.name} -.-> {name}" for t in job.READS if t.name in written]
    drawn = {t.name for job in JOBS.values() for t in job.WRITES}
    lines += [f"  class {','.join(sorted(published & drawn))} published"]
    lines += ["  publications --> readers([readers])"]
    lines += ["  classDef published stroke-width:3px", "```"]
    return "\n".join(lines)


def table(headings: tuple[str, ...], rows: list[str]) -> str:
    return "\n".join([f"| {' | '.join(headings)} |", "|---" * len(headings) + "|", *rows])


PARTS: Mapping[str, Callable[[], str]] = {
    "diagram": diagram,
    "configuration": configuration,
    "commands": commands,
    "overview": overview,
    "tables": reference,
    "exit_codes": exit_codes,
    "reasons": reasons,
    "missing": missing,
    "targets": targets,
}


def rewritten(text: str) -> str:
    """The text with its generated parts made anew. Raises KeyError for a part nobody makes."""
    return _PART.sub(lambda m: f"{m[1]}{PARTS[m[2]]()}\n{m[3]}", text)


def stale(text: str) -> list[str]:
    """The names of the generated parts that are not as they would be made now."""
    now = {m[2]: m[0] for m in _PART.finditer(rewritten(text))}
    return [m[2] for m in _PART.finditer(text) if m[0] != now[m[2]]]


def main() -> None:
    text = README.read_text("utf-8")
    changed = stale(text)
    README.write_text(rewritten(text), "utf-8")
    print(f"README.md: {', '.join(changed) or 'nothing'} rewritten.")


if __name__ == "__main__":
    main()
