"""Every deliberate failure, its exit code and whether trying again may help.

An error says where, what was found, what was wanted and what to do. It never contains a
customer's value: a kind and a count are enough to act on.

| code | meaning |
|---|---|
| 0 | done, or nothing to do |
| 1 | failed; a retry may help |
| 2 | wrong usage or configuration; a retry cannot help |
| 3 | the quality gate kept the old publication |
| 4 | published with warnings, under ``--strict`` |
| 75 | another run holds the lease |
"""

from __future__ import annotations

from typing import ClassVar


class LakeError(Exception):
    """A failure that is explained to its reader; printed without a traceback."""

    exit_code: ClassVar[int] = 1
    retriable: ClassVar[bool] = True


class ConfigError(LakeError):
    """The configuration or the command line is wrong; nothing was started."""

    exit_code = 2
    retriable = False


class SetupError(LakeError):
    """Something the product needs is not installed (Java, a jar); nothing was started."""

    exit_code = 2
    retriable = False


class ContractError(LakeError):
    """A frame does not match its table; nothing was written."""

    retriable = False


class ConservationError(LakeError):
    """Lines, calls or people would have been lost or counted twice; nothing was published."""

    retriable = False


class StorageError(LakeError):
    """The object store or the disk did not do what was asked."""


class CommitError(LakeError):
    """A commit's outcome is unknown or it lost against another writer."""


class GateClosed(LakeError):
    """An expectation marked ``block`` failed: yesterday's publication stays in place."""

    exit_code = 3
    retriable = False


class PublishedWithWarnings(LakeError):
    """Published, but expectations marked ``warn`` failed and ``--strict`` was given."""

    exit_code = 4
    retriable = False


class LeaseHeld(LakeError):
    """Another run is writing to this lake."""

    exit_code = 75


class NotFound(LakeError):
    """What was asked for is not in the lake."""

    exit_code = 1
    retriable = False
