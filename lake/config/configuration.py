"""The whole configuration, its fingerprints and its JSON Schema."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr

from lake.config.expressions import Expression, readable, trait_types
from lake.config.fields import Count, Location, Name, SourceName, SpaceName, Switch, TraitName
from lake.config.json_schema import published
from lake.config.locations import uri
from lake.config.models import Identity, ProfilesSync, Quality, Source, Spark, Storage
from lake.config.overrides import Override
from lake.config.settings import Settings
from lake.config.traits import Trait
from lake.language.parsing import audience
from lake.language.tree import Computed, Condition, is_dated

#: Spark's own rule for what to redact in its pages and logs (spark.redaction.regex), and keys.
_SECRET_NAME = re.compile(r"(?i)secret|password|token|access[.]?key|credential|api[.]?key")

_ABOUT_PROFILES = ("traits", "computed", "audiences", "consent")


class Config(Settings):
    """A configuration that was accepted as a whole.

    Locations are absolute: relative ones are relative to the file they were read from.
    """

    space: SpaceName = Field(
        description="The name of the space. Part of every profile_id: another name, other ids."
    )
    root: Location = Field(
        description="Where every table lies: a folder, or s3a://bucket/prefix. "
        "Relative to this file."
    )
    sources: Mapping[SourceName, Source] = Field(
        min_length=1, description="Where calls land, by the name of their source."
    )
    line_limit: Count = Field(
        default=1024 * 1024,
        description="The longest line that is read, in bytes; longer ones are rejected.",
    )
    identity: Identity = Field(
        default_factory=Identity, description="How calls are joined to profiles."
    )
    traits: Mapping[TraitName, Trait] = Field(
        default_factory=dict,
        description="Traits with a rule of their own, by name: found in camelCase and snake_case, "
        "address.city inside the object address. Of any other, the latest value survives.",
    )
    computed: Mapping[Name, Expression] = Field(
        default_factory=dict,
        description="Computed traits by name: what calls come to, each a column of profiles. "
        "See Computed traits and audiences.",
    )
    audiences: Mapping[Name, Expression] = Field(
        default_factory=dict,
        description="Audiences by name: a condition on traits, computed traits and calls.",
    )
    consent: Switch = Field(
        default=False,
        description="Keep what calls say in context.consent.categoryPreferences, and publish the "
        "state of each category.",
    )
    storage: Storage = Field(
        default_factory=Storage, description="Access to an S3-compatible store."
    )
    quality: Quality = Field(
        default_factory=Quality, description="What a publication must satisfy."
    )
    profiles_sync: ProfilesSync = Field(
        default_factory=ProfilesSync, description="The tables of Segment's Profiles Sync."
    )
    spark: Spark = Field(default_factory=Spark, description="Settings passed on to Spark.")

    _overrides: tuple[Override, ...] = PrivateAttr(default=())
    _written: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def accepted(
        cls, values: Mapping[str, Any], folder: Path, overrides: tuple[Override, ...] = ()
    ) -> Config:
        """The configuration of a file's values, which lie in ``folder``.

        Raises pydantic.ValidationError. Checks between settings are ``load``'s work.
        """
        config = cls.model_validate(values, context={"folder": folder})
        config._overrides = overrides
        config._written = _locations(values)
        return config

    @property
    def root_uri(self) -> str:
        """The root as Spark takes it: ``s3a://…`` or ``file://…``."""
        return uri(self.root)

    @property
    def overrides(self) -> tuple[Override, ...]:
        """The pairs of the overrides file, sorted, each once."""
        return self._overrides

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of everything configured, secrets apart.

        Paths count as they are written, so a relative one is the same on every machine; of the
        overrides file the content counts. Comments, order of keys and spelling of a default do
        not; the order of identifiers, their priority, does.
        """
        plain = self.model_dump(mode="json", exclude={"storage": {"access_key", "secret_key"}})
        plain["root"] = self._written.get("root", plain["root"])
        for name, source in plain["sources"].items():
            source["path"] = self._written.get(f"sources.{name}.path", source["path"])
        quality = plain["quality"]
        quality["expectations"] = self._written.get("quality.expectations", quality["expectations"])
        plain["identity"] = self._resolution(Identity.model_fields)
        plain = {k: v for k, v in plain.items() if k not in _ABOUT_PROFILES}
        plain |= self._about_profiles()
        conf = plain["spark"]["conf"]
        plain["spark"]["conf"] = {k: v for k, v in conf.items() if not _SECRET_NAME.search(k)}
        return _hash(plain)

    @property
    def resolution_fingerprint(self) -> str:
        """16 hexadecimal digits of what decides which identity sets form a profile.

        That is strategy, order, identifiers with their priority, limits and windows, caps,
        blocked values, shared values and the overrides' content. How values are normalised and
        whether unknown types link belongs to it, because blocked values, overrides and types
        met earlier pass through them. Where identifiers are found in a call does not: that
        decides what the sets are.
        """
        extraction = {"properties_email", "ios_idfa_needs_tracking"}
        resolution = self._resolution(Identity.model_fields.keys() - extraction)
        for _, rule in resolution["identifiers"]:
            del rule["key"]
        return _hash(resolution)

    @property
    def is_dated(self) -> bool:
        """Whether what is published changes as time passes, without a call."""
        said = (*self.computed_traits.values(), *self.conditions.values())
        return any(trait.max_age for trait in self.traits.values()) or any(map(is_dated, said))

    @property
    def computed_traits(self) -> dict[str, Computed]:
        """What the computed traits say, in their order."""
        return readable(self.computed)

    @property
    def conditions(self) -> dict[str, Condition]:
        """What the audiences say, in their order."""
        known = trait_types(self.traits, self.computed)
        return {name: audience(text, known) for name, text in self.audiences.items()}

    @property
    def profiles_fingerprint(self) -> str:
        """16 hexadecimal digits of what decides what is published about a profile."""
        return _hash(self._about_profiles())

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON Schema (draft 2020-12) of a configuration file, for editors."""
        return published(cls.model_json_schema())

    def _resolution(self, fields: Any) -> dict[str, Any]:
        """The identity block as plain values in one order, with the overrides' content."""
        plain = self.identity.model_dump(mode="json", include=set(fields))
        # A mapping loses its order in the hash, and the order of the types is their priority.
        plain["identifiers"] = [[name, rule] for name, rule in plain["identifiers"].items()]
        blocked = plain["blocked"]
        for rules in (blocked, *blocked["by_type"].values()):
            rules["values"] = sorted(set(rules["values"]))
            rules["patterns"] = sorted(set(rules["patterns"]))
        plain["overrides"] = [list(astuple(pair)) for pair in self._overrides]
        return plain

    def _about_profiles(self) -> dict[str, Any]:
        """The blocks about profiles that say something, declarations in their order."""
        plain = self.model_dump(mode="json", include=set(_ABOUT_PROFILES))
        return {
            block: list(plain[block].items()) if isinstance(plain[block], dict) else plain[block]
            for block in _ABOUT_PROFILES
            if plain[block]
        }


def _locations(values: Mapping[str, Any]) -> dict[str, str]:
    """The locations of a valid file as they are written there."""
    found = {f"sources.{name}.path": source["path"] for name, source in values["sources"].items()}
    expectations = values.get("quality", {}).get("expectations")
    if expectations is not None:
        found["quality.expectations"] = expectations
    return {"root": values["root"], **found}


def _hash(plain: object) -> str:
    text = json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
