"""Regular expressions of expectations, which are written for Spark, in Python's terms.

Spark asks Java whether a text matches. Where all parts of an expression mean the same to Python,
or have another name there, a worker can ask Python; any other expression is left to Spark.
"""

from __future__ import annotations

import re
from typing import Final

#: What ends a line, by java.util.regex.Pattern, section "Line terminators".
_ENDS: Final = "\\n\\r\\u0085\\u2028\\u2029"
#: Parts that have another name, or mean another thing, in Python. Without the flag MULTILINE a
#: ``$`` of Java's stands at the end, or before the one line's end that is there.
_OTHERWISE: Final = {
    r"\z": r"\Z",
    "^": r"\A",
    "$": rf"(?!(?<=\r)\n)(?=(?:\r\n|[{_ENDS}])?\Z)",
    ".": f"[^{_ENDS}]",
}
#: Parts that mean the same: classes of ASCII characters by name, a sign that is escaped or means
#: itself, characters listed, groups, alternatives, how often.
_PART: Final = re.compile(
    r"""
      \\[AzsSdDwW] | \\[^\w\s]
    | [^\\\[\](){}*+?|]
    | \[ \^? (?: \\[sSdDwW] | \\[^\w\s] | [^\\\[\]&^] )+ \]
    | \( (?: \?: )? (?! \? ) | \) | \|
    | [*+?] | \{ \d+ (?: , \d* )? \}
    """,
    re.VERBOSE | re.ASCII,
)
_ANY_CASE: Final = "(?i)"


def python_pattern(regex: str) -> re.Pattern[str] | None:
    """The pattern that Python finds just where Java finds this expression; None where that is not
    known. To be searched for, as Spark's ``rlike`` does.

    >>> python_pattern(r"(?i)\\Anone\\z").search("None")
    <re.Match object; span=(0, 4), match='None'>
    >>> python_pattern(r"(?<=a)b") is None
    True
    """
    rest = regex.removeprefix(_ANY_CASE)
    parts = [part[0] for part in _PART.finditer(rest)]
    if "".join(parts) != rest:
        return None
    # Both take letters for each other in any case only where they are ASCII ones.
    flags = re.ASCII if rest == regex else re.ASCII | re.IGNORECASE
    try:
        return re.compile("".join(_OTHERWISE.get(part, part) for part in parts), flags)
    except re.error:
        return None
