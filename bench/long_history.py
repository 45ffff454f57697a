"""Whether a commit after 100,000 epochs costs what it costs after ten.

    python bench/long_history.py

Rows are added a thousand at a time to get there; then single epochs are committed and timed, in
turn with those of a young run.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time

from outlast.core.run_state import Position, RunState
from outlast.run.folder_store import FolderStore
from outlast.storage.commit import Bundle
from outlast.storage.format import layout
from outlast.storage.format.layout import ROWS
from outlast.storage.logs import Lines

EPOCHS, AT_ONCE, TIMED = 100_000, 1000, 25
ROW = b"12345,0.0010000000474974513,0.123456789,0.987654321\r\n"


def store() -> FolderStore:
    made = FolderStore(tempfile.mkdtemp(dir=os.environ.get("FOLDER")), say=print)
    made.open("auto")
    return made


def commit(run: FolderStore, rows: int, epoch: int) -> float:
    logs = {
        "history.csv": Lines(ROW * rows),
        layout.JOURNAL: Lines(ROW * rows),
        ROWS: Lines(ROW * rows, public=False),
    }
    start = time.perf_counter()
    run.commit(Bundle(logs=logs), lambda: RunState(Position(epoch)))
    run.flush()
    return time.perf_counter() - start


def main() -> None:
    young, old = store(), store()
    for epoch in range(0, EPOCHS, AT_ONCE):
        commit(old, AT_ONCE, epoch)
    for epoch in range(10):
        commit(young, 1, epoch)
    pairs = [(commit(young, 1, 10 + i), commit(old, 1, EPOCHS + i)) for i in range(TIMED)]
    after_ten, after_many = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(many / ten for ten, many in pairs)
    print(f"a commit after 10 epochs      {1000 * after_ten:7.2f} ms")
    print(f"a commit after {EPOCHS:,} epochs {1000 * after_many:7.2f} ms  x {ratio:.2f}")
    young.close()
    old.close()


if __name__ == "__main__":
    main()
