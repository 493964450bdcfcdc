"""The JSON Schema of the configuration: read for error messages, and published for editors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_REFERENCE = "#/$defs/FromEnvironment"
_TYPED = ("integer", "boolean")


def published(schema: dict[str, Any]) -> dict[str, Any]:
    """Pydantic's schema as a schema of the file: what is wanted, or ``${VAR}`` in its place."""
    result: dict[str, Any] = _with_references(schema)
    result["$defs"]["FromEnvironment"] = {
        "description": "A value from the environment: ${VAR} or ${VAR:-default}.",
        "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
        "type": "string",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **result,
        "title": "Profile Lake configuration",
    }


def _with_references(node: Any) -> Any:
    if isinstance(node, list):
        return [_with_references(item) for item in node]
    if not isinstance(node, dict):
        return node
    if _may_be_reference(node):
        about = {k: v for k, v in node.items() if k in ("description", "default", "title")}
        return {**about, "anyOf": [_without(node, about), {"$ref": _REFERENCE}]}
    result = {
        # Names are taken as they stand; `default` and `enum` hold values, not schemas.
        key: value if key in ("default", "enum", "propertyNames") else _with_references(value)
        for key, value in node.items()
    }
    if "patternProperties" in result:
        result["additionalProperties"] = False
    return result


def _may_be_reference(node: Mapping[str, Any]) -> bool:
    kind = node.get("type")
    return kind in _TYPED or (kind == "string" and bool({"enum", "pattern"} & node.keys()))


def _without(node: Mapping[str, Any], keys: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in node.items() if k not in keys}


def at(schema: Mapping[str, Any], place: tuple[str | int, ...]) -> Mapping[str, Any]:
    """The part of pydantic's schema that describes a place; empty where nothing is known."""
    node = _resolved(schema, schema)
    for part in place:
        if isinstance(part, int):
            node = node.get("items", {})
        elif part in node.get("properties", {}):
            node = node["properties"][part]
        else:
            inner = node.get("patternProperties") or {"": node.get("additionalProperties")}
            node = next(iter(inner.values())) or {}
        node = _resolved(node, schema)
    return node


def _resolved(node: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The node without its null alternative and behind its reference, its own words kept."""
    options = [o for o in node.get("anyOf", ()) if o.get("type") != "null"]
    inner: Mapping[str, Any] = options[0] if options else node
    if "$ref" in inner:
        inner = schema["$defs"][inner["$ref"].removeprefix("#/$defs/")]
    nullable = len(options) < len(node.get("anyOf", ()))
    about = {k: v for k, v in node.items() if k == "description"}
    return {**inner, **about, "nullable": nullable}
