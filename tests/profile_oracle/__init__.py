"""An independent judge of what is published about profiles: plain Python over plain calls.

It shares no code with the product and goes about its work otherwise: it looks at every call of a
profile, knows no identity sets, no partial sums and no expressions. Questions are Python functions
of a profile's calls; consent is a walk through the calls in their order, with the parts of the
profile as they grow together.
"""

from tests.profile_oracle.accounts import activity
from tests.profile_oracle.calls import Told, calls_of
from tests.profile_oracle.consent import consent
from tests.profile_oracle.traits import Rule, Verdict, judged

__all__ = ["Rule", "Told", "Verdict", "activity", "calls_of", "consent", "judged"]
