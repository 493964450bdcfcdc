"""dist/lake.zip: what `spark-submit --py-files` needs to bring Profile Lake to a cluster.

    python -m bench.dist [FOLDER]

The packages `lake` and `jobs` with their data files, and the shipped expectation suites where the
installed package has them. Dependencies are not in it: a cluster's Python has them installed. The
archive is the same bytes for the same sources.
"""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
NAME = "lake.zip"


def archive(folder: Path) -> Path:
    """Write ``lake.zip`` into the folder; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, file in sorted(contents()):
            # The oldest date a zip can hold, so that nothing but the sources decides the bytes.
            out.writestr(zipfile.ZipInfo(name), file.read_bytes(), zipfile.ZIP_DEFLATED)
    return path


def contents() -> Iterator[tuple[str, Path]]:
    """(name in the archive, file)."""
    for package in ("lake", "jobs"):
        for file in (CHECKOUT / package).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                yield str(file.relative_to(CHECKOUT)), file
    for file in (CHECKOUT / "conf" / "expectations").glob("*.json"):
        yield f"lake/quality/suites/{file.name}", file


if __name__ == "__main__":
    print(archive(Path(sys.argv[1]) if len(sys.argv) > 1 else CHECKOUT / "dist"))
