"""An independent judge of whole runs: landed lines in, profiles and violations out."""

from .publishing import World, judge
from .settings import Identifier, Line, Settings

__all__ = ["Identifier", "Line", "Settings", "World", "judge"]
