"""The configuration's rules as the plain values that transforms take."""

from __future__ import annotations

from lake.config import Config
from lake.identity import normalise
from lake.identity.guards import Blocked
from lake.identity.identifiers import Extraction, IdentifierRule


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


def normalised(config: Config, kind: str, value: str) -> str | None:
    """The value as the lake holds it; None if it can identify nobody."""
    for rule in extraction(config).identifiers:
        if rule.type == kind:
            return normalise.normaliser(rule.normalise, dict(rule.options))(value)
    return normalise.exact(value)
