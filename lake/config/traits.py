"""Declared traits: which value of a trait survives, and as what it is published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Literal

from pydantic import Field

from lake.config.document import Fault
from lake.config.fields import Age, SourceName
from lake.config.settings import Settings
from lake.language.spelling import did_you_mean, spellings

#: Columns that profiles has in every lake; no trait may take their name.
PROFILE_COLUMNS = frozenset(
    (
        *("profile_id", "first_seen", "last_seen", "identifiers", "traits", "calls"),
        *("first_source", "last_source", "bad_casts", "audiences"),
    )
)

_UNITS = {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}


def age(text: str) -> timedelta:
    """The length of time that a text such as `90 days` names."""
    number, unit = text.split(" ")
    return int(number) * _UNITS[unit.removesuffix("s")]


class Trait(Settings):
    """How one trait is published."""

    rule: Literal[
        "latest",
        "first",
        "most_frequent",
        "longest",
        "highest",
        "lowest",
        "never_empty",
        "list",
    ] = Field(
        default="latest",
        description="Which of several values survives. never_empty: the latest that is not empty; "
        "list: all of them, in the order they were first told. Ties go to the latest.",
    )
    sources: tuple[SourceName, ...] = Field(
        default=(),
        description="The best source first: a value of a better one survives, whatever the rule "
        "says of others. Sources that are not named come after all that are.",
    )
    max_age: Age | None = Field(
        default=None,
        description="Values last told longer ago, such as 90 days, do not survive; null: any may.",
    )
    type: Literal["string", "number", "integer", "boolean", "date", "timestamp"] | None = Field(
        default=None,
        description="The type of the trait's own column in profiles; a value that is not of it is "
        "null there and counted in bad_casts. null: the trait is in the map of traits alone.",
    )

    @property
    def age(self) -> timedelta | None:
        """`max_age` as a length of time."""
        return None if self.max_age is None else age(self.max_age)


def trait_faults(traits: Mapping[str, Trait], sources: frozenset[str]) -> Iterator[Fault]:
    """What is wrong between declared traits, sources and the columns of profiles."""
    spelt: dict[str, str] = {}
    columns: dict[str, str] = {}
    for name, trait in traits.items():
        place = ("traits", name)
        for spelling in spellings(name):
            other = spelt.setdefault(spelling, name)
            if other != name:
                yield Fault(place, f"found another spelling of {other}, wanted each trait once")
                break
        for n, source in enumerate(trait.sources):
            if source not in sources:
                hint = did_you_mean(source, sources)
                wanted = f"wanted one of {', '.join(sorted(sources))}{hint}"
                yield Fault((*place, "sources", n), f"unknown source, {wanted}", (("sources",),))
        if trait.type is None:
            continue
        column = name.replace(".", "_").lower()
        if column in PROFILE_COLUMNS:
            found = f"found the name of a column that profiles has anyway ({column})"
            yield Fault((*place, "type"), f"{found}, wanted no type")
        other = columns.setdefault(column, name)
        if other != name:
            yield Fault((*place, "type"), f"found the column of {other}, wanted one column each")
