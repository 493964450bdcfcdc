"""Why a line is refused: a closed vocabulary, and a sentence for each word of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple


class Reason(StrEnum):
    """The words of ``rejected_calls.reason``."""

    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    TWO_VALUES = "two_values"
    LINE_TOO_LONG = "line_too_long"
    IDENTIFIER_TOO_LONG = "identifier_too_long"
    INVALID_UTF8 = "invalid_utf8"
    UNKNOWN_TYPE = "unknown_type"
    MISSING_TYPE = "missing_type"
    UNREADABLE_REST = "unreadable_rest"


SENTENCES: Final[dict[Reason, str]] = {
    Reason.NOT_JSON: "The line is not a JSON text, or is nested too deeply to be one we read.",
    Reason.NOT_AN_OBJECT: "The line is JSON, but a string, number, array or null.",
    Reason.TWO_VALUES: "The line holds more than one JSON value.",
    Reason.LINE_TOO_LONG: "The line is longer than the limit on a line.",
    Reason.IDENTIFIER_TOO_LONG: "An identifier or the messageId is longer than 1,000 characters.",
    Reason.INVALID_UTF8: "The line is not UTF-8, or escapes half of a surrogate pair.",
    Reason.UNKNOWN_TYPE: "`type` is none of identify, track, page, screen, group and alias.",
    Reason.MISSING_TYPE: "The call has no `type`, or a null one.",
    Reason.UNREADABLE_REST: "The object is damaged from here on; its earlier lines were read.",
}


class Rejection(NamedTuple):
    """A refused line: the reason, and where it lies in words that hold none of its values."""

    reason: Reason
    detail: str
