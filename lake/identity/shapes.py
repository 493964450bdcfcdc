"""JSON objects of which a few keys are wanted, read fast where they look as documented and
tolerantly where they do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
import numpy as np
from msgspec import Raw
from numpy.typing import NDArray

Text: TypeAlias = Raw | bytes | str | None
"""JSON text; None or empty where there is none."""

_ABSENT = Raw(b"")
_FEW_KEYS = 3
_REFUSED = (msgspec.MsgspecError, ValueError, RecursionError)
_string = msgspec.json.Decoder(str).decode
_list = msgspec.json.Decoder(list[Raw]).decode


class Texts(NamedTuple):
    """A column of JSON texts, one right after the other, and the length of each in bytes: 0 where
    there is none or it is ``null``."""

    joined: bytes
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, sent: Sequence[Raw]) -> Texts:
        """The column of these texts."""
        texts = list(sent)
        lengths = np.fromiter(map(len, texts), np.int64, len(texts))
        for i in np.flatnonzero(lengths == len(b"null")).tolist():
            if bytes(texts[i]) == b"null":
                texts[i], lengths[i] = _ABSENT, 0
        return cls(b"".join(texts), lengths)

    @property
    def rows(self) -> list[int]:
        """The rows that have a text."""
        return np.flatnonzero(self.lengths).tolist()

    def each(self) -> Iterator[bytes]:
        """The texts that there are."""
        end = 0
        for length in self.lengths.tolist():
            if length:
                yield self.joined[end : end + length]
            end += length


class Shape:
    """An object's wanted keys as ``{attribute: (key, kind)}``, all optional.

    A kind is ``TEXT`` (a string, or a number by its text), ``FLAG`` (true, else nothing), another
    shape, or a list with one shape in it. What is of another kind counts as absent.
    """

    TEXT: Final = "text"
    FLAG: Final = "flag"

    def __init__(self, fields: Mapping[str, tuple[str, Any]]) -> None:
        keys = {attribute: key for attribute, (key, _) in fields.items()}
        typed = [(a, _annotation(kind) | None, None) for a, (_, kind) in fields.items()]
        self._kinds = {attribute: kind for attribute, (_, kind) in fields.items()}
        self.struct = msgspec.defstruct("Wanted", typed, rename=keys, gc=False)
        self._typed: Callable[[Text], Any] = _decoder(self.struct | None)
        self._typed_all = msgspec.json.Decoder(self.struct).decode_lines
        self._nothing = self.struct()
        self._keys = [key.encode() for key in keys.values()]
        raw = msgspec.defstruct("Sent", [(a, Raw, _ABSENT) for a in keys], rename=keys, gc=False)
        self._raw: Callable[[Text], Any] = _decoder(raw)

    def read(self, text: Text) -> Any:
        """The wanted values as attributes, None where absent; None for what is no object."""
        try:
            return self._typed(text)
        except _REFUSED:
            return self._tolerant(text)

    def told(self, texts: Texts) -> list[tuple[int, Any]]:
        """The rows of a column that tell something wanted, and what `read` gives for each."""
        if not self._may_tell(texts.joined):
            return []
        nothing = self._nothing
        read = zip(texts.rows, self._read(texts), strict=True)
        return [pair for pair in read if pair[1] != nothing]

    def _read(self, texts: Texts) -> list[Any]:
        """What `read` gives for each text. Objects end themselves, so all are decoded at a go;
        whatever else may stand among them is refused there."""
        try:
            return self._typed_all(texts.joined)
        except _REFUSED:
            return list(map(self.read, texts.each()))

    def _may_tell(self, joined: bytes) -> bool:
        """Whether a wanted key can stand in one of the texts; asked where keys are so few that
        this is faster than decoding. Behind a backslash a key may be written in other letters."""
        if len(self._keys) > _FEW_KEYS:
            return bool(joined)
        return any(key in joined for key in (b"\\", *self._keys))

    def _tolerant(self, text: Text) -> Any:
        try:
            sent = self._raw(text)
        except _REFUSED:
            return None
        return self.struct(*(_told(kind, getattr(sent, a)) for a, kind in self._kinds.items()))


def _told(kind: Any, sent: Raw) -> Any:
    """A value of this kind, or None."""
    text = bytes(sent)
    if isinstance(kind, Shape):
        return kind._tolerant(text)
    if isinstance(kind, list):
        items = [kind[0]._tolerant(item) for item in _list(text)] if text[:1] == b"[" else []
        return [item for item in items if item is not None]
    if kind == Shape.FLAG:
        return text == b"true" or None
    if text.startswith(b'"'):
        return _string(text)
    return text.decode() if text and text[:1] in b"-0123456789" else None


def _annotation(kind: Any) -> Any:
    if isinstance(kind, Shape):
        return kind.struct
    if isinstance(kind, list):
        return list.__class_getitem__(kind[0].struct)
    return bool if kind == Shape.FLAG else str


def _decoder(wanted: Any) -> Callable[[Text], Any]:
    decode: Callable[[Any], Any] = msgspec.json.Decoder(wanted).decode
    return decode
