"""What was done in an account's name, counted call by call."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tests.profile_oracle.calls import Told


def activity(
    group: str, calls: Iterable[Told]
) -> tuple[int, int, datetime | None, datetime | None]:
    """How many calls but group calls name the account in their context, on how many days, and
    when the first and the last of them were."""
    times = [
        call.at
        for call in calls
        if call.body["type"] != "group" and (call.body.get("context") or {}).get("groupId") == group
    ]
    if not times:
        return 0, 0, None, None
    return len(times), len({at.date() for at in times}), min(times), max(times)
