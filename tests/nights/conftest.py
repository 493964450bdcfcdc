"""Lakes that several tests look at: each is made once and never written to again."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lake.cli.world import World
from lake.io.session import s3a
from tests.support.fixtures_cluster import spark_cluster
from tests.support.fixtures_s3 import s3_prefix, s3_server
from tests.support.nights import AS_OF, Contents, Site, copied, site
from tests.support.s3 import S3Server

__all__ = ["s3_prefix", "s3_server", "spark_cluster"]


@dataclass(frozen=True)
class Zone:
    """The shop's three days of calls as landing objects, by day; damaged and repeated ones too."""

    world: World
    folder: Path
    days: tuple[tuple[Path, ...], ...]

    @property
    def objects(self) -> list[Path]:
        """Paths of all objects, relative to the folder."""
        return [path for day in self.days for path in day]

    def sources(self, landing: Path) -> dict[str, Path]:
        return {name: landing / path for name, path in self.world.sources.items()}

    def land(self, objects: list[Path] | tuple[Path, ...], landing: Path) -> None:
        """Copy objects, their time of last change with them."""
        for path in objects:
            (landing / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.folder / path, landing / path)

    def land_in_s3(self, server: S3Server, prefix: str) -> dict[str, str]:
        """Put all objects below the prefix; the sources they are in."""
        for path in self.objects:
            server.objects.put(f"{prefix}/landing/{path}", (self.folder / path).read_bytes())
        return {name: f"{prefix}/landing/{path}" for name, path in self.world.sources.items()}


@dataclass(frozen=True)
class Lake:
    """A lake that was made, where its landing zone is, and what its readers see."""

    site: Site
    landing: Path
    contents: Contents
    steps: tuple[str, ...] = ()
    told: str = ""


@pytest.fixture(scope="session")
def zone(tmp_path_factory: pytest.TempPathFactory) -> Zone:
    """1,200 calls in 54 objects."""
    folder = tmp_path_factory.mktemp("zone")
    world = World(seed=11, calls=1_200)
    days: list[tuple[Path, ...]] = []
    for day in range(world.days):
        world.write_day(folder, day)
        landed = {p.relative_to(folder) for p in folder.rglob("*") if p.is_file()}
        days.append(tuple(sorted(landed - {path for known in days for path in known})))
    return Zone(world, folder, tuple(days))


@pytest.fixture(scope="session")
def one_night(spark: SparkSession, zone: Zone, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The whole zone in one night."""
    folder = tmp_path_factory.mktemp("one_night")
    landing = folder / "landing"
    zone.land(zone.objects, landing)
    lake = site(folder, zone.sources(landing))
    told, steps = StringIO(), list[str]()
    lake.run(told=told, on_step=steps.append)
    return Lake(lake, landing, lake.contents(), tuple(steps), told.getvalue())


@pytest.fixture
def s3_spark(spark: SparkSession, s3_server: S3Server) -> SparkSession:
    """The session with access to the server, which a session gets only when it starts."""
    hadoop = spark.sparkContext._jsc.hadoopConfiguration()
    for name, value in s3a(s3_server).items():
        hadoop.set(name.removeprefix("spark.hadoop."), value)
    return spark


@pytest.fixture
def on_s3(
    s3_spark: SparkSession, zone: Zone, s3_server: S3Server, s3_prefix: str, tmp_path: Path
) -> Site:
    """The zone in a bucket, and an empty lake there."""
    sources = zone.land_in_s3(s3_server, s3_prefix)
    return site(tmp_path, sources, root=f"{s3_prefix}/lake", server=s3_server)


@pytest.fixture(scope="session")
def first_of_two(spark: SparkSession, zone: Zone, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A night over the last day's objects; then the earlier days' objects land.

    So copies that were received earlier land later: accepted calls will turn out to be repeats.
    """
    folder = tmp_path_factory.mktemp("first_of_two")
    landing = folder / "landing"
    zone.land(zone.days[-1], landing)
    lake = site(folder, zone.sources(landing), judged=False)
    lake.run(AS_OF - timedelta(days=1))
    contents = lake.contents()
    zone.land(zone.objects, landing)
    return Lake(lake, landing, contents)


@pytest.fixture(scope="session")
def two_nights(first_of_two: Lake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The same lake after the second night, undisturbed."""
    lake = copied(first_of_two.site, tmp_path_factory.mktemp("two_nights"), "lake", judged=False)
    steps: list[str] = []
    lake.run(on_step=steps.append)
    return Lake(lake, first_of_two.landing, lake.contents(), tuple(steps))
