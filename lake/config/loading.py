"""Reading a configuration: every fault of a file, or the whole of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lake.config import checks
from lake.config.configuration import Config
from lake.config.document import Document, Fault, Place, document, dotted
from lake.config.expressions import expression_faults
from lake.config.faults import worded
from lake.config.locations import located
from lake.config.models import Identity, Quality, Storage
from lake.config.overrides import Override, Overrides, overrides
from lake.config.traits import Trait, trait_faults

#: Settings that are described but not built yet: (key path, value), or (key path, None) for any
#: value. ``*`` stands for any name: ``("identity.identifiers.*.window", "weekly")``.
NOT_YET: tuple[tuple[str, str | None], ...] = ()


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """The configuration of a YAML file, with ``${VAR}`` filled in from ``environ``.

    Reads the file, the overrides file it names, and whether the expectations' folder is there;
    sources and root are not looked at. Raises ConfigError that lists every fault by line as
    ``file:line: key.path: what was found, what was wanted; did you mean X?``.
    """
    read = document(path, environ)
    folder = path.absolute().parent
    if not isinstance(read.values, Mapping):
        found = "an empty file" if read.values is None else "no mapping"
        raise read.refusal(
            [*read.faults, Fault((), f"found {found}, wanted a mapping of settings")]
        )
    faults = [*read.faults, *not_available(read.values, NOT_YET)]
    faults += [f for f in _invalid(read, folder) if not _touches(f.place, read.unread)]
    pairs, found_between = _between(read, folder, {f.place for f in faults} | read.unread)
    faults += found_between
    if faults:
        raise read.refusal(faults)
    return Config.accepted(read.values, folder, pairs)


def not_available(
    values: object, refused: tuple[tuple[str, str | None], ...], place: Place = ()
) -> Iterator[Fault]:
    """The settings among ``values`` that this version refuses; a null is no setting."""
    for key, value in values.items() if isinstance(values, Mapping) else ():
        here = (*place, key)
        for pattern, word in refused:
            if value is not None and word in (None, _word(value)) and _matches(here, pattern):
                what = "this setting" if word is None else word
                yield Fault(here, f"{what} is not available in this version")
        yield from not_available(value, refused, here)


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _matches(place: Place, pattern: str) -> bool:
    # Type names contain dots, so the path is compared as text and not part by part.
    return fnmatchcase(dotted(place), pattern)


def _invalid(read: Document, folder: Path) -> list[Fault]:
    """What is wrong with single settings."""
    try:
        Config.accepted(read.values, folder)
    except ValidationError as error:
        return worded(error, read, Config.model_json_schema())
    return []


def _between(
    read: Document, folder: Path, broken: set[Place]
) -> tuple[tuple[Override, ...], list[Fault]]:
    """The overrides, and what is wrong between settings, judged on those that are sound."""
    sound = _without(read.values, broken)
    context = {"folder": folder}
    identity = Identity.model_validate(sound.get("identity", {}), context=context)
    storage = Storage.model_validate(sound.get("storage", {}), context=context)
    quality = Quality.model_validate(sound.get("quality", {}), context=context)
    traits = {name: Trait.model_validate(said) for name, said in sound.get("traits", {}).items()}
    sources = frozenset(read.values.get("sources") or ())
    pairs = _pairs(identity)
    at = ("identity", "overrides")
    faults = [
        *checks.overlapping(_locations(sound, folder)),
        *checks.contradictory(identity),
        *checks.half_credentials(storage),
        *trait_faults(traits, sources),
        *expression_faults(read, traits, sound.get("computed", {}), sound.get("audiences", {})),
        *checks.missing_folder(("quality", "expectations"), quality.expectations),
        *(Fault(at, text, (("identity", "unknown_types"),)) for text in pairs.faults),
    ]
    kept = [f for f in faults if not any(_touches(d, broken) for d in f.depends_on)]
    return pairs.pairs, kept


def _pairs(identity: Identity) -> Overrides:
    if identity.overrides is None:
        return Overrides((), ())
    return overrides(Path(identity.overrides), identity.known_types)


def _locations(sound: Mapping[str, Any], folder: Path) -> dict[Place, str]:
    """Every location among the sound values, absolute."""
    found: dict[Place, str] = {}
    if "root" in sound:
        found[("root",)] = located(sound["root"], folder)
    for name, source in sound.get("sources", {}).items():
        if "path" in source:
            found[("sources", name, "path")] = located(source["path"], folder)
    return found


def _touches(place: Place, places: Iterable[Place]) -> bool:
    """Whether a place is one of the others, inside or around one of them."""
    return any(place[: len(p)] == p[: len(place)] for p in places)


def _without(values: Any, broken: set[Place], place: Place = ()) -> Any:
    """The values without the broken ones, and without what they leave empty.

    A list with a broken item goes as a whole, so that no other item changes its place.
    """
    sound: dict[str, Any] = {}
    for key, value in values.items():
        here = (*place, key)
        if here in broken or (isinstance(value, tuple) and _around(here, broken)):
            continue
        if isinstance(value, Mapping):
            inner = _without(value, broken, here)
            if inner or not value:
                sound[key] = inner
        else:
            sound[key] = value
    return sound


def _around(place: Place, broken: set[Place]) -> bool:
    return any(b[: len(place)] == place for b in broken)
