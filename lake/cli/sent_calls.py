"""The readable calls of a stream of lines, when each came and what it carries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from lake.events.calls import Call, calls, instant, payload_hash
from lake.events.lines import Block, LongLine, UnreadableRest, lines
from lake.events.rejection import Reason, Rejection
from lake.identity.identifiers import VALUE_LIMIT, Extraction, IdentitySet, extractor

_SECOND = 1_000_000


class Refused(NamedTuple):
    """A line that is no call, and why in words that hold none of its values."""

    line: int
    reason: Reason
    detail: str


class Sent(NamedTuple):
    """A readable call: where it stood, what it is, when it came, what it carries."""

    line: int
    call: Call
    received: int
    timed: bool
    digest: bytes
    identity: IdentitySet

    @property
    def happened(self) -> int:
        """When it says it happened; a call that does not say counts from its arrival."""
        stated = instant(self.call.timestamp)
        return self.received if stated is None else stated


def sent(
    stream: BinaryIO, extraction: Extraction, limit: int, refused: list[Refused]
) -> Iterator[Sent]:
    """The readable calls in the order of their lines; the other lines go to ``refused``."""
    extract = extractor(extraction)
    before: int | None = None
    for number, line, read in _read(stream, limit):
        if isinstance(read, Rejection):
            refused.append(Refused(number, *read))
            continue
        identity = extract(
            read.type, read.user_id, read.anonymous_id, read.context, read.traits, read.properties
        )
        if identity.too_long:
            why = f"a value of {identity.too_long} is over {VALUE_LIMIT} characters"
            refused.append(Refused(number, Reason.IDENTIFIER_TOO_LONG, why))
            continue
        told = _received(read)
        after = 0 if before is None else before + _SECOND
        before = after if told is None else told
        yield Sent(number, read, before, told is not None, payload_hash(line), identity)


def _read(stream: BinaryIO, limit: int) -> Iterator[tuple[int, bytes, Call | Rejection]]:
    for part in lines(stream, limit):
        match part:
            case Block():
                yield from zip(part.numbers, part.lines, calls(part.lines), strict=True)
            case LongLine():
                why = f"{part.bytes} bytes, over {limit}"
                yield part.number, part.head, Rejection(Reason.LINE_TOO_LONG, why)
            case UnreadableRest():
                yield part.number, part.head, Rejection(Reason.UNREADABLE_REST, part.detail)


def _received(call: Call) -> int | None:
    """When a call arrived, as far as it tells."""
    times = (call.received_at, call.sent_at, call.timestamp, call.original_timestamp)
    return next((at for sent in times if (at := instant(sent)) is not None), None)
