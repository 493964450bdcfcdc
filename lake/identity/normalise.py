"""Normalisers of identifier values, by name: what makes two spellings one identifier.

Each is a pure function of one value, with a version that goes into the fingerprint of the
extraction rules, so that a change of it is seen. The raw value stays in its event. None says
that the value cannot be normalised: it identifies nobody. Every result is trimmed, in
Unicode's normal form NFC, and not empty.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import Final, NamedTuple, TypeAlias

import phonenumbers

from lake.errors import ConfigError

Option: TypeAlias = str | int
Normaliser: TypeAlias = Callable[[str], str | None]


def exact(value: str) -> str | None:
    """The value trimmed and in NFC.

    >>> exact(" Ann ")
    'Ann'
    >>> exact("e\\u0301") == "\\u00e9"
    True
    >>> exact("  ") is None
    True
    """
    if not value.isascii():
        value = unicodedata.normalize("NFC", value)
    return value.strip() or None


def are_exact(values: Iterable[str]) -> bool:
    """Whether many values are seen at once to be what `exact` makes of them: ASCII without any
    white space.

    >>> are_exact(["a", "b"]), are_exact(["a", " b"]), are_exact(["\u00e9"])
    (True, False, False)
    """
    text = "".join(values)
    return not text or (text.isascii() and text.split(None, 1) == [text])


def lower(value: str) -> str | None:
    """The value trimmed, in NFC and lower-case.

    >>> lower(" ABC-1 ")
    'abc-1'
    """
    return exact(value.lower())


def email(value: str) -> str | None:
    """An e-mail address: trimmed, lower-case; one @ with text on both sides, no white space.

    Dots and ``+tags`` in the name are kept: what they mean is the provider's affair.

    >>> email(" Ann@Example.COM ")
    'ann@example.com'
    >>> [email(v) for v in ("ann", "@x.com", "ann@", "a@b@c.com", "ann lee@x.com")]
    [None, None, None, None, None]
    """
    address = lower(value)
    if address is None or len(address.split()) != 1:
        return None
    name, at, domain = address.partition("@")
    return address if name and at and domain and "@" not in domain else None


@lru_cache(maxsize=1 << 16)
def phone(value: str, region: str | None = None) -> str | None:
    """A telephone number in E.164; ``region`` is assumed where it names no country, and without
    a region such a number identifies nobody.

    A number of a possible length will do, as numbers that no plan assigns yet are real in data
    and old ones in plans. An extension stays, as ``;ext=``: two desks behind one switchboard
    are not one person.

    >>> phone("(415) 555-0132", "US"), phone("0044 20 7946 0958", "DE")
    ('+14155550132', '+442079460958')
    >>> phone("+44 20 7946 0958"), phone("(415) 555-0132")
    ('+442079460958', None)
    >>> phone("415 555 0132 ext. 7", "US")
    '+14155550132;ext=7'
    >>> phone("n/a", "US"), phone("12", "US")
    (None, None)
    """
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    text = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return f"{text};ext={number.extension}" if number.extension else text


def digits(value: str, last: int = 0) -> str | None:
    """The digits of a value, of these the ``last`` n where n is given.

    Fewer than n digits stay as they are: they equal no value of n digits, so a short number
    still only meets itself. Digits of any script count and become 0-9.

    >>> digits("12-345 6"), digits("+1 415 555 0132", last=7), digits("911", last=7)
    ('123456', '5550132', '911')
    >>> digits("none") is None
    True
    """
    kept = "".join(str(unicodedata.decimal(c)) for c in value if c.isdecimal())
    return kept[-last:] or None


class _Kind(NamedTuple):
    """A normaliser, its version, and its options with the type of each."""

    function: Callable[..., str | None]
    version: str
    options: Mapping[str, type]


_KINDS: Final[Mapping[str, _Kind]] = {
    "exact": _Kind(exact, "1", {}),
    "lower": _Kind(lower, "1", {}),
    "email": _Kind(email, "1", {}),
    # The numbering plans come with the library: another release may read a number otherwise.
    "phone": _Kind(phone, f"1+{phonenumbers.__version__}", {"region": str}),
    "digits": _Kind(digits, "1", {"last": int}),
}

NAMES: Final = tuple(_KINDS)
"""The normalisers there are."""


def normaliser(name: str, options: Mapping[str, Option]) -> Normaliser:
    """The function of this name with these options; ConfigError where there is none such.

    >>> normaliser("digits", {"last": 4})("555-0132")
    '0132'
    """
    if name not in _KINDS:
        raise ConfigError(f"there is no normaliser {name}; there are {', '.join(NAMES)}")
    kind = _KINDS[name]
    for option, value in options.items():
        if type(value) is not kind.options.get(option):
            raise ConfigError(f"the normaliser {name} takes no option {option} of this kind")
    region = options.get("region")
    if region is not None and region not in phonenumbers.SUPPORTED_REGIONS:
        raise ConfigError(f"{region} is no region with telephone numbers, such as US or GB")
    if int(options.get("last", 1)) < 1:
        raise ConfigError("`last` counts digits: 1 or more")
    return partial(kind.function, **options) if options else kind.function


def version(name: str) -> str:
    """The version of a normaliser, part of the fingerprint of the rules that use it."""
    return _KINDS[name].version
