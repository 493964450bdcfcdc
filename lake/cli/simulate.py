"""What `profile-lake simulate` is given: calls from a file, standard input or a preset, and rules.

A preset is a file of calls, `presets/<name>.jsonl`, and what it shows, `presets/<name>.md`: a
title, then a paragraph.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast

from pydantic import ValidationError

from lake.cli.simulation import Rulebook, Simulation, simulated
from lake.cli.simulation_text import Heading
from lake.config import Config, checks
from lake.config.document import Document, Fault, document
from lake.config.faults import worded
from lake.config.overrides import Overrides, overrides
from lake.errors import ConfigError
from lake.run.rules import blocked, extraction, resolution_rules, sharing

SPACE: Final = "demo"
STANDARD_INPUT: Final = "-"
#: The parts of a configuration that decide here; others may be missing and are not looked at.
_USED: Final = frozenset(("space", "identity", "line_limit"))
_UNUSED: Final = {"root": "lake", "sources": {"calls": {"path": "calls"}}}
_FOLDER = files("lake.cli").joinpath("presets")


class Preset(NamedTuple):
    """An example that comes with the product."""

    name: str
    title: str
    about: str


def presets() -> tuple[Preset, ...]:
    """All presets, by name."""
    names = [f.name.removesuffix(".md") for f in _FOLDER.iterdir() if f.name.endswith(".md")]
    return tuple(_preset(name) for name in sorted(names))


def simulation(
    events: str | None, preset: str | None, config: Path | None, environ: Mapping[str, str]
) -> tuple[Heading | None, Simulation]:
    """The simulation of a file (`-`: standard input) or of a preset, and the latter's heading.

    What a preset has to show is said of Segment's defaults, so not where a configuration is given.

    Raises ConfigError unless exactly one of the two is named and there, or where the
    configuration is wrong.
    """
    if (events is None) == (preset is None):
        raise ConfigError(f"simulate: wanted a file of calls, - or --preset.\n{_listed()}")
    book = rulebook(config, environ)
    if events is not None:
        return None, _of_file(events, book)
    chosen = {p.name: p for p in presets()}.get(str(preset))
    if chosen is None:
        raise ConfigError(f"--preset: found another name, wanted one of these.\n{_listed()}")
    with _FOLDER.joinpath(f"{chosen.name}.jsonl").open("rb") as stream:
        heading = Heading(chosen.title, chosen.about if config is None else "")
        return heading, simulated(cast(BinaryIO, stream), book)


def rulebook(path: Path | None, environ: Mapping[str, str]) -> Rulebook:
    """The rules of a configuration file, or Segment's defaults in the space ``demo``."""
    config = Config.accepted({"space": SPACE, **_UNUSED}, Path())
    if path is not None:
        config = _identity_of(document(path, environ), path.absolute().parent)
    return Rulebook(
        space=config.space,
        clock=config.identity.order_by,
        extraction=extraction(config),
        blocked=blocked(config),
        rules=resolution_rules(config),
        sharing=sharing(config),
        line_limit=config.line_limit,
    )


def _identity_of(read: Document, folder: Path) -> Config:
    """A configuration of which only the space and the identity block count.

    ConfigError lists what is wrong with these; the rest may be missing, or ask for variables that
    are not set.
    """
    if not isinstance(read.values, Mapping):
        raise read.refusal([Fault((), "wanted a mapping of settings, at least identity")])
    unused = Config.model_fields.keys() - _USED
    faults = [f for f in read.faults if f.place[:1] not in {(name,) for name in unused}]
    if faults:
        raise read.refusal(faults)
    used: dict[str, Any] = {k: v for k, v in read.values.items() if k not in unused}
    values = {"space": SPACE, **used, **_UNUSED}
    try:
        identity = Config.accepted(values, folder).identity
    except ValidationError as error:
        raise read.refusal(worded(error, read, Config.model_json_schema())) from None
    pairs = Overrides((), ())
    if identity.overrides is not None:
        pairs = overrides(Path(identity.overrides), identity.known_types)
    faults = list(checks.contradictory(identity))
    faults += [Fault(("identity", "overrides"), text) for text in pairs.faults]
    if faults:
        raise read.refusal(faults)
    return Config.accepted(values, folder, pairs.pairs)


def _of_file(events: str, book: Rulebook) -> Simulation:
    if events == STANDARD_INPUT:
        return simulated(sys.stdin.buffer, book)
    try:
        with Path(events).open("rb") as stream:
            return simulated(stream, book)
    except OSError as error:
        raise ConfigError(f"{events}: cannot be read: {error.strerror}") from error


def _preset(name: str) -> Preset:
    title, _, about = _FOLDER.joinpath(f"{name}.md").read_text("utf-8").partition("\n")
    return Preset(name, title.removeprefix("# ").strip(), " ".join(about.split()))


def _listed() -> str:
    width = max(len(p.name) for p in presets())
    return "\n".join(f"  --preset {p.name:<{width}}  {p.title}" for p in presets())
