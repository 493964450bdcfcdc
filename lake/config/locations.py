"""Where things lie: a local folder or a prefix of an S3 bucket."""

from __future__ import annotations

import os
import re
from pathlib import Path

_SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>.*)", re.DOTALL)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

_WANTED = "wanted a folder, s3://bucket/prefix or s3a://bucket/prefix"


def located(text: str, folder: Path) -> str:
    """An S3 address as it is written, without a slash at its end; any other as absolute path.

    ``folder`` is what a relative path is relative to. Only the text is looked at, not the disk.
    Raises ValueError, without the text, for what is neither.
    """
    match = _SCHEME.fullmatch(text)
    if match is None or match["scheme"] == "file":
        return local_path(text, folder)
    if match["scheme"] not in ("s3", "s3a"):
        raise ValueError(f"found an address of another kind, {_WANTED}")
    bucket, _, _ = match["rest"].partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"found no valid bucket name, {_WANTED}")
    return text.rstrip("/")


def local_path(text: str, folder: Path) -> str:
    """An absolute local path without ``.`` and ``..``.

    Raises ValueError, without the text, for an address, an empty path and ``~``.
    """
    text = text.removeprefix("file://")
    if "://" in text:
        raise ValueError("found an address, wanted a local path")
    if not text.strip() or "\0" in text:
        raise ValueError("found an empty path, wanted a path")
    if text.startswith("~"):
        # Whose home it is would depend on who runs the night.
        raise ValueError("found ~, wanted a path; ${HOME} can be used")
    return os.path.normpath(folder.absolute() / text)


def is_s3(location: str) -> bool:
    """Whether a location is an S3 address."""
    return location.startswith(("s3://", "s3a://"))


def uri(location: str) -> str:
    """A location as Spark and Hadoop take it: ``s3a://…``, or ``file://`` and the plain path.

    The path is not percent-encoded: Hadoop reads it as it stands. Without the scheme, a cluster
    whose default file system is another one would look there.

    >>> uri("s3://bucket/prefix"), uri("/srv/my lake")
    ('s3a://bucket/prefix', 'file:///srv/my lake')
    """
    if is_s3(location):
        return "s3a://" + location.partition("://")[2]
    return f"file://{location}"


def contains(outer: str, inner: str) -> bool:
    """Whether one location is another or lies around it; symbolic links are followed."""
    return _parts(inner)[: len(_parts(outer))] == _parts(outer)


def _parts(location: str) -> tuple[str, ...]:
    if is_s3(location):
        return ("s3", *(part for part in location.partition("://")[2].split("/") if part))
    return Path(os.path.realpath(location)).parts
