"""Storage as the product sees it: whole objects with a version, on disk or in an S3 store.

A URI is a local path (plain, or with ``file:`` before it; never percent-decoded) or
``s3://bucket/key``; ``s3a://`` means the same. What is handed out is always in one spelling, see
`canonical_uri`, so a source may change from ``s3a://`` to ``s3://`` without being new.

* A **prefix** is a folder: below ``landing/web`` there is no ``landing/web2/x``. A folder that is
  not there is empty, on disk as in S3, where the two cannot be told apart.
* A **version** is an etag: what the store calls so in S3, size and change time on disk. A file
  rewritten in place within one tick of the file system's clock, to the same size, goes unseen.
* A listing leaves out names that begin with ``.`` or ``_`` (``_SUCCESS``, ``.part.crc``, files on
  their way) and empty keys that end in ``/`` (folder markers). Only the last segment counts: in
  ``_old/calls.gz`` the object is listed.
* ``put_new`` and ``replace`` have one winner however many race, on disk across processes of one
  host (a network disk must honour ``link`` and ``flock``), in S3 by If-None-Match and If-Match.

Errors are StorageError, which says what to do; ObjectChanged and ObjectMissing are kinds of it.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import time
import uuid
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
)

from lake.errors import StorageError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

#: Tries of one request, and of one position in a stream, before the failure is reported.
ATTEMPTS = 5
CONNECT_TIMEOUT_SECONDS = 5
READ_TIMEOUT_SECONDS = 60
_BUFFER_BYTES = 1 << 20
_WRITE_ID = "write-id"


class ObjectChanged(StorageError):
    """The object is no longer the version that was asked for."""


class ObjectMissing(StorageError):
    """The object is gone."""


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of one object: canonical URI, etag, size in bytes, last change in UTC."""

    uri: str
    etag: str
    size: int
    last_modified: datetime


class StorageSettings(Protocol):
    """What the configuration says about an S3 store; None leaves it to the AWS default chain."""

    @property
    def endpoint(self) -> str | None:
        """URL of an S3-compatible store; None for AWS."""

    @property
    def access_key(self) -> str | None:
        """Id of the key."""

    @property
    def secret_key(self) -> str | None:
        """The secret; never shown."""

    @property
    def region(self) -> str | None:
        """Region to sign for."""


class Objects(Protocol):
    """A store of whole objects. Values of it can be pickled and used in Spark's workers."""

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """Every object below the folder, at any depth, in bytewise order of URI.

        The whole listing is held in memory (about 400 bytes an object) to be sorted, because
        stores differ in their order. S3: a request per 1,000 objects.
        """

    def children(self, prefix: str) -> list[str]:
        """Names of objects and folders one level down, bytewise; none that begin with ``.``."""

    def open_stream(self, uri: str, etag: str) -> BinaryIO:
        """The bytes of exactly this version; what was read before an error is right.

        Raises ObjectChanged or ObjectMissing here, or while reading when it happens then. A lost
        connection is taken up again where it broke.
        """

    def get(self, uri: str) -> tuple[bytes, str] | None:
        """The body and its etag, or None where there is no object."""

    def age(self, uri: str) -> float | None:
        """Seconds since the last write, both ends by the store's own clock, or None.

        Right however wrong the caller's clock is. S3 tells whole seconds: the answer may be one
        second off either way.
        """

    def put(self, uri: str, body: bytes) -> None:
        """Write, whatever is there. Readers see the old body or the new one, nothing between."""

    def put_data(self, uri: str, body: bytes) -> None:
        """Write an object under a name that nobody knows yet, so it may be seen half-written.

        As cheap as the store can: of thousands of data files, a later commit names them all.
        """

    def put_new(self, uri: str, body: bytes) -> bool:
        """Write if there is no object yet; False if there is one, which is left as it is."""

    def replace(self, uri: str, body: bytes, etag: str) -> bool:
        """Write if the object is still this version; False if it changed or is gone.

        After a lost answer the object is asked who wrote it. Should another writer have replaced
        our write before that, the answer is False although our body was there for a moment.
        """

    def delete(self, uri: str, etag: str | None = None) -> bool:
        """Remove the object, or only this version of it; True if it was there."""

    def delete_folder(self, prefix: str) -> None:
        """Remove everything below the folder, unlisted names too; nothing if it is not there."""


def canonical_uri(uri: str) -> str:
    """One spelling for each place, without a slash at the end.

    >>> canonical_uri("s3a://lake/landing/"), canonical_uri("file:///data/./landing")
    ('s3://lake/landing', '/data/landing')
    """
    if is_s3(uri):
        return "s3://" + uri.split("://", 1)[1].rstrip("/")
    path = uri.removeprefix("file:")
    return os.path.abspath("/" + path.lstrip("/") if path != uri and path[:1] == "/" else path)


def is_s3(uri: str) -> bool:
    """Whether the URI names a place in an S3 store. Raises StorageError for another scheme."""
    scheme, mark, _ = uri.partition("://")
    if not mark or not scheme.isalnum() or scheme == "file":
        return False
    if scheme not in {"s3", "s3a"}:
        raise StorageError(f"{scheme}:// is not a place this product reads; use s3:// or a path.")
    return True


def objects_for(uri: str, storage: StorageSettings | None = None) -> Objects:
    """The store that holds this URI; the settings matter to S3 only. No request is made."""
    if not is_s3(uri):
        return LocalObjects()
    if storage is None:
        return S3Objects()
    return S3Objects(storage.endpoint, storage.access_key, storage.secret_key, storage.region)


def _bytewise(text: str) -> bytes:
    return os.fsencode(text)


# --- on disk ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class LocalObjects:
    """Files. Links are followed, a loop of them once; folders are made as they are needed."""

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """See Objects. A file that goes away during the listing is not in it."""
        folder, found = canonical_uri(prefix), []
        with _explained_disk("list", folder):
            for path in _files(folder, frozenset()):
                with suppress(FileNotFoundError):
                    found.append(_local_version(path, os.stat(path)))
        yield from sorted(found, key=lambda version: _bytewise(version.uri))

    def children(self, prefix: str) -> list[str]:
        """See Objects."""
        folder = canonical_uri(prefix)
        with _explained_disk("list", folder), suppress(FileNotFoundError):
            names = (name for name in os.listdir(folder) if not name.startswith("."))
            return sorted(names, key=_bytewise)
        return []

    def open_stream(self, uri: str, etag: str) -> BinaryIO:
        """See Objects. The file is looked at again at its end: an appended line is a change."""
        path = canonical_uri(uri)
        with _explained_disk("read", path):
            try:
                return io.BufferedReader(_UnchangedFile(path, etag), _BUFFER_BYTES)
            except FileNotFoundError:
                raise _missing(path) from None

    def get(self, uri: str) -> tuple[bytes, str] | None:
        """See Objects."""
        path = canonical_uri(uri)
        with _explained_disk("read", path), suppress(FileNotFoundError), open(path, "rb") as file:
            return file.read(), _local_etag(os.fstat(file.fileno()))
        return None

    def age(self, uri: str) -> float | None:
        """See Objects. The store's clock is this host's."""
        path = canonical_uri(uri)
        with _explained_disk("read", path), suppress(FileNotFoundError):
            return (time.time_ns() - os.stat(path).st_mtime_ns) / 1e9
        return None

    def put(self, uri: str, body: bytes) -> None:
        """See Objects."""
        path = canonical_uri(uri)
        with _explained_disk("write", path), _written_aside(path, body) as aside, _locked(path):
            _move(aside, path)

    def put_data(self, uri: str, body: bytes) -> None:
        """See Objects. Neither locked nor synced, as Spark's own data files are."""
        path = canonical_uri(uri)
        with _explained_disk("write", path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(body)

    def put_new(self, uri: str, body: bytes) -> bool:
        """See Objects. A link to a finished file: atomic, and never seen half-written."""
        path = canonical_uri(uri)
        with _explained_disk("write", path), _written_aside(path, body) as aside:
            try:
                os.link(aside, path)
            except FileExistsError:
                return False
            _sync_folder(Path(path).parent)
        return True

    def replace(self, uri: str, body: bytes, etag: str) -> bool:
        """See Objects. Compared and renamed under the folder's lock."""
        path = canonical_uri(uri)
        with _explained_disk("write", path), _written_aside(path, body) as aside, _locked(path):
            if _etag_at(path) != etag:
                return False
            _move(aside, path)
        return True

    def delete(self, uri: str, etag: str | None = None) -> bool:
        """See Objects. The folder stays, even when empty."""
        path = canonical_uri(uri)
        if not os.path.isdir(os.path.dirname(path)):
            return False
        with _explained_disk("delete", path), _locked(path):
            found = _etag_at(path)
            if found is None or etag not in {None, found}:
                return False
            os.unlink(path)
            _sync_folder(Path(path).parent)
        return True

    def delete_folder(self, prefix: str) -> None:
        """See Objects."""
        folder = canonical_uri(prefix)
        with _explained_disk("delete", folder), suppress(FileNotFoundError):
            shutil.rmtree(folder)


class _UnchangedFile(io.FileIO):
    """A file that is the wanted version when it is opened and still is at its end."""

    def __init__(self, path: str, etag: str) -> None:
        super().__init__(path, "rb")
        self._path, self._etag = path, etag
        try:
            self._check()
        except ObjectChanged:
            self.close()
            raise

    def _check(self) -> None:
        if _local_etag(os.fstat(self.fileno())) != self._etag:
            raise _changed(self._path)

    def readinto(self, buffer: Any) -> int:
        with _explained_disk("read", self._path):
            count = super().readinto(buffer)
        if not count:
            self._check()
        return count

    def readall(self) -> bytes:
        with _explained_disk("read", self._path):
            body = super().readall()
        self._check()
        return body


def _files(folder: str, above: frozenset[tuple[int, int]]) -> Iterator[str]:
    """Paths of the listed files below a folder; `above` are the folders on the way to it."""
    try:
        place = os.stat(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    here = above | {(place.st_dev, place.st_ino)}
    if here == above:
        return
    for entry in entries:
        if entry.is_dir():
            yield from _files(entry.path, here)
        elif entry.is_file() and _is_listed(entry.name):
            yield entry.path


def _is_listed(name: str) -> bool:
    return not name.startswith((".", "_"))


def _local_version(path: str, status: os.stat_result) -> ObjectVersion:
    try:
        path.encode()
    except UnicodeEncodeError:
        folder = os.path.dirname(path)
        raise StorageError(f"A file name in {folder!a} is not UTF-8; rename it.") from None
    seconds, nanoseconds = divmod(status.st_mtime_ns, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)
    return ObjectVersion(path, _local_etag(status), status.st_size, moment)


def _local_etag(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _etag_at(path: str) -> str | None:
    with suppress(FileNotFoundError):
        return _local_etag(os.stat(path))
    return None


@contextmanager
def _written_aside(path: str, body: bytes) -> Iterator[str]:
    """A finished, synced file next to `path`, gone again at the end unless it was moved."""
    folder = Path(path).parent
    _make_folder(folder)
    aside = str(folder / f".{uuid.uuid4().hex}.tmp")
    try:
        with open(aside, "xb") as file:
            file.write(body)
            file.flush()
            # Finer than the kernel's own stamp, which two writes in one tick would share.
            now = time.time_ns()
            os.utime(aside, ns=(now, now))
            os.fsync(file.fileno())
        yield aside
    finally:
        with suppress(FileNotFoundError):
            os.unlink(aside)


def _move(aside: str, path: str) -> None:
    """Rename over `path`, with a change time later than the one it replaces: a new etag."""
    with suppress(FileNotFoundError):
        before, mine = os.stat(path).st_mtime_ns, os.stat(aside).st_mtime_ns
        if mine <= before:
            os.utime(aside, ns=(before + 1, before + 1))
    os.rename(aside, path)
    _sync_folder(Path(path).parent)


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """The folder's lock, against threads and other processes of this host."""
    lock = os.open(os.path.join(os.path.dirname(path), ".lock"), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        # Unlocked by name: a child forked meanwhile holds a copy of the descriptor.
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """A new name in a folder survives a power cut only after this."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained_disk(verb: str, path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"Could not {verb} {path}: {error.strerror}. Check the path, its permissions and "
            "the space on the disk, then run again."
        ) from error


# --- in an S3 store --------------------------------------------------------------------------


@dataclass(frozen=True)
class S3Objects:
    """An S3 store. With an endpoint, addressed by path, as S3-compatible stores want it.

    Each process makes one client for all equal values, when it first needs it. Requests are tried
    ATTEMPTS times. The store must honour conditional writes; `lake.io.lease` proves that it does.
    """

    endpoint: str | None = None
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    region: str | None = None

    @property
    def client(self) -> S3Client:
        """The boto3 client of this process."""
        # By process: a connection pool must not be shared with a forked child.
        return _client(os.getpid(), self)

    def versions(self, prefix: str) -> Iterator[ObjectVersion]:
        """See Objects."""
        bucket, folder = _folder(prefix)
        with _explained_s3("list", prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=folder
            )
            found = [
                ObjectVersion(
                    f"s3://{bucket}/{item['Key']}",
                    item["ETag"].strip('"'),
                    item["Size"],
                    item["LastModified"].astimezone(UTC),
                )
                for page in pages
                for item in page.get("Contents", [])
                if _is_listed(item["Key"].rsplit("/", 1)[-1])
                and not (item["Key"].endswith("/") and item["Size"] == 0)
            ]
        yield from sorted(found, key=lambda version: _bytewise(version.uri))

    def children(self, prefix: str) -> list[str]:
        """See Objects."""
        bucket, folder = _folder(prefix)
        with _explained_s3("list", prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=folder, Delimiter="/"
            )
            keys = set()
            for page in pages:
                keys |= {item["Key"] for item in page.get("Contents", [])}
                keys |= {item["Prefix"] for item in page.get("CommonPrefixes", [])}
        names = {key.removeprefix(folder).removesuffix("/") for key in keys}
        return sorted((name for name in names if name and name[0] != "."), key=_bytewise)

    def open_stream(self, uri: str, etag: str) -> BinaryIO:
        """See Objects."""
        return io.BufferedReader(_S3Stream(self, uri, etag), _BUFFER_BYTES)

    def get(self, uri: str) -> tuple[bytes, str] | None:
        """See Objects. Held in memory: for the product's own small objects."""
        try:
            stream = _S3Stream(self, uri, None)
        except ObjectMissing:
            return None
        with stream:
            return stream.readall(), stream.etag

    def age(self, uri: str) -> float | None:
        """See Objects."""
        with _explained_s3("read", uri):
            answer = self._head(uri)
        if answer is None:
            return None
        told = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
        now = parsedate_to_datetime(told) if told else datetime.now(UTC)
        return float((now - answer["LastModified"]).total_seconds())

    def put(self, uri: str, body: bytes) -> None:
        """See Objects."""
        bucket, key = _bucket_and_key(uri)
        with _explained_s3("write", uri):
            self.client.put_object(Bucket=bucket, Key=key, Body=body, ContentMD5=_md5(body))

    def put_data(self, uri: str, body: bytes) -> None:
        """See Objects."""
        self.put(uri, body)

    def put_new(self, uri: str, body: bytes) -> bool:
        """See Objects."""
        return self._put_if(uri, body, {"IfNoneMatch": "*"})

    def replace(self, uri: str, body: bytes, etag: str) -> bool:
        """See Objects."""
        return self._put_if(uri, body, {"IfMatch": f'"{etag}"'})

    def delete(self, uri: str, etag: str | None = None) -> bool:
        """See Objects. Looks first, because S3 confirms the deletion of what never was."""
        bucket, key = _bucket_and_key(uri)
        with _explained_s3("delete", uri):
            found = self._head(uri)
            if found is None or etag not in {None, found["ETag"].strip('"')}:
                return False
            condition: Any = {"IfMatch": f'"{etag}"'} if etag else {}
            try:
                self.client.delete_object(Bucket=bucket, Key=key, **condition)
            except ClientError as error:
                if _status(error) == 412 or _is_absent(error):
                    return False
                raise
        return True

    def delete_folder(self, prefix: str) -> None:
        """See Objects. A request per 1,000 objects to list, and one an object to delete."""
        bucket, folder = _folder(prefix)
        with _explained_s3("delete", prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=folder
            )
            for key in [item["Key"] for page in pages for item in page.get("Contents", [])]:
                self.client.delete_object(Bucket=bucket, Key=key)

    def _head(self, uri: str) -> Any:
        bucket, key = _bucket_and_key(uri)
        try:
            return self.client.head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if _is_absent(error):
                return None
            raise

    def _put_if(self, uri: str, body: bytes, condition: Any) -> bool:
        """Whether the conditional write is ours, also when its first answer was lost.

        A write that landed and was then tried again is refused by its own first try; the mark it
        left in the object's metadata tells that it was ours.
        """
        bucket, key = _bucket_and_key(uri)
        mark = {_WRITE_ID: uuid.uuid4().hex}
        what: Any = {"Body": body, "ContentMD5": _md5(body), "Metadata": mark, **condition}
        with _explained_s3("write", uri):
            for attempt in range(ATTEMPTS):
                try:
                    self.client.put_object(Bucket=bucket, Key=key, **what)
                except ClientError as error:
                    if _status(error) == 409:  # another conditional write is under way
                        time.sleep(0.1 * 2**attempt)
                        continue
                    if _status(error) != 412 and not _is_absent(error):
                        raise
                    found = self._head(uri)
                    return found is not None and found["Metadata"].get(_WRITE_ID) == mark[_WRITE_ID]
                else:
                    return True
        raise StorageError(f"Too many writers at once at {uri}; run again.")


class _S3Stream(io.RawIOBase):
    """One version of one object, read forward; a broken connection is taken up where it broke."""

    def __init__(self, objects: S3Objects, uri: str, etag: str | None) -> None:
        """Without an etag: the version that is there now, to its end."""
        super().__init__()
        self._objects, self._uri, self._at = objects, uri, 0
        answer = self._answer({"IfMatch": f'"{etag}"'} if etag else {})
        self._size, self._body = answer["ContentLength"], answer["Body"]
        self.etag: str = answer["ETag"].strip('"')

    def _answer(self, what: Any) -> Any:
        bucket, key = _bucket_and_key(self._uri)
        with _explained_s3("read", self._uri):
            return self._objects.client.get_object(Bucket=bucket, Key=key, **what)

    def _resume(self) -> None:
        self._body.close()
        rest = {"IfMatch": f'"{self.etag}"', "Range": f"bytes={self._at}-"}
        self._body = self._answer(rest)["Body"]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _explained_s3("read", self._uri):
            for attempt in range(ATTEMPTS):
                try:
                    if attempt:
                        self._resume()
                    count = int(self._body.readinto(buffer)) if self._at < self._size else 0
                except BotoCoreError:
                    if attempt + 1 == ATTEMPTS:
                        raise
                    continue
                self._at += count
                return count
        raise AssertionError("the last attempt returns or raises")

    def close(self) -> None:
        if not self.closed and hasattr(self, "_body"):
            self._body.close()
        super().close()


@lru_cache(maxsize=16)
def _client(_process: int, store: S3Objects) -> S3Client:
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=CONNECT_TIMEOUT_SECONDS,
        read_timeout=READ_TIMEOUT_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=32,
        s3={"addressing_style": "path"} if store.endpoint else {},
        # The newer default checksums are refused by several S3-compatible stores.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client: S3Client = boto3.Session().client(
        "s3",
        endpoint_url=store.endpoint,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
        region_name=store.region or ("us-east-1" if store.endpoint else None),
        config=config,
    )
    return client


def _bucket_and_key(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.split("://", 1)[1].partition("/")
    return bucket, key


def _md5(body: bytes) -> str:
    """For the store to refuse what a broken connection cut short; one was seen to keep it."""
    return b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _folder(prefix: str) -> tuple[str, str]:
    bucket, key = _bucket_and_key(canonical_uri(prefix))
    return bucket, f"{key}/" if key else ""


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _is_absent(error: ClientError) -> bool:
    return _status(error) == 404 and error.response["Error"].get("Code") != "NoSuchBucket"


@contextmanager
def _explained_s3(verb: str, uri: str) -> Iterator[None]:
    """Failures of the store in the product's words; the store's own text is left out."""
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StorageError(
            f"Could not {verb} {uri}: no S3 credentials. Set storage.access_key and "
            "storage.secret_key, or the AWS environment variables or profile."
        ) from error
    except ClientError as error:
        if _status(error) == 412:
            raise _changed(uri) from error
        if _is_absent(error):
            raise _missing(uri) from error
        raise StorageError(f"Could not {verb} {uri}: {_advice(error)}") from error
    except (ParamValidationError, ValueError) as error:
        raise StorageError(
            f"Could not {verb} {uri}: the path or storage.endpoint is not a possible address; "
            "correct it."
        ) from error
    except BotoCoreError as error:
        raise StorageError(
            f"Could not {verb} {uri}: {type(error).__name__} after {ATTEMPTS} tries; whether a "
            "write landed is not known. Check storage.endpoint and the network, then run again."
        ) from error


def _advice(error: ClientError) -> str:
    code = str(error.response["Error"].get("Code", "unknown"))
    if code == "NoSuchBucket":
        return "there is no such bucket. Make it or correct the path."
    if _status(error) in {401, 403}:
        return f"refused ({code}). Check the keys under storage and what they may do here."
    return f"the store answered {code} ({_status(error)}). Run again; ask its keeper if it stays."


def _changed(uri: str) -> ObjectChanged:
    return ObjectChanged(f"{uri} changed since it was listed; run again to take it as it is now.")


def _missing(uri: str) -> ObjectMissing:
    return ObjectMissing(f"{uri} is gone since it was listed; run again without it.")
