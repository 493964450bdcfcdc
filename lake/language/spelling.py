"""How one name may be written, and the word that was probably meant."""

from __future__ import annotations

import re
from collections.abc import Collection
from difflib import get_close_matches


def spellings(name: str) -> tuple[str, ...]:
    """The name as it stands, in snake_case and in camelCase, each once.

    >>> spellings("app_id"), spellings("fax")
    (('app_id', 'appId'), ('fax',))
    """
    snake = re.sub(r"(?<=[a-z0-9])[A-Z]", lambda m: "_" + m[0], name).lower()
    camel = re.sub(r"(?<=[a-z0-9])_([a-z0-9])", lambda m: m[1].upper(), snake)
    return tuple(dict.fromkeys((name, snake, camel)))


def did_you_mean(found: str, known: Collection[str]) -> str:
    """The end of a sentence: the known word that is nearest to the one found, or nothing.

    >>> did_you_mean("segmnt", ("segment", "components"))
    '; did you mean segment?'
    """
    near = get_close_matches(found.lower(), sorted(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""
