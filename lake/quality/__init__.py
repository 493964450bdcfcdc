"""The quality gate: what must hold before a candidate table is published.

Suites are data in Great Expectations' own format, one file a published table
(``conf/expectations``). A failed ``block`` keeps yesterday's publication in place, a failed
``warn`` is published and told.

- ``expectations``: the suites, read and checked as a whole.
- ``gate``: verdicts on a candidate table, and what follows from them.
- ``facts``: the counts that well-known expectations need, in one pass over the table.
- ``judge``: the only module that knows Great Expectations.

Why an empty lake passes: every expectation about rows holds where there are none, and that a
lake has profiles at all is only a ``warn``. Customers' values are neither held, returned nor
logged: a verdict has numbers alone.
"""
