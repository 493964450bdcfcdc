"""The demo: a generated shop, three nights one after the other, and how right the profiles are."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

from jobs import PIPELINE
from lake.cli.score import pairwise, worst_profiles
from lake.cli.world import Landed, World
from lake.config import load
from lake.errors import ConfigError
from lake.io.reader import opened
from lake.progress import Progress
from lake.run.night import night
from lake.run.shell import summary_text

CONFIG = """\
# The demo's configuration. conf/example.yaml shows every setting.
space: shop
root: ./lake
sources:
{sources}
identity:
  strategy: segment
  unknown_types: ignore
  identifiers:
    user_id: {{limit: 1}}
    email: {{limit: 5, normalise: email}}
    phone: {{limit: 5, normalise: phone, region: US}}
    anonymous_id: {{limit: 5}}
    ios.id: {{limit: 5}}
    android.id: {{limit: 5}}
  blocked:
    values: [noreply@example.com]
profiles_sync: {{enabled: true}}
traits:
  plan: {{type: string}}
  address.city: {{type: string}}
computed:
  orders: event('Order Completed').count()
  spent: event('Order Completed').sum(property('total'))
  favourite: event('Product Viewed').mode(property('category'))
audiences:
  big_spenders: trait('orders') >= 2 AND trait('spent') > 100
  lookers: trait('orders') = 0 AND trait('favourite') exists
# The Java compiler that starts fast: right for a small lake, wrong for a large one.
spark: {{conf: {{spark.driver.extraJavaOptions: "-XX:+UseSerialGC -XX:TieredStopAtLevel=1"}}}}
"""


def demo(folder: Path, calls: int, seed: int, output: str = "text") -> int:
    """Make the folder anew, land three days, run a night after each; 0 if all were published.

    Raises ConfigError if the folder exists and was not made by the demo.
    """
    world = World(seed=seed, calls=calls)
    config = prepared(folder, world)
    text = output == "text"
    records = []
    for day in range(world.days):
        landed = world.write_day(folder / "landing", day)
        if text:
            print(f"\nNight {day + 1}: {landed.lines:,} lines in {landed.files} files landed.")
        midnight = datetime.combine(world.first_day + timedelta(days=day + 1), time(), UTC)
        record = night(
            load(config, os.environ), PIPELINE, as_of=midnight, progress=Progress(quiet=not text)
        )
        record["as_landed"] = matches(landed, record)
        records.append(record)
        if text:
            print(summary_text(record))
    scored = score(folder / "lake", world)
    if text:
        print(closing(folder, config, scored))
    else:
        print(json.dumps({"nights": records, "score": scored}, indent=1))
    return 0


def prepared(folder: Path, world: World) -> Path:
    """An empty demo folder with its configuration, whose path is given back."""
    config = folder / "lake.yaml"
    if folder.exists() and any(folder.iterdir()):
        if not config.exists() or not config.read_text().startswith(CONFIG.split("\n", 1)[0]):
            raise ConfigError(f"{folder} holds something else than a demo; name another folder.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    sources = "\n".join(
        f"  {name}: {{path: ./landing/{path}}}" for name, path in sorted(world.sources.items())
    )
    config.write_text(CONFIG.format(sources=sources))
    for path in world.sources.values():
        (folder / "landing" / path).mkdir(parents=True, exist_ok=True)
    return config


def matches(landed: Landed, record: dict[str, Any]) -> bool:
    """Whether the night accounted for every line as the generator wrote it."""
    lines = record["lines"]
    return (lines["accepted"], lines["rejected"], lines["duplicate"]) == (
        landed.accepted,
        landed.rejected,
        landed.duplicate,
    )


def score(root: Path, world: World) -> dict[str, Any]:
    """Precision and recall of the published profiles over pairs of identifiers."""
    rows = opened(str(root)).arrow("profile_identifiers").to_pylist()
    predicted = {(r["type"], r["value"]): r["profile_id"] for r in rows}
    kinds = {kind for kind, _ in predicted}
    truth = {pair: person for pair, person in world.truth().items() if pair[0] in kinds}
    found, mixed = pairwise(predicted, truth), worst_profiles(predicted, truth)
    return {
        "precision": round(found.precision, 4),
        "recall": round(found.recall, 4),
        "people": len(world.people),
        "profiles": len(set(predicted.values())),
        "mixed_profiles": mixed.profiles,
        "most_people_in_one": mixed.largest,
    }


def closing(folder: Path, config: Path, scored: dict[str, Any]) -> str:
    """How right the profiles are, and lines to paste."""
    lake = folder / "lake"
    mixed = "no profile holds two people"
    if scored["mixed_profiles"]:
        most = scored["most_people_in_one"]
        mixed = f"{scored['mixed_profiles']} profiles hold several people, the worst {most}"
    return f"""
Against the known truth, over pairs of identifiers:
  precision {scored["precision"]:.4f}   recall {scored["recall"]:.4f}   {mixed}

Look at it:
  .venv/bin/profile-lake lookup email ann@example.com --config {config}
  .venv/bin/profile-lake runs --config {config}

With DuckDB:
  .venv/bin/python -c "
  import lake, duckdb
  profiles = lake.open('{lake}').delta('profiles').to_pyarrow_dataset()
  columns = 'calls, orders, spent, favourite, audiences'
  print(duckdb.sql(f'select {{columns}} from profiles order by calls desc limit 3'))"

With Polars:
  .venv/bin/python -c "
  import lake, polars
  print(polars.from_arrow(lake.open('{lake}').arrow('profile_identifiers')).group_by('type').len())"
"""
