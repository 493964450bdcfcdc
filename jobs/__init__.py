"""The jobs of a night, each one screen: what it reads, what it writes, `run(night)`.

`PIPELINE` is the nightly order. A job alone runs the night up to itself: what is done already
costs nothing, and what it leaves undone the next one goes on with.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from jobs import compact, publish, stitch
from lake.run.night import Step

PIPELINE: tuple[tuple[str, Step], ...] = (
    ("compact", compact.run),
    ("stitch", stitch.run),
    ("publish", publish.run),
)


def steps(until: str) -> tuple[tuple[str, Step], ...]:
    """The steps of a night up to and with this one."""
    names = [name for name, _ in PIPELINE]
    return PIPELINE[: names.index(until) + 1]


def main(until: str) -> None:
    """The command line of a job under spark-submit; exits with the night's exit code."""
    from lake.run.shell import shell

    parser = argparse.ArgumentParser(description=f"Run the night up to {until}.")
    parser.add_argument("--config", type=Path, required=True, help="the configuration file")
    parser.add_argument("--as-of", help="the time the run is dated, ISO-8601, default now")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    parser.add_argument("--strict", action="store_true", help="warnings change the exit code")
    passes = parser.add_mutually_exclusive_group()
    for name, about in (("full", "everything"), ("incremental", "what the night touched")):
        help_ = f"resolve {about}; default: the cheaper"
        passes.add_argument(f"--{name}", dest="force", action="store_const", const=name, help=help_)
    given = parser.parse_args()
    sys.exit(
        shell(
            given.config,
            steps(until),
            given.as_of,
            given.output,
            strict=given.strict,
            force=given.force,
        )
    )
