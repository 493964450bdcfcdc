"""Storage keeps its promises, the same on disk and on a real S3 server."""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lake.errors import StorageError
from lake.io.objects import (
    LocalObjects,
    ObjectChanged,
    ObjectMissing,
    Objects,
    ObjectVersion,
    S3Objects,
    canonical_uri,
    objects_for,
)
from tests.support.proxy import Proxy
from tests.support.s3 import S3Server

#: Bytes let through before the cut. A put first waits for leave to send its body: without it, the
#: body is cut short; with it, only the answer is lost.
CONTINUE_AND_ANSWER = 0
ANSWER = len(b"HTTP/1.1 100 Continue\r\n\r\n")


@dataclass(frozen=True)
class Place:
    """A store and a folder in it that is the test's own."""

    objects: Objects
    root: str

    def uri(self, name: str) -> str:
        return f"{self.root}/{name}"

    def names(self, prefix: str = "") -> list[str]:
        found = self.objects.versions(self.uri(prefix))
        return [version.uri.removeprefix(self.root + "/") for version in found]


@pytest.fixture(params=["disk", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "disk":
        return Place(LocalObjects(), str(tmp_path / "store"))
    server: S3Server = request.getfixturevalue("s3_server")
    return Place(server.objects, request.getfixturevalue("s3_prefix"))


# --- listing ---------------------------------------------------------------------------------


def test_a_prefix_is_a_folder(place: Place) -> None:
    for name in ["web/a.gz", "web/2026/01/b.gz", "web2/c.gz", "web.gz"]:
        place.objects.put(place.uri(f"landing/{name}"), b"x")

    assert place.names("landing/web") == ["landing/web/2026/01/b.gz", "landing/web/a.gz"]
    assert place.names("landing/web/") == place.names("landing/web")
    assert place.names("landing/we") == []
    assert place.names("nowhere") == []


def test_a_listing_is_in_bytewise_order_across_folders(place: Place) -> None:
    names = ["o/a b", "o/a-b/1", "o/a/1", "o/a0", "o/z", "o/é", "o/日", "o/😀"]
    for name in reversed(names):
        place.objects.put(place.uri(name), b"x")

    assert names == sorted(names, key=str.encode)
    assert place.names() == names


def test_names_that_begin_with_a_dot_or_an_underscore_are_left_out(place: Place) -> None:
    for name in ["_SUCCESS", ".part-0.crc", "day=1/_x", "_old/calls.gz", ".d/calls.gz", "a_b.c"]:
        place.objects.put(place.uri(name), b"x")

    assert place.names() == [".d/calls.gz", "_old/calls.gz", "a_b.c"]


def test_a_version_tells_etag_size_and_time(place: Place) -> None:
    before = datetime.now(UTC)
    place.objects.put(place.uri("a.gz"), b"hello")
    (version,) = place.objects.versions(place.root)
    got = place.objects.get(place.uri("a.gz"))

    assert got == (b"hello", version.etag)
    assert (version.uri, version.size) == (place.uri("a.gz"), 5)
    assert version.last_modified.tzinfo is UTC
    assert abs(version.last_modified - before) < timedelta(seconds=30)


def test_more_objects_than_a_page_are_all_listed(s3_server: S3Server, s3_prefix: str) -> None:
    store, names = s3_server.objects, [f"{n:04d}" for n in range(1005)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.put(f"{s3_prefix}/{name}", b""), names))

    assert [v.uri for v in store.versions(s3_prefix)] == [f"{s3_prefix}/{name}" for name in names]


def test_a_folder_marker_is_not_an_object(s3_server: S3Server, s3_prefix: str) -> None:
    store = s3_server.objects
    store.put(f"{s3_prefix}/day=1/", b"")
    store.put(f"{s3_prefix}/day=1/calls.gz", b"x")

    assert [v.uri for v in store.versions(s3_prefix)] == [f"{s3_prefix}/day=1/calls.gz"]


def test_children_are_names_one_level_down(place: Place) -> None:
    for name in ["2/plan.json", "10/plan.json", "10/x/y", "_a", ".b"]:
        place.objects.put(place.uri(f"runs/{name}"), b"x")
    place.objects.put(place.uri("runs2/c"), b"x")

    assert place.objects.children(place.uri("runs")) == ["10", "2", "_a"]
    assert place.objects.children(place.uri("runs/10/")) == ["plan.json", "x"]
    assert place.objects.children(place.uri("nowhere")) == []


def test_links_to_folders_are_followed_and_a_loop_is_not(tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    (tmp_path / "mount" / "a.gz").write_bytes(b"x")
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "linked").symlink_to(tmp_path / "mount")
    (tmp_path / "web" / "loop").symlink_to(tmp_path / "web")
    (tmp_path / "web" / "nothing").symlink_to(tmp_path / "gone")

    found = [version.uri for version in LocalObjects().versions(str(tmp_path / "web"))]

    assert found == [f"{tmp_path}/web/linked/a.gz"]


def test_a_folder_that_may_not_be_read_is_an_error_not_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")

    with pytest.raises(StorageError, match=r"Could not list \S+/file: Not a directory"):
        list(LocalObjects().versions(str(tmp_path / "file")))


def test_a_file_name_that_is_not_utf8_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.gz")).write_bytes(b"x")

    with pytest.raises(StorageError, match="is not UTF-8; rename it"):
        list(LocalObjects().versions(str(tmp_path)))


# --- reading ---------------------------------------------------------------------------------


def test_a_stream_gives_the_bytes_as_they_are_stored(place: Place) -> None:
    body = gzip.compress(os.urandom(3_000_000))
    place.objects.put(place.uri("a.gz"), body)
    (version,) = place.objects.versions(place.root)

    with place.objects.open_stream(version.uri, version.etag) as stream:
        pieces = [stream.read(7), stream.read(2_500_000), stream.read()]
        assert stream.read() == b""

    assert (len(pieces[0]), len(pieces[1])) == (7, 2_500_000)
    assert b"".join(pieces) == body


def test_an_empty_object_is_an_empty_stream(place: Place) -> None:
    place.objects.put(place.uri("a"), b"")
    (version,) = place.objects.versions(place.root)

    assert version.size == 0
    assert place.objects.open_stream(version.uri, version.etag).read() == b""


def test_an_object_rewritten_since_it_was_listed_is_not_read(place: Place) -> None:
    place.objects.put(place.uri("a"), b"one")
    (version,) = place.objects.versions(place.root)
    place.objects.put(place.uri("a"), b"two")

    with pytest.raises(ObjectChanged, match="changed since it was listed"):
        place.objects.open_stream(version.uri, version.etag)


def test_an_object_gone_since_it_was_listed_is_said_to_be_gone(place: Place) -> None:
    place.objects.put(place.uri("a"), b"one")
    (version,) = place.objects.versions(place.root)
    place.objects.delete(version.uri)

    with pytest.raises(ObjectMissing, match="is gone since it was listed"):
        place.objects.open_stream(version.uri, version.etag)


def test_a_file_that_grows_while_it_is_read_is_noticed_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one\n")
    (version,) = LocalObjects().versions(str(tmp_path))

    for read_rest in (lambda stream: stream.read(), list):
        stream = LocalObjects().open_stream(version.uri, version.etag)
        with path.open("ab") as file:
            file.write(b"two\n")
        with pytest.raises(ObjectChanged):
            read_rest(stream)
        (version,) = LocalObjects().versions(str(tmp_path))


def test_nothing_is_got_where_nothing_is(place: Place) -> None:
    assert place.objects.get(place.uri("a")) is None
    assert place.objects.age(place.uri("a")) is None
    assert place.objects.delete(place.uri("a")) is False


def test_age_is_the_time_since_the_last_write(place: Place) -> None:
    place.objects.put(place.uri("a"), b"x")
    time.sleep(2.5)
    age = place.objects.age(place.uri("a"))
    assert age is not None
    assert 1.5 <= age < 30

    place.objects.put(place.uri("a"), b"x")
    again = place.objects.age(place.uri("a"))
    assert again is not None
    assert again < age + 1


# --- conditional writes ----------------------------------------------------------------------


def test_put_new_leaves_what_is_there(place: Place) -> None:
    assert place.objects.put_new(place.uri("a/b/plan.json"), b"one") is True
    assert place.objects.put_new(place.uri("a/b/plan.json"), b"two") is False
    assert got(place, "a/b/plan.json") == b"one"


def test_replace_wants_the_version_that_is_there(place: Place) -> None:
    place.objects.put(place.uri("a"), b"one")
    etag = etag_of(place, "a")

    assert place.objects.replace(place.uri("a"), b"two", etag) is True
    assert place.objects.replace(place.uri("a"), b"three", etag) is False
    assert got(place, "a") == b"two"
    assert place.objects.replace(place.uri("missing"), b"x", etag) is False
    assert place.objects.get(place.uri("missing")) is None


def test_delete_of_a_version_leaves_another(place: Place) -> None:
    place.objects.put(place.uri("a"), b"one")
    etag = etag_of(place, "a")
    place.objects.put(place.uri("a"), b"two")

    assert place.objects.delete(place.uri("a"), etag) is False
    assert got(place, "a") == b"two"
    assert place.objects.delete(place.uri("a"), etag_of(place, "a")) is True
    assert place.objects.get(place.uri("a")) is None


def test_of_racing_threads_one_writes(place: Place) -> None:
    racers = 8
    for round_ in range(4):
        uri, start = place.uri(f"race-{round_}"), threading.Barrier(racers)

        def race(racer: int, uri: str = uri, start: threading.Barrier = start) -> bool:
            start.wait()
            return place.objects.put_new(uri, f"racer {racer}".encode())

        with ThreadPoolExecutor(racers) as pool:
            won = list(pool.map(race, range(racers)))

        assert won.count(True) == 1
        assert got(place, f"race-{round_}") == f"racer {won.index(True)}".encode()


def test_of_racing_processes_one_writes(place: Place) -> None:
    won = in_processes(_race, 4, (place.objects, place.root))

    assert sorted(n for names in won for n in names) == list(range(10))
    winners = {n: racer for racer, names in enumerate(won) for n in names}
    bodies = {n: got(place, f"race-{n}") for n in range(10)}
    assert bodies == {n: f"racer {racer}".encode() for n, racer in winners.items()}


def test_increments_by_compare_and_swap_lose_nothing(place: Place) -> None:
    place.objects.put(place.uri("count"), b"00000")

    in_processes(_increment, 3, (place.objects, place.uri("count"), 15))
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda n: _increment(n, place.objects, place.uri("count"), 15), range(3)))

    assert got(place, "count") == b"00090"


def test_a_reader_never_sees_half_an_object(tmp_path: Path) -> None:
    store, uri = LocalObjects(), str(tmp_path / "a")
    bodies, stop = [bytes([n]) * 300_000 for n in (1, 2)], threading.Event()

    def write() -> None:
        while not stop.is_set():
            for body in bodies:
                store.put(uri, body)
            store.delete(uri)
            store.put_new(uri, bodies[0])

    writer = threading.Thread(target=write)
    writer.start()
    seen: set[bytes] = set()
    deadline = time.monotonic() + 60
    while len(seen) < 2 and time.monotonic() < deadline:
        seen |= {found[0] for found in [store.get(uri) for _ in range(50)] if found}
    stop.set()
    writer.join()

    assert seen == set(bodies)
    assert sorted(os.listdir(tmp_path)) == [".lock", "a"]


# --- a network that fails --------------------------------------------------------------------


@pytest.mark.parametrize("lost", [CONTINUE_AND_ANSWER, ANSWER])
def test_a_write_whose_answer_was_lost_is_ours(
    s3_server: S3Server, s3_prefix: str, lost: int
) -> None:
    uri = f"{s3_prefix}/lease.json"
    with Proxy(s3_server.endpoint, cut_after=lost) as proxy:
        store = through(proxy, s3_server)
        assert store.put_new(uri, b"one") is True
        assert proxy.cuts == 1
    found = s3_server.objects.get(uri)
    assert found is not None
    assert found[0] == b"one"

    with Proxy(s3_server.endpoint, cut_after=lost) as proxy:
        store = through(proxy, s3_server)
        assert store.replace(uri, b"two", found[1]) is True
        assert proxy.cuts == 1
    assert s3_server.objects.put_new(uri, b"three") is False
    assert got(Place(s3_server.objects, s3_prefix), "lease.json") == b"two"


def test_a_broken_download_is_taken_up_where_it_broke(s3_server: S3Server, s3_prefix: str) -> None:
    body = os.urandom(3_000_000)
    s3_server.objects.put(f"{s3_prefix}/a.gz", body)
    (version,) = s3_server.objects.versions(s3_prefix)

    with Proxy(s3_server.endpoint, cut_after=2_000_000) as proxy:
        store = through(proxy, s3_server)
        assert store.open_stream(version.uri, version.etag).read() == body
        assert proxy.cuts == 1
    with Proxy(s3_server.endpoint, cut_after=2_000_000) as proxy:
        assert through(proxy, s3_server).get(version.uri) == (body, version.etag)
        assert proxy.cuts == 1


def test_a_store_that_is_not_there_is_an_error_with_advice() -> None:
    store = S3Objects("http://127.0.0.1:9", "someaccess", "topsecret")

    with pytest.raises(StorageError, match=r"Check storage.endpoint and the network") as caught:
        store.get("s3://lake/a")
    assert "secret" not in str(caught.value)
    assert "topsecret" not in repr(store)
    assert "someaccess" not in repr(store)


def test_wrong_keys_and_buckets_are_errors_with_advice(s3_server: S3Server) -> None:
    stranger = S3Objects(s3_server.endpoint, s3_server.access_key, "wrong-secret")
    with pytest.raises(StorageError, match=r"refused \(\w+\). Check the keys") as caught:
        stranger.put("s3://lake/a", b"x")
    assert "wrong-secret" not in str(caught.value)

    for ask in (
        lambda: s3_server.objects.get("s3://no-such-bucket/a"),
        lambda: list(s3_server.objects.versions("s3a://no-such-bucket/a")),
    ):
        with pytest.raises(StorageError, match="there is no such bucket") as caught:
            ask()
        assert not isinstance(caught.value, ObjectMissing)


# --- places ----------------------------------------------------------------------------------


def test_spellings_of_one_place_are_one(
    s3_server: S3Server, s3_prefix: str, tmp_path: Path
) -> None:
    s3_server.objects.put(s3_prefix.replace("s3:", "s3a:") + "/a", b"x")
    by_s3a = list(s3_server.objects.versions(s3_prefix.replace("s3:", "s3a:") + "/"))
    assert by_s3a == list(s3_server.objects.versions(s3_prefix))
    assert [version.uri for version in by_s3a] == [f"{s3_prefix}/a"]

    (tmp_path / "a").write_bytes(b"x")
    by_file = list(LocalObjects().versions(f"file://{tmp_path}/"))
    assert by_file == list(LocalObjects().versions(f"file:{tmp_path}"))
    assert [version.uri for version in by_file] == [f"{tmp_path}/a"]


def test_the_uri_and_the_settings_choose_the_store(s3_server: S3Server) -> None:
    assert objects_for("/data/landing") == LocalObjects()
    assert objects_for("file:///data", s3_server) == LocalObjects()
    assert objects_for("s3a://lake/x", s3_server) == s3_server.objects
    assert objects_for("s3://lake/x") == S3Objects()
    with pytest.raises(StorageError, match="gs:// is not a place"):
        objects_for("gs://lake/x")
    assert canonical_uri("s3a://lake/") == "s3://lake"


def test_a_store_goes_to_a_worker_in_a_pickle(place: Place) -> None:
    place.objects.put(place.uri("a"), b"x")
    there = pickle.loads(pickle.dumps(place.objects))

    assert there == place.objects
    assert list(there.versions(place.root)) == list(place.objects.versions(place.root))
    version = ObjectVersion("s3://lake/a", "e", 1, datetime(2026, 1, 1, tzinfo=UTC))
    assert pickle.loads(pickle.dumps(version)) == version


# --- helpers ---------------------------------------------------------------------------------


def got(place: Place, name: str) -> bytes:
    found = place.objects.get(place.uri(name))
    assert found is not None
    return found[0]


def etag_of(place: Place, name: str) -> str:
    found = place.objects.get(place.uri(name))
    assert found is not None
    return found[1]


def through(proxy: Proxy, server: S3Server) -> S3Objects:
    return S3Objects(proxy.endpoint, server.access_key, server.secret_key, server.region)


def in_processes(work: Callable[..., object], count: int, arguments: tuple[object, ...]) -> list:
    """The answers of `work(number, *arguments)` from so many fresh processes."""
    with multiprocessing.get_context("spawn").Pool(count) as pool:
        pool.starmap(time.sleep, [(0,)] * count)
        jobs = [pool.apply_async(work, (number, *arguments)) for number in range(count)]
        return [job.get(120) for job in jobs]


def _race(racer: int, objects: Objects, root: str) -> list[int]:
    body = json.dumps(f"racer {racer}").strip('"').encode()
    return [n for n in range(10) if objects.put_new(f"{root}/race-{n}", body)]


def _increment(_number: int, objects: Objects, uri: str, times: int) -> None:
    for _ in range(times):
        while True:
            found = objects.get(uri)
            assert found is not None
            if objects.replace(uri, f"{int(found[0]) + 1:05d}".encode(), found[1]):
                break
