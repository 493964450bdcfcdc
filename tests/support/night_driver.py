"""A night in a process of its own, which kills its whole process group at a step.

    python -m tests.support.night_driver CONFIG AS_OF [STEP SECONDS]

SIGKILL goes to this process and its JVM, so many seconds after the first time the step is
reached; 0 is at once. Each step's name is printed as it is reached.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from datetime import datetime
from pathlib import Path

from jobs import PIPELINE
from lake.config import load
from lake.progress import Progress
from lake.run.night import night


def main(config: str, as_of: str, step: str = "", seconds: str = "0") -> None:
    def kill() -> None:
        os.killpg(os.getpgid(0), signal.SIGKILL)

    def on_step(name: str) -> None:
        print(name, flush=True)
        if name == step:
            if float(seconds):
                threading.Timer(float(seconds), kill).start()
            else:
                kill()

    night(
        load(Path(config), os.environ),
        PIPELINE,
        as_of=datetime.fromisoformat(as_of),
        progress=Progress(),
        on_step=on_step,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
