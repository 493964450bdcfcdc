"""Computed traits and audiences: expressions, read as a whole or refused at a character."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated

from pydantic import Field

from lake.config.document import Document, Fault, Place
from lake.config.fields import Name
from lake.config.traits import PROFILE_COLUMNS, Trait
from lake.language.parsing import audience, computed
from lake.language.spelling import spellings
from lake.language.tokens import Wrong
from lake.language.tree import Computed

Expression = Annotated[str, Field(min_length=1)]
Expressions = Mapping[Name, Expression]


def trait_types(traits: Mapping[str, Trait], said: Expressions) -> dict[str, str]:
    """The traits an audience may name, with their types: "" where a declared one has none."""
    declared = {
        name: f"list of {t.type}" if t.type and t.rule == "list" else t.type or ""
        for name, t in traits.items()
    }
    return declared | {name: found.type for name, found in readable(said).items()}


def readable(said: Expressions) -> dict[str, Computed]:
    """The expressions of computed traits that can be read."""
    found = {}
    for name, text in said.items():
        try:
            found[name] = computed(text)
        except Wrong:
            continue
    return found


def expression_faults(
    read: Document, traits: Mapping[str, Trait], said: Expressions, audiences: Expressions
) -> Iterator[Fault]:
    """What is wrong with computed traits and audiences, each at its character."""
    yield from _names(traits, said)
    for name, text in said.items():
        try:
            computed(text)
        except Wrong as wrong:
            yield _fault(read, ("computed", name), wrong)
    # What an audience names is known where every computed trait can be read.
    known, needed = trait_types(traits, said), (("traits",), ("computed",))
    if len(readable(said)) < len(said):
        return
    for name, text in audiences.items():
        try:
            audience(text, known)
        except Wrong as wrong:
            yield _fault(read, ("audiences", name), wrong, needed)


def _fault(read: Document, place: Place, wrong: Wrong, depends_on: tuple[Place, ...] = ()) -> Fault:
    line, column = read.position(place, wrong.offset)
    return Fault(place, wrong.text, depends_on, line, column)


def _names(traits: Mapping[str, Trait], said: Expressions) -> Iterator[Fault]:
    """Computed traits whose name is taken, by a declared trait or a column of profiles."""
    spelt = {spelling: name for name in traits for spelling in spellings(name)}
    columns = {t.replace(".", "_").lower() for t in traits if traits[t].type}
    lower: dict[str, str] = {}
    for name in said:
        place = ("computed", name)
        if name in spelt:
            yield Fault(place, f"found the name of the trait {spelt[name]}, wanted another")
        elif name.lower() in PROFILE_COLUMNS | columns:
            yield Fault(place, "found the name of a column of profiles, wanted another")
        elif lower.setdefault(name.lower(), name) != name:
            yield Fault(place, f"found the name {lower[name.lower()]} again, wanted another")
