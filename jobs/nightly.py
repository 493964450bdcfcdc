"""The whole night in one Spark session: compact, stitch, publish."""

from __future__ import annotations

if __name__ == "__main__":
    from jobs import main

    main("publish")
