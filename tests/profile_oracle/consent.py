"""Consent, as a walk through a profile's calls: parts grow together, words are said of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.profile_oracle.calls import Told

Part = tuple[set[Any], dict[str, str]]


def consent(calls: Iterable[Told]) -> dict[str, str]:
    """The state of each category that was spoken of, after all calls in their order."""
    parts: list[Part] = []
    for call in calls:
        met = [part for part in parts if part[0] & call.ids]
        ids: set[Any] = set(call.ids)
        states: dict[str, str] = {}
        for own, said in met:
            ids |= own
            for category, state in said.items():
                states[category] = state if states.get(category, state) == state else "conflict"
        context = call.body.get("context") or {}
        for category, given in context.get("consent", {}).get("categoryPreferences", {}).items():
            if isinstance(given, bool):
                states[category] = "granted" if given else "denied"
        parts = [part for part in parts if part not in met] + [(ids, states)]
    (whole,) = parts
    return whole[1]
