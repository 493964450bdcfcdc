"""The `profile-lake` command. Heavy libraries are imported by the command that needs them."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from lake.errors import ConfigError, LakeError

app = typer.Typer(
    help="Raw customer events in, trustworthy customer profiles in open Delta tables out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigFile = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")]
Output = Annotated[str, typer.Option("--output", "-o", help="text or json.")]
AsOf = Annotated[str | None, typer.Option(help="Date of the publication, ISO-8601; default now.")]
Then = Annotated[
    str | None, typer.Option(help="As readers saw it then, ISO-8601, UTC without a zone.")
]
Strict = Annotated[bool, typer.Option(help="Exit with 4 if published with warnings.")]

Full = Annotated[
    bool | None,
    typer.Option(
        "--full/--incremental",
        help="Resolve everything, or what the night touched; default: the cheaper.",
    ),
]

DEFAULT = Path("lake.yaml")


def _night(
    until: str, config: Path, as_of: str | None, output: str, full: bool | None, strict: bool
) -> None:
    from jobs import steps
    from lake.run.shell import shell

    force = None if full is None else "full" if full else "incremental"
    raise typer.Exit(shell(config, steps(until), as_of, output, strict=strict, force=force))


@app.command()
def run(
    config: ConfigFile = DEFAULT,
    as_of: AsOf = None,
    output: Output = "text",
    full: Full = None,
    strict: Strict = False,
) -> None:
    """The whole night: compact, stitch, publish."""
    _night("publish", config, as_of, output, full, strict)


@app.command()
def compact(
    config: ConfigFile = DEFAULT, as_of: AsOf = None, output: Output = "text", full: Full = None
) -> None:
    """Read what has landed into events."""
    _night("compact", config, as_of, output, full, strict=False)


@app.command()
def stitch(
    config: ConfigFile = DEFAULT, as_of: AsOf = None, output: Output = "text", full: Full = None
) -> None:
    """Resolve who is who, after compact."""
    _night("stitch", config, as_of, output, full, strict=False)


@app.command()
def publish(
    config: ConfigFile = DEFAULT,
    as_of: AsOf = None,
    output: Output = "text",
    full: Full = None,
    strict: Strict = False,
) -> None:
    """Judge and expose the profiles, after stitch."""
    _night("publish", config, as_of, output, full, strict)


@app.command()
def validate(config: ConfigFile = DEFAULT, output: Output = "text") -> None:
    """Check a configuration, whole, without starting anything."""
    from lake.config import load
    from lake.quality.expectations import load_suites

    checked = load(config, os.environ)
    folder = checked.quality.expectations
    load_suites(Path(folder) if folder else None)
    facts = {
        "space": checked.space,
        "root": checked.root,
        "sources": {name: source.path for name, source in checked.sources.items()},
        "strategy": checked.identity.strategy,
        "identifiers": list(checked.identity.identifiers),
        "fingerprint": checked.fingerprint,
    }
    _tell(
        facts, output, lambda: f"{config} is right: {len(facts['identifiers'])} identifier types."
    )


@app.command()
def lookup(
    type: Annotated[str, typer.Argument(help="Identifier type, such as email.")],  # noqa: A002
    value: Annotated[str, typer.Argument(help="Its value, in any spelling.")],
    config: ConfigFile = DEFAULT,
    publication: Annotated[int | None, typer.Option(help="Default: the current one.")] = None,
    as_of: Then = None,
    output: Output = "text",
) -> None:
    """The profile of one identifier, from the files, without Spark."""
    from lake.cli.texts import profile_text
    from lake.config import load
    from lake.io.reader import opened
    from lake.run.place import Access
    from lake.run.rules import normalised

    loaded = load(config, os.environ)
    normal = normalised(loaded, type, value) or value
    shown = opened(loaded.root, publication, Access.of(loaded), as_of=_time(as_of))
    found = shown.lookup(type, normal)
    _tell(found, output, lambda: profile_text(found))


@app.command()
def explain(
    type: Annotated[str, typer.Argument(help="Identifier type, such as email.")],  # noqa: A002
    value: Annotated[str, typer.Argument(help="Its value, in any spelling.")],
    other_type: Annotated[str | None, typer.Argument(help="Type of a second one.")] = None,
    other_value: Annotated[str | None, typer.Argument(help="Value of the second one.")] = None,
    config: ConfigFile = DEFAULT,
    publication: Annotated[int | None, typer.Option(help="Default: the current one.")] = None,
    output: Output = "text",
) -> None:
    """Why an identifier is on its profile, or why two are one person or are not; without Spark."""
    from lake.cli.explain import answer
    from lake.cli.explain_text import explanation_text
    from lake.cli.explanation import explanation
    from lake.config import load

    identifiers = [(type, value)]
    if other_type is not None:
        if other_value is None:
            raise ConfigError("explain: the second identifier has no value; wanted TYPE VALUE.")
        identifiers.append((other_type, other_value))
    found = explanation(load(config, os.environ), identifiers, publication)
    told = answer(found) if output == "json" else None
    _tell(told, output, lambda: explanation_text(found))


@app.command()
def diff(
    before: Annotated[int, typer.Argument(help="A publication.")],
    now: Annotated[int, typer.Argument(help="Another one, usually later.")],
    config: ConfigFile = DEFAULT,
    output: Output = "text",
) -> None:
    """What became of profiles from one publication to another, and why; without Spark."""
    from lake.cli.difference import answer, difference, difference_text
    from lake.config import load
    from lake.io.reader import opened
    from lake.run.place import Access

    loaded = load(config, os.environ)
    shown = [opened(loaded.root, number, Access.of(loaded)) for number in (before, now)]
    found = difference(shown[0], shown[1])
    told = answer(found) if output == "json" else None
    _tell(told, output, lambda: difference_text(found))


@app.command()
def runs(
    config: ConfigFile = DEFAULT,
    last: Annotated[int, typer.Option(help="How many.")] = 10,
    output: Output = "text",
) -> None:
    """The last runs and how they ended, newest first."""
    from lake.cli.texts import runs_text
    from lake.config import load
    from lake.run.place import Place

    place = Place(load(config, os.environ))
    newest = place.control.last_run()
    records = [
        place.control.record(n) or {"run_id": f"{n:08d}", "status": "unfinished"}
        for n in range(newest, max(0, newest - last), -1)
    ]
    _tell(records, output, lambda: runs_text(records))


@app.command()
def verify(
    config: ConfigFile = DEFAULT,
    sample: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of raw components to look at; default all."),
    ] = None,
    output: Output = "text",
) -> None:
    """Whether the tables are what a rebuild from `events` gives, row by row; exits 1 if not."""
    from jobs.verify import verify as verified
    from lake.cli.texts import verified_text
    from lake.config import load
    from lake.progress import Progress

    found = verified(
        load(config, os.environ), sample=sample, progress=Progress(quiet=output == "json")
    )
    _tell(found, output, lambda: verified_text(found))
    raise typer.Exit(0 if found["same"] else 1)


@app.command()
def optimize(
    config: ConfigFile = DEFAULT,
    keep: Annotated[int, typer.Option(min=1, help="So many publications stay readable.")] = 30,
    output: Output = "text",
) -> None:
    """Small files together, old files removed; what publications show stays."""
    from lake.cli.texts import optimized_text
    from lake.config import load
    from lake.progress import Progress
    from lake.run.optimizing import optimize as optimized

    found = optimized(
        load(config, os.environ), keep=keep, progress=Progress(quiet=output == "json")
    )
    _tell(found, output, lambda: optimized_text(found))


@app.command()
def simulate(
    events: Annotated[
        str | None, typer.Argument(help="Calls in Segment's shape, one a line; - reads them in.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="An example instead; without any, all are listed.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Whose identity block to use; default: Segment's."),
    ] = None,
    output: Output = "text",
) -> None:
    """The pure rules on a handful of calls, step by step, without a lake and without Spark."""
    from lake.cli.simulate import simulation
    from lake.cli.simulation import answer
    from lake.cli.simulation_text import simulation_text

    heading, found = simulation(events, preset, config, os.environ)
    _tell(answer(found), output, lambda: simulation_text(found, heading))


@app.command()
def schema() -> None:
    """The JSON Schema of the configuration file, for editors."""
    from lake.config import Config

    print(json.dumps(Config.json_schema(), indent=1))


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where to make it; made anew.")] = Path("demo"),
    calls: Annotated[int, typer.Option(help="About how many calls in all.")] = 60_000,
    seed: Annotated[int, typer.Option(help="Another seed, another world.")] = 7,
    output: Output = "text",
) -> None:
    """Three nights on a generated shop: landing zone, lake, profiles, and how right they are."""
    from lake.cli.demo import demo as shown

    raise typer.Exit(shown(folder, calls, seed, output))


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    from lake.run.shell import moment  # which brings all that a run needs

    return moment(text)


def _tell(facts: Any, output: str, text: Any) -> None:
    print(json.dumps(facts, indent=1, default=str) if output == "json" else text())


def main() -> None:
    """Run the command; a LakeError is told in its own words and sets the exit code."""
    try:
        app()
    except LakeError as error:
        print(f"profile-lake: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
