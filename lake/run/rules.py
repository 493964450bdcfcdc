"""The configuration's rules as the plain values that transforms take."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from lake.config import Config
from lake.identity import normalise
from lake.identity.guards import Blocked
from lake.identity.identifiers import Extraction, IdentifierRule
from lake.identity.resolve import Identifier, Limit, OnLimit, Rules, Strategy, Window
from lake.language.tree import Computed, computed_in
from lake.language.types import DDL
from lake.schema import Column

if TYPE_CHECKING:
    from lake.identity import shared
    from lake.profiles.activity import Measure
    from lake.profiles.survivorship import TraitRule


def extraction(config: Config) -> Extraction:
    """The configuration's extraction rules."""
    identity = config.identity
    rules = []
    for name, i in identity.identifiers.items():
        options = [(k, v) for k, v in (("region", i.region), ("last", i.last)) if v is not None]
        rules.append(IdentifierRule(name, i.key, i.normalise, tuple(options)))
    return Extraction(
        identifiers=tuple(rules),
        unknown_types=identity.unknown_types,
        properties_email=identity.properties_email,
        ios_idfa_needs_tracking=identity.ios_idfa_needs_tracking,
    )


def blocked(config: Config) -> Blocked:
    """The configuration's values that identify nobody."""
    b = config.identity.blocked
    return Blocked(
        builtin=b.builtin,
        values=frozenset(b.values),
        patterns=tuple(b.patterns),
        by_type={k: (frozenset(v.values), tuple(v.patterns)) for k, v in b.by_type.items()},
    )


def sharing(config: Config) -> shared.Sharing | None:
    """The configuration's guard of shared values; None where it is off."""
    setting, priority = config.identity.shared, tuple(config.identity.identifiers)
    if setting.mode == "off":
        return None
    from lake.identity import shared  # needs Spark, which a look-up does without

    if setting.mode == "auto":
        return shared.automatic(priority)
    return shared.configured(setting.limits)


def trait_rules(config: Config) -> tuple[TraitRule, ...]:
    """The configuration's declared traits."""
    from lake.profiles.survivorship import TraitRule  # needs Spark, as above

    return tuple(
        TraitRule(name, t.rule, t.sources, t.age, t.type) for name, t in config.traits.items()
    )


def asked(config: Config) -> dict[str, Computed]:
    """All that the configuration asks of calls, by the name of its column.

    Of what an audience asks besides the computed traits the name begins with an underscore.
    """
    found = config.computed_traits
    known = {each: name for name, each in found.items()}
    for condition in config.conditions.values():
        for each in computed_in(condition):
            name = known.setdefault(each, f"_asked_{len(known)}")
            found[name] = each
    return found


def measured(config: Config) -> tuple[Measure, ...]:
    """What is kept of calls to answer all that is asked."""
    if not config.computed and not config.audiences:
        return ()
    from lake.profiles.activity import measures  # needs Spark, as above

    return measures(asked(config).values())


def normalised(config: Config, kind: str, value: str) -> str | None:
    """The value as the lake holds it; None if it can identify nobody."""
    for rule in extraction(config).identifiers:
        if rule.type == kind:
            return normalise.normaliser(rule.normalise, dict(rule.options))(value)
    return normalise.exact(value)


def resolution_rules(config: Config) -> Rules:
    """The rules by which conflicting components are resolved.

    Override pairs are normalised as the lake's identifiers are; a pair with a value that can
    identify nobody, or that is blocked, says nothing.
    """
    identity = config.identity
    return Rules(
        strategy=Strategy(identity.strategy),
        priority=tuple(identity.identifiers),
        limits={t: Limit(i.limit, Window(i.window)) for t, i in identity.identifiers.items()},
        on_limit=OnLimit(identity.on_limit),
        max_merges=identity.caps.merges,
        max_mappings=identity.caps.mappings,
        always_together=_pairs(config, "always_together"),
        never_together=_pairs(config, "never_together"),
    )


def fingerprints(config: Config, code: str) -> dict[str, str]:
    """A hash of each part of what resolution depends on besides the facts.

    ``naming``: what every profile may depend on, so that a change of it is a change of all.
    ``blocked``, ``shared``, ``limits``, ``overrides``: parts that touch only the components in
    which they bind, or did.
    """
    identity, rules = config.identity, resolution_rules(config)
    unique = rules.strategy is Strategy.LATEST_WINS and sorted(
        kind for kind, limit in rules.limits.items() if limit.count == 1
    )
    limits = [(kind, str(limit)) for kind, limit in sorted(rules.limits.items())]
    parts = {
        "naming": [code, config.space, rules.priority, identity.order_by, unique],
        "blocked": identity.blocked.model_dump(mode="json"),
        "shared": [identity.shared.model_dump(mode="json"), rules.priority],
        "limits": [
            *(rules.strategy, rules.on_limit, limits, str(rules.default_limit)),
            *(rules.max_merges, rules.max_mappings),
        ],
        "overrides": [rules.always_together, rules.never_together],
    }
    return {
        name: hashlib.sha256(json.dumps(part, sort_keys=True).encode()).hexdigest()[:16]
        for name, part in parts.items()
    }


def _pairs(config: Config, rule: str) -> tuple[tuple[Identifier, Identifier], ...]:
    stops = blocked(config)
    pairs = []
    for o in config.overrides:
        if o.rule != rule:
            continue
        ends = [
            (kind, normal)
            for kind, value in ((o.type_a, o.value_a), (o.type_b, o.value_b))
            if (normal := normalised(config, kind, value)) and not stops.blocks(kind, normal)
        ]
        if len(ends) == 2:
            pairs.append((ends[0], ends[1]))
    return tuple(pairs)


def profile_columns(config: Config) -> tuple[Column, ...]:
    """The columns that the configuration adds to `profiles`."""
    columns = [
        Column(
            rule.column,
            f"array<{DDL[rule.type]}>" if rule.rule == "list" else DDL[rule.type],
            f"The trait {rule.name} as a {rule.type}; null where it is missing or none.",
            personal=True,
        )
        for rule in trait_rules(config)
        if rule.type
    ]
    if columns:
        columns.append(
            Column("bad_casts", "int", "How many values of declared traits are not of their type.")
        )
    for name, said in config.computed_traits.items():
        kind = "array<string>" if said.reducer == "unique" else DDL[said.type]
        columns.append(Column(name, kind, f"{config.computed[name]}.", personal=True))
    if config.audiences:
        columns.append(Column("audiences", "array<string>", "The audiences it is in, sorted."))
    return tuple(columns)
