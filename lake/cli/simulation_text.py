"""A simulation told to a reader: the rules in force, each call and what it did, who is who."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from lake.cli.simulation import SimulatedCall, Simulation
from lake.cli.steps import Step, steps
from lake.identity.guards import REASONS
from lake.identity.resolve import Identifier, OnLimit, Reason, Strategy, Violation

#: More calls than this are not told one by one: each costs a resolution of all before it.
MOST = 500

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WIDTH = 96
_LABEL = 11

_DROPS = {
    OnLimit.DROP_LOWEST: "the identifier of lowest priority leaves the call",
    OnLimit.DROP_CONFLICT: "of those in the conflict, the one of lowest priority leaves the call",
}
_STRATEGIES = {
    Strategy.SEGMENT: "call by call: create a profile, add to it, or merge into the oldest",
    Strategy.LATEST_WINS: "the links of the newest call first, unless two values of a type with "
    "limit 1 would meet",
    Strategy.COMPONENTS: "whatever is connected is one profile, without limits",
}


class Heading(NamedTuple):
    """A title, and what there is to see; empty for nothing in particular."""

    title: str
    about: str


def simulation_text(simulation: Simulation, heading: Heading | None = None) -> str:
    """The whole story, in at most 96 columns where values allow it."""
    said = []
    if heading is not None:
        title = heading.title
        said += [title, "=" * len(title), *textwrap.wrap(heading.about, _WIDTH), ""]
    said += _rules(simulation)
    told = list(steps(simulation, MOST))
    for number, step in enumerate(told, start=1):
        said += ["", *_step(number, step, simulation)]
    if len(simulation.calls) > MOST:
        said += ["", f"{len(simulation.calls) - MOST} more calls, not told one by one."]
    said += ["", *_profiles(simulation, told), "", *_violations(simulation)]
    return "\n".join([*said, *_unresolved(simulation), *_left_out(simulation)])


def _rules(simulation: Simulation) -> Iterator[str]:
    """The rules in force, of the types that the calls carry."""
    rules = simulation.book.rules
    kinds = dict.fromkeys(
        kind
        for kind, _ in simulation.book.strongest_first(
            {i for call in simulation.calls for i in call.identifiers}
        )
    )
    yield f"Rules of space {simulation.book.space}"
    yield from _paragraph("  strategy", f"{rules.strategy}: {_STRATEGIES[rules.strategy]}")
    if rules.strategy is Strategy.SEGMENT:
        yield from _paragraph("  on limit", f"{rules.on_limit}: {_DROPS[rules.on_limit]}")
    yield from _paragraph("  order", f"calls by {simulation.book.clock}")
    limits = [
        kind if rules.strategy is Strategy.COMPONENTS else f"{kind} ({rules.limit(kind)})"
        for kind in kinds
    ]
    yield from _paragraph("  priority", " > ".join(limits) or "no call carries an identifier")


def _step(number: int, step: Step, simulation: Simulation) -> Iterator[str]:
    call = step.call
    yield f"{number}. {_title(call)}"
    yield from _carried(step)
    if step.earlier is not None:
        yield from _paragraph(
            "   repeats", f"{_shown(step.earlier)}: the same identifiers on the same UTC day"
        )
    elif call.linking:
        matches = sorted(set(step.known.values()))
        yield from _paragraph("   matches", _profile_list(matches) if matches else "no profile")
        yield from _dropped(step, simulation)
        yield from _done(step)
    if step.profile is None:
        yield from _paragraph("   goes to", f"nobody: {_why_nobody(call)}")
    else:
        yield from _paragraph("   goes to", f"profile {step.profile}")


def _title(call: SimulatedCall) -> str:
    name = "" if call.name is None else f' "{_shown(call.name)}"'
    time = f"{_EPOCH + timedelta(microseconds=call.at):%Y-%m-%d %H:%M:%S} UTC"
    return f"{call.kind}{name}, {_shown(call.message_id)}, {time if call.timed else 'no time'}"


def _carried(step: Step) -> Iterator[str]:
    """A line an identifier: where it is until now, or that it is new or guarded."""
    call = step.call
    if not call.identifiers:
        yield from _paragraph("   carries", "no identifier")
        return
    kinds, values = _widths(call.identifiers)
    label = "   carries"
    for kind, value in call.identifiers:
        state = f"on profile {step.known[kind, value]}" if (kind, value) in step.known else "new"
        guard = call.guards.get((kind, value))
        state = REASONS[guard] if guard else state
        yield f"{label:<{_LABEL}} {kind:<{kinds}}  {_shown(value):<{values}}  {state}"
        label = ""


def _dropped(step: Step, simulation: Simulation) -> Iterator[str]:
    """What the call lost, a line each, and why, once for each rule."""
    if step.lost:
        label = "   drops"
        kinds, values = _widths(v.identifier for v in step.lost)
        for v in step.lost:
            kind, value = v.identifier
            yield f"{label:<{_LABEL}} {kind:<{kinds}}  {_shown(value):<{values}}  {v.reason}"
            label = ""
        because = dict.fromkeys(_because(v, simulation) for v in step.lost)
        for sentence in because:
            yield from _paragraph("   because", sentence)
    for v in step.elsewhere:
        name = _shown(v.sighting.order[2])
        yield from _paragraph("   cuts", f"{_named(v.identifier)} from {name}: {v.reason}")


def _because(violation: Violation, simulation: Simulation) -> str:
    """The rule at work, in a sentence."""
    rules = simulation.book.rules
    rule = violation.rule
    if rule.startswith("always_together over "):
        return (
            f"an override joins it all the same, over {rule.removeprefix('always_together over ')}"
        )
    if rules.strategy is Strategy.LATEST_WINS:
        return f"links that came before it leave no room for this one ({rule})"
    if violation.reason is Reason.MERGE_LIMIT:
        return (
            f"the merged profile would pass {rule}: nothing merges, and the call stays with its "
            "strongest identifier"
        )
    if violation.reason is Reason.MAPPING_LIMIT:
        return f"the profile would pass {rule}"
    broken = "hold a never_together pair"
    if violation.reason is not Reason.NEVER_TOGETHER:
        broken = f"break {rule}"
    return f"one profile would {broken}; {_DROPS[rules.on_limit]}, which is tried again"


def _done(step: Step) -> Iterator[str]:
    """Created, added, merged, moved; or nothing."""
    done = False
    for number, founder in step.created.items():
        yield from _paragraph("   creates", f"profile {number}, founded by {_named(founder)}")
        done = True
    for gone, end in step.merged:
        if end in step.created:
            said = f"{_profile_list(gone)} to profile {end}"
            yield from _paragraph("   renames", said)
        else:
            yield from _paragraph(
                "   merges", f"{_profile_list(gone)} into profile {end}, the older"
            )
        done = True
    for identifier, was, now in step.moved:
        said = f"{_named(identifier)} from profile {was} to profile {now}"
        yield from _paragraph("   moves", said)
        done = True
    for number, identifiers in step.added.items():
        said = f"{', '.join(map(_named, identifiers))} to profile {number}"
        yield from _paragraph("   adds", said)
        done = True
    if not done:
        yield from _paragraph("   changes", "nothing")


def _why_nobody(call: SimulatedCall) -> str:
    if not call.identifiers:
        return str(Reason.NO_IDENTIFIERS)
    return "nothing it carries may link" if not call.linking else "no identifier is left"


def _profiles(simulation: Simulation, told: Sequence[Step]) -> Iterator[str]:
    """The end state, by creation; with the numbers that the steps gave."""
    numbers = {founder: n for step in told for n, founder in step.created.items()}
    profiles = simulation.resolution.profiles
    yield "Profiles" if profiles else "Profiles: none"
    for profile, calls in zip(profiles, simulation.members, strict=True):
        number = f"profile {numbers[profile.founder]}: " if profile.founder in numbers else ""
        yield f"  {number}{simulation.profile_id(profile)}"
        kinds, _ = _widths(profile.identifiers)
        for kind, value in profile.identifiers:
            yield f"    {kind:<{kinds}}  {_shown(value)}"
        yield from _paragraph("    calls", ", ".join(map(_shown, calls)) or "none", kinds + 5)


def _violations(simulation: Simulation) -> Iterator[str]:
    found = simulation.violations
    yield "Violations" if found else "Violations: none"
    if found:
        calls = max(len(_shown(lost.call)) for lost in found)
        kinds, values = _widths(lost.identifier for lost in found)
        for call, (kind, value), reason in found:
            yield f"  {_shown(call):<{calls}}  {kind:<{kinds}}  {_shown(value):<{values}}  {reason}"


def _unresolved(simulation: Simulation) -> Iterator[str]:
    """The calls that belong to nobody, and why."""
    nobody = set(simulation.unresolved)
    if nobody:
        yield from ("", "Unresolved")
        for call in simulation.calls:
            if call.message_id in nobody:
                yield f"  {_shown(call.message_id)}: {_why_nobody(call)}"


def _left_out(simulation: Simulation) -> Iterator[str]:
    """The lines that are no calls."""
    if simulation.refused:
        yield from ("", "Refused lines")
        for line, reason, detail in simulation.refused:
            yield from _paragraph(f"  line {line}", f"{reason.value}: {detail}")
    if simulation.repeats:
        yield from ("", "Repeated lines")
        for line, name in simulation.repeats:
            said = f"the message id {_shown(name)} is another line's, received earlier"
            yield from _paragraph(f"  line {line}", said)


def _paragraph(label: str, text: str, width: int = _LABEL) -> list[str]:
    """The text beside its label, wrapped."""
    start = f"{label:<{width}} "
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _widths(identifiers: Iterable[Identifier]) -> tuple[int, int]:
    """The longest type and the longest value."""
    pairs = [(len(kind), len(_shown(value))) for kind, value in identifiers]
    return max(k for k, _ in pairs), max(v for _, v in pairs)


def _named(identifier: Identifier) -> str:
    kind, value = identifier
    return f"{kind} {_shown(value)}"


def _shown(text: str) -> str:
    """A text of a call; as JSON where it could not be seen or would steer a terminal."""
    return text if text.isprintable() and text else json.dumps(text)


def _profile_list(numbers: Iterable[int]) -> str:
    """Profiles by number: ``profile 1``, ``profiles 1 and 2``."""
    *others, last = map(str, numbers)
    return f"profiles {', '.join(others)} and {last}" if others else f"profile {last}"
