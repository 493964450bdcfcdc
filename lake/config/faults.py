"""Pydantic's errors in the words of the file: what was found, what was wanted, the nearest word."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lake.config import json_schema
from lake.config.document import Document, Fault, Place
from lake.config.fields import PATTERN_WORDS
from lake.language.spelling import did_you_mean

_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "object": "a mapping",
    "string": "text",
}
#: Words that meant true and false in YAML 1.1.
_SWITCHES = {"on": "true", "yes": "true", "off": "false", "no": "false"}
#: Below these, and wherever the environment was asked, a value is never shown.
_PRIVATE: tuple[Place, ...] = (
    ("storage",),
    ("root",),
    ("spark", "conf"),
    ("identity", "blocked", "values"),
    ("identity", "blocked", "patterns"),
    ("identity", "blocked", "by_type"),
)


def worded(error: ValidationError, document: Document, schema: Mapping[str, Any]) -> list[Fault]:
    """One fault for each of pydantic's errors."""
    details = error.errors(include_url=False, include_input=False)
    return [_fault(detail, document, schema) for detail in details]


def _fault(error: ErrorDetails, document: Document, schema: Mapping[str, Any]) -> Fault:
    place: Place = error["loc"]
    context = error.get("ctx", {})
    about_key = place[-1:] == ("[key]",)
    if about_key:
        place = place[:-1]
    match error["type"]:
        case "value_error":
            return Fault(place, str(context["error"]))
        case "re2":
            reason = "" if place in document.variables else f" ({context['reason']})"
            return Fault(place, f"found a pattern that RE2 refuses{reason}, wanted an RE2 pattern")
        case "extra_forbidden":
            return Fault(place, _unknown_key(place, schema))
        case "missing":
            return Fault(place, f"missing, wanted {wanted(json_schema.at(schema, place))}")
        case _ if about_key:
            return Fault(place, f"found another name, wanted {PATTERN_WORDS[context['pattern']]}")
        case _:
            node = json_schema.at(schema, place)
            found = f"found {_found(place, document)}"
            return Fault(place, f"{found}, wanted {wanted(node)}{_advice(place, document, node)}")


def _unknown_key(place: Place, schema: Mapping[str, Any]) -> str:
    known = list(json_schema.at(schema, place[:-1]).get("properties", ()))
    return f"unknown key, wanted one of {', '.join(known)}{did_you_mean(str(place[-1]), known)}"


def wanted(node: Mapping[str, Any]) -> str:
    """What a part of the schema asks for, in words."""
    match node:
        case {"enum": list(choices)}:
            words = f"one of {', '.join(choices)}"
        case {"pattern": str(pattern)}:
            words = PATTERN_WORDS[pattern]
        case {"format": "location"}:
            words = "a folder, s3://bucket/prefix or s3a://bucket/prefix"
        case {"minimum": int(least)}:
            words = f"a whole number of at least {least}"
        case {"minProperties": int(least)}:
            words = f"a mapping with at least {least} key"
        case _:
            words = _TYPES.get(str(node.get("type")), "another value")
    return f"{words} or null" if node.get("nullable") else words


def _found(place: Place, document: Document) -> str:
    """What stands at a place; only its kind where the value may be private."""
    if place in document.variables:
        return f"the value of {' and '.join(document.variables[place])} (not shown)"
    value = document.value(place)
    hidden = _hidden(place)
    match value:
        case None | "" | bool():
            words = {None: "nothing", "": "empty text", True: "true", False: "false"}[value]
        case str():
            shown = json.dumps(value[:80], ensure_ascii=False)
            words = "text (not shown)" if hidden else shown
        case int() | float():
            words = "a number (not shown)" if hidden else str(value)
        case tuple():
            words = "a list"
        case _:
            words = "a mapping" if value else "an empty mapping"
    return words


def _hidden(place: Place) -> bool:
    return any(place[: len(private)] == private for private in _PRIVATE)


def _advice(place: Place, document: Document, node: Mapping[str, Any]) -> str:
    """How what was found becomes what is wanted, where that is plain."""
    value = document.value(place)
    advice = ""
    match value:
        case _ if place in document.variables:
            pass
        case str() if "enum" in node:
            advice = did_you_mean(value, node["enum"])
        case str() if node.get("type") == "boolean" and value.lower() in _SWITCHES:
            advice = f"; did you mean {_SWITCHES[value.lower()]}?"
        case str() if "pattern" in node and not _hidden(place):
            near = [w for w in (value.lower(), value.upper()) if re.fullmatch(node["pattern"], w)]
            advice = f"; did you mean {near[0]}?" if near else ""
        case bool() | int() | float() if node.get("type") == "string":
            advice = "; put it in quotes"
        case None if node.get("type") == "string" and isinstance(place[-1], int):
            advice = "; put it in quotes"
    return advice
