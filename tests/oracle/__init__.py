"""An independent judge of whole runs: landed lines in, profiles and violations out.

Written from the published rules alone; it shares no code with what it judges and prefers the
obvious way to the fast one. Where the sources are silent it takes these readings:

- Blank lines are no lines. Invalid UTF-8 is judged before JSON; trailing garbage is `not_json`.
- Numbers identify by their text; booleans, objects, empty and blank values identify nobody.
- An alias call carries its user id alone; stray `traits` of a track call are no place to look.
- Blocked values are judged after normalisation, and reported once per set and day.
- One clock orders calls, tells days and times seen, moves windows and says which trait is newest.
  A value counts while it is younger than the window.
- A violation names the strongest broken type; `drop_conflict` looks at all broken types. At a
  merge cap nothing is merged at all. An identifier's calls are all that carry it.
"""

from .judging import World, judge
from .settings import Identifier, Line, Settings

__all__ = ["Identifier", "Line", "Settings", "World", "judge"]
