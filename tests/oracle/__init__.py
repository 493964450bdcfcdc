"""An independent judge of whole runs: landed lines in, profiles and violations out.

Where the sources are silent it takes this reading:

- Blank lines are no lines. Invalid UTF-8 is judged before JSON; trailing garbage is `not_json`.
- Numbers identify by their text; booleans, objects, empty and blank values identify nobody.
- An alias call carries its user id alone; stray `traits` of a track call are no place to look.
- Blocked values are judged after normalisation, and reported once per set and day.
- The clock of sliding windows is the timestamp; a value counts while it is younger than the window.
- `drop_conflict` speaks of the strongest broken type. At a merge cap nothing is merged at all.
- An identifier's calls are all that carry it. Traits follow arrival, whatever orders identities.
"""

from .publishing import World, judge
from .settings import Identifier, Line, Settings

__all__ = ["Identifier", "Line", "Settings", "World", "judge"]
