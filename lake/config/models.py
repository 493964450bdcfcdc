"""What can be configured: every setting, its default and what it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from lake.config.environment import typed
from lake.config.fields import (
    Count,
    Endpoint,
    Limit,
    LocalPath,
    Location,
    Pattern,
    Region,
    Secret,
    SparkValue,
    Switch,
    TypeName,
)
from lake.config.identifiers import DEFAULT_LIMIT, SEGMENT_TYPES, default_limit
from lake.config.settings import Settings


class Source(Settings):
    """Where one source's calls land."""

    path: Location = Field(
        description="A folder, or s3://bucket/prefix. Every object below it is read, as NDJSON, "
        "gzipped or plain. Relative to this file."
    )


class Identifier(Settings):
    """How one type of identifier is found, written and limited."""

    limit: Limit = Field(
        default=DEFAULT_LIMIT,
        description="How many values of this type one profile may have; null: any number. "
        "Left out: 1 for user_id, 5 for every other, as in Segment.",
    )
    window: Literal["ever", "daily", "weekly", "monthly", "annually"] = Field(
        default="ever",
        description="The time in which the limit counts values: ever, or those added in a "
        "sliding day, week, month or year.",
    )
    normalise: Literal["exact", "lower", "email", "phone", "digits"] = Field(
        default="exact",
        description="How values are written before they are compared: exact (only trimmed), "
        "lower, email, phone (E.164) or digits. Left out: email for email, exact for every other.",
    )
    region: Region = Field(
        default=None,
        description="For normalise: phone. The region of numbers without a country code, such as "
        "US; null: such numbers identify nobody.",
    )
    last: Limit = Field(
        default=None,
        description="For normalise: digits. Compare only so many digits at the end; null: all.",
    )
    key: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="For a custom type: its key in traits, properties, context.traits and "
        "context.externalIds, found in snake_case and camelCase; null: the type's name.",
    )

    def of_type(self, name: str) -> Identifier:
        """These settings with what was left out filled in for a type of this name."""
        defaults: dict[str, object] = {"limit": default_limit(name)}
        if name == "email":
            defaults["normalise"] = "email"
        missing = {k: v for k, v in defaults.items() if k not in self.model_fields_set}
        return self.model_copy(update=missing)


class Caps(Settings):
    """How large one profile may grow; beyond it, calls still resolve but link nothing new."""

    merges: Annotated[int, Field(ge=0), BeforeValidator(typed)] = Field(
        default=100, description="How many other profiles may be merged into one."
    )
    mappings: Count = Field(default=1000, description="How many identifiers one profile may have.")


class BlockedValues(Settings):
    """Values of one type that identify nobody."""

    values: tuple[str, ...] = Field(
        default=(), repr=False, description="Exact values, compared after normalising."
    )
    patterns: tuple[Pattern, ...] = Field(
        default=(),
        repr=False,
        description="RE2 patterns; one blocks a value if it is found anywhere in it, "
        "so use ^ and $ to tie it down.",
    )


class Blocked(BlockedValues):
    """Values that identify nobody: they stay in their calls and link nothing."""

    builtin: Switch = Field(
        default=True,
        description="Also block the built-in pack: Segment's four (zeroes and dashes, -1, null, "
        "anonymous) and common placeholders.",
    )
    by_type: Mapping[TypeName, BlockedValues] = Field(
        default_factory=dict, description="The same for single types of identifier."
    )


class Shared(Settings):
    """Values that belong to too many to identify one: a kiosk's device, a noreply address."""

    mode: Literal["off", "auto", "limits"] = Field(
        default="off",
        description="off; auto: find such values from the data and report the evidence; "
        "limits: by the numbers in limits.",
    )
    limits: Mapping[TypeName, Mapping[TypeName, Count]] = Field(
        default_factory=dict,
        description="For mode: limits. A value of the outer type that is seen with more than so "
        "many values of the inner type links nothing.",
    )


class Identity(Settings):
    """How calls are joined to profiles. All defaults are Segment's."""

    strategy: Literal["segment", "latest_wins", "components"] = Field(
        default="segment",
        description="segment: Segment's rules, call by call; latest_wins: the newest links win, "
        "types with limit 1 are unique; components: whatever is connected, no limits.",
    )
    order_by: Literal["received_at", "timestamp"] = Field(
        default="received_at",
        description="The time that orders calls: of arrival, or the one the call states.",
    )
    on_limit: Literal["drop_lowest", "drop_conflict"] = Field(
        default="drop_lowest",
        description="What a call loses at a limit: its identifier of lowest priority, or the "
        "lowest of those that take part in the conflict.",
    )
    unknown_types: Literal["add", "ignore"] = Field(
        default="add",
        description="Types met only in context.externalIds: add them after all others, by the "
        "alphabet, with limit 5 ever; or ignore them.",
    )
    properties_email: Switch = Field(
        default=True,
        description="Take properties.email as an email. Segment's pages contradict each other.",
    )
    ios_idfa_needs_tracking: Switch = Field(
        default=True,
        description="Take ios.idfa only where adTrackingEnabled is true. Segment's pages "
        "contradict each other.",
    )
    identifiers: Mapping[TypeName, Identifier] = Field(
        default_factory=lambda: {name: Identifier() for name in SEGMENT_TYPES},
        min_length=1,
        validate_default=True,
        description="The types of identifier, the strongest first. The list replaces Segment's "
        "ten; left out, those are taken with Segment's limits.",
    )
    caps: Caps = Field(default_factory=Caps, description="How large one profile may grow.")
    blocked: Blocked = Field(default_factory=Blocked, description="Values that identify nobody.")
    shared: Shared = Field(
        default_factory=Shared, description="Values shared by too many to identify one."
    )
    overrides: LocalPath | None = Field(
        default=None,
        description="A CSV file of pairs that belong together or never do: "
        "rule,type_a,value_a,type_b,value_b. Relative to this file.",
    )

    @field_validator("identifiers")
    @classmethod
    def _complete(cls, value: Mapping[str, Identifier]) -> Mapping[str, Identifier]:
        return {name: identifier.of_type(name) for name, identifier in value.items()}

    @property
    def known_types(self) -> frozenset[str] | None:
        """The only types there are; None while others may be added."""
        return frozenset(self.identifiers) if self.unknown_types == "ignore" else None


class Storage(Settings):
    """Access to an S3-compatible store; on AWS, leave it out and the default chain is used."""

    endpoint: Endpoint | None = Field(default=None, description="The store's address; null: AWS.")
    region: Annotated[str, Field(min_length=1)] | None = Field(
        default=None, description="The store's region; null: from the environment."
    )
    access_key: Secret | None = Field(
        default=None, description="The access key; null: the default chain. Never printed."
    )
    secret_key: Secret | None = Field(
        default=None, description="The secret key; null: the default chain. Never printed."
    )


class Quality(Settings):
    """The expectations that a publication is judged by."""

    expectations: LocalPath | None = Field(
        default=None,
        description="A folder of expectations that replace or extend those that come with the "
        "product. Relative to this file.",
    )


class ProfilesSync(Settings):
    """The tables of Segment's Profiles Sync, under ``profiles_sync/``."""

    enabled: Switch = Field(
        default=False,
        description="Also publish the nine tables of Segment's Profiles Sync, by their names and "
        "columns. Their history needs a copy of every identify call, `identify_calls`.",
    )


class Spark(Settings):
    """How Spark is set up."""

    conf: Mapping[str, SparkValue] = Field(
        default_factory=dict, repr=False, description="Spark settings by name, passed on as text."
    )
