"""The lines of a landing object, read as a stream in bounded memory.

An object is gzip if it begins with gzip's two magic bytes, whatever its name says, else text.
A gzip object may have several members and zero padding after any of them; each member's
checksum is verified. A UTF-8 byte order mark at the start is dropped, a line may end in LF or
CRLF, the last one in neither. A blank line (spaces and tabs only) is no line, yet it counts
for the line numbers, so that ``zcat object | sed -n 17p`` shows line 17.

What comes out depends on the object's bytes alone, never on how the store cut them into reads:
also from a damaged object, of which every line that was complete before the damage is given.
An error of the store itself (OSError and the like) is not damage and goes to the caller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, BinaryIO, Final, NamedTuple, cast

# zlib's own code, made fast for the processors of today: the same text, checks and words.
from zlib_ng import zlib_ng as zlib

LINE_LIMIT: Final = 1 << 20
"""Longest line in bytes, its end not counted."""
HEAD: Final = 64 << 10
"""Bytes kept of a line that is refused."""
BLOCK: Final = 1 << 20
"""Bytes of text in a block, about: few enough to stay in a processor's cache while the block is
unpacked, split and decoded."""

_BROKEN: Final = cast(type[Exception], zlib.error)  # its stubs take it for an instance
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_READ = 128 << 10
_PIECE = BLOCK


class Block(NamedTuple):
    """Complete lines without their ends, and the number of each in the object, from 1."""

    lines: list[bytes]
    numbers: Sequence[int]


class LongLine(NamedTuple):
    """A line over the limit: its number, its first 64 KiB, its whole length."""

    number: int
    head: bytes
    bytes: int


class UnreadableRest(NamedTuple):
    """All that follows the damage: the number a next line would have, the first 64 KiB and the
    whole length of the line that the damage cut, and what is wrong."""

    number: int
    head: bytes
    bytes: int
    detail: str


class _Damage(Exception):
    """The object cannot be unpacked any further."""


def lines(
    stream: BinaryIO, limit: int = LINE_LIMIT, block: int = BLOCK
) -> Iterator[Block | LongLine | UnreadableRest]:
    """The object's lines in order, in blocks; long lines apart; at most one rest, at the end.

    Takes a few times ``limit`` and ``block`` of memory, whatever the object holds. A long line
    comes right after the block of the lines around it.
    """
    splitter = _Splitter(limit, block)
    try:
        for piece in _without_bom(_text(stream)):
            yield from splitter.fed(piece)
    except _Damage as damage:
        yield from splitter.split()
        yield splitter.rest(str(damage))
    else:
        yield from splitter.split()
        yield from splitter.last()


class _Splitter:
    """Text in pieces of any size → lines. Holds at most a block, an unended line and a piece."""

    def __init__(self, limit: int, block: int) -> None:
        self._limit = limit
        self._block = block
        self._number = 1
        self._pieces: list[bytes] = []
        self._size = 0
        #: The unended line at hand is over the limit: only its head is kept, the rest counted.
        self._long = False
        self._head = b""
        self._end = b""

    def fed(self, piece: bytes) -> Iterator[Block | LongLine]:
        """What is complete once a block is held."""
        if self._long:
            cut = piece.find(b"\n")
            skipped = piece if cut < 0 else piece[:cut]
            self._head += skipped[: HEAD - len(self._head)]
            self._size += len(skipped)
            self._end = skipped[-1:] or self._end
            if cut < 0:
                return
            yield self._long_line()
            piece = piece[cut + 1 :]
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= self._block:
            yield from self.split()
            self._long = self._size > self._limit + len(b"\r")
            if self._long:
                text = self._pieces[0]
                self._head, self._end, self._pieces = text[:HEAD], text[-1:], []

    def split(self) -> Iterator[Block | LongLine]:
        """The complete lines held; the unended one stays."""
        if self._long:
            return
        text = b"".join(self._pieces)
        found = text.split(b"\n")
        rest = found.pop()
        self._pieces, self._size = [rest], len(rest)
        if found:
            yield from self._lines(found, returns=b"\r" in text)

    def last(self) -> Iterator[Block | LongLine]:
        """The last line, which no line feed ends."""
        if self._long:
            yield self._long_line()
        elif self._size:
            yield from self._lines([b"".join(self._pieces)], returns=True)

    def rest(self, detail: str) -> UnreadableRest:
        """The line that the damage cut, and all that is lost behind it."""
        head = self._head if self._long else b"".join(self._pieces)[:HEAD]
        return UnreadableRest(self._number, head, self._size, detail)

    def _lines(self, found: list[bytes], *, returns: bool) -> Iterator[Block | LongLine]:
        numbers: Sequence[int] = range(self._number, self._number + len(found))
        self._number += len(found)
        if returns:
            found = [line.removesuffix(b"\r") for line in found]
        if max(map(len, found)) <= self._limit and all(map(bytes.strip, found)):
            yield Block(found, numbers)
            return
        numbered = list(zip(numbers, found, strict=True))
        short = [n for n in numbered if len(n[1]) <= self._limit and n[1].strip(b" \t\r")]
        if short:
            yield Block([line for _, line in short], [number for number, _ in short])
        for number, line in numbered:
            if len(line) > self._limit:
                yield LongLine(number, line[:HEAD], len(line))

    def _long_line(self) -> LongLine:
        length = self._size - (self._end == b"\r")
        line = LongLine(self._number, self._head[:length], length)
        self._number += 1
        self._long, self._head, self._size = False, b"", 0
        return line


def _text(stream: BinaryIO) -> Iterator[bytes]:
    """The object's text, unpacked where it is gzip; raises _Damage behind the last good byte."""
    reads = iter(lambda: stream.read(_READ), b"")
    first = b""
    for read in reads:
        first += read
        if len(first) >= len(_GZIP):
            break
    every = chain([first], reads)
    return _unpacked(every) if first.startswith(_GZIP) else every


def _without_bom(pieces: Iterator[bytes]) -> Iterator[bytes]:
    first = b""
    try:
        for piece in pieces:
            first += piece
            if len(first) >= len(_BOM):
                break
    except _Damage:
        yield first.removeprefix(_BOM)
        raise
    yield first.removeprefix(_BOM)
    yield from pieces


def _unpacked(reads: Iterable[bytes]) -> Iterator[bytes]:
    """The text of all members, never more than ``_PIECE`` of it at once."""
    member = None
    for read in reads:
        packed, full = read, False
        while packed or full:
            if member is None:
                packed = packed.lstrip(b"\0")
                if not packed:
                    break
                member = zlib.decompressobj(wbits=31)
            text, error = _inflated(member, packed)
            yield text
            if error:
                raise _Damage(error)
            # A full piece may leave text inside the decompressor with no input left over.
            full = len(text) == _PIECE and not member.eof
            packed = member.unused_data if member.eof else member.unconsumed_tail
            member = None if member.eof else member
    if member is not None:
        raise _Damage("the gzip data end too early")


def _inflated(member: Any, packed: bytes) -> tuple[bytes, str]:
    """Up to ``_PIECE`` of text, and what is wrong right behind it, if anything.

    zlib throws away the text of the call it fails in, so the call is then repeated on a copy,
    to give every byte before the damage wherever the reads were cut.
    """
    before = member.copy()
    try:
        return member.decompress(packed, _PIECE), ""
    except _BROKEN as error:
        return _salvaged(before, packed), str(error).rpartition(": ")[2]


def _salvaged(member: Any, packed: bytes) -> bytes:
    """The text before the damage that lies in ``packed``; it is less than ``_PIECE``."""
    good, bad = 0, len(packed)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            member.copy().decompress(packed[:middle])
            good = middle
        except _BROKEN:
            bad = middle
    text = bytearray(member.decompress(packed[:good]) if good else b"")
    tail = packed[good:bad]
    try:  # the symbols that end inside the last byte, or that were waiting for room
        while more := member.decompress(tail, 1):
            text += more
            tail = member.unconsumed_tail
    except _BROKEN:
        pass
    return bytes(text)
