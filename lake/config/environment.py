"""``${VAR}`` and ``${VAR:-default}`` in the text of a setting.

Substitution happens in scalars that are already parsed, so a variable's value is only ever text:
it cannot add a key, end a quotation or begin a list. As in a shell, the default is taken where
the variable is not set or empty. ``$${`` is a literal ``${``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode

_REFERENCE = re.compile(
    r"(?P<escaped>\$\$\{)"
    r"|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<fallback>:-(?P<default>[^}]*))?\}"
    r"|(?P<malformed>\$\{)"
)


class FromEnvironment(str):
    """The text of a scalar that was one reference and nothing else, such as ``${LIMIT}``.

    A number or a switch may be read from it; text set beside a reference stays text.
    """

    __slots__ = ()


@dataclass(frozen=True)
class Expanded:
    """A scalar's text with its references replaced, and what was wrong with them."""

    text: str
    variables: tuple[str, ...]
    faults: tuple[str, ...]


def expanded(text: str, environ: Mapping[str, str]) -> Expanded:
    """The text with every reference replaced by its variable's value or its default.

    All faults of the text are reported, none of them with a value.

    >>> expanded("s3a://${BUCKET:-lake}/$${x}", {}).text
    's3a://lake/${x}'
    """
    variables: list[str] = []
    faults: list[str] = []

    def replacement(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "${"
        if match["malformed"]:
            faults.append(
                "found an unfinished ${, wanted ${VAR} or ${VAR:-default} ($${ for a plain ${)"
            )
            return match[0]
        name: str = match["name"]
        variables.append(name)
        value = environ.get(name)
        if match["fallback"]:
            return value or match["default"]
        if value is None:
            faults.append(
                f"the environment variable {name} is not set, "
                f"wanted its value or a default: ${{{name}:-default}}"
            )
            return match[0]
        return value

    result = _REFERENCE.sub(replacement, text)
    return Expanded(result, tuple(variables), tuple(faults))


def is_reference(text: str) -> bool:
    """Whether the text is one reference and nothing else."""
    match = _REFERENCE.fullmatch(text)
    return match is not None and match["name"] is not None


def plain_value(tag: str, text: str) -> str | int | float | bool | None:
    """The value of a plain YAML 1.2 scalar of this tag; text where the tag is not a plain one."""
    constructor = YAML(typ="safe", pure=True).constructor
    node = ScalarNode(tag, text)
    match tag.removeprefix("tag:yaml.org,2002:"):
        case "int":
            return int(constructor.construct_yaml_int(node))
        case "float":
            return float(constructor.construct_yaml_float(node))
        case "bool":
            return bool(constructor.construct_yaml_bool(node))
        case "null":
            return None
        case _:
            return text


def typed(value: object) -> object:
    """What YAML would make of a value that came from the environment; any other value as it is.

    >>> typed(FromEnvironment("5")), typed("5")
    (5, '5')
    """
    if not isinstance(value, FromEnvironment):
        return value
    resolver = YAML(typ="safe", pure=True).resolver
    return plain_value(str(resolver.resolve(ScalarNode, str(value), (True, False))), str(value))
