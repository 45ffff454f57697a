"""Whether a commit after 100,000 epochs costs what it costs after ten.

    python bench/long_history.py [--epochs 100000] [--rounds 25]

Rows are added a thousand at a time to get there, so that there are as many older segments as such a run has;
then single epochs are committed and timed, beside those of a young run.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from growth import Training
from side_by_side import compare, seconds_of

from outlast.core.run_state import Position, RunState
from outlast.run.folder_store import FolderStore
from outlast.storage.commit import Bundle
from outlast.storage.format import layout
from outlast.storage.format.layout import ROWS
from outlast.storage.logs import Lines
from outlast.storage.recovery import recover

AT_ONCE = 1000
ROW = b"12345,0.0010000000474974513,0.123456789,0.987654321\r\n"


class Commits:
    """A run whose epochs are only committed.

    Args:
        folder: new.
        state: what each saves.
    """

    def __init__(self, folder: str, state: RunState) -> None:
        self._store, self._state, self._epoch = FolderStore(folder, say=print), state, 0
        self._store.open("auto")
        self.leave = self._store.close

    def commit(self, epochs: int = 1) -> float:
        """The seconds to make so many epochs safe at once."""
        rows = ROW * epochs
        logs = {"history.csv": Lines(rows), layout.JOURNAL: Lines(rows), ROWS: Lines(rows, public=False)}
        self._epoch += epochs
        state = replace(self._state, position=Position(self._epoch))

        def save() -> None:
            self._store.commit(Bundle(logs=logs), lambda: state)
            self._store.flush()

        return seconds_of(save)


def a_state(folder: str) -> RunState:
    """The state of a run."""
    training = Training(Path(folder))
    training.epoch()
    training.leave()
    return RunState.of_a_run(recover(folder).state)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--folder", default=None, help="on the disk to measure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="outlast-bench-", dir=options.folder) as folder:
        state = a_state(folder + "/run")
        young, old = Commits(folder + "/young", state), Commits(folder + "/old", state)
        for _ in range(10):
            young.commit()
        for _ in range(options.epochs // AT_ONCE):
            old.commit(AT_ONCE)
        ways = {"after 10 epochs": young.commit, f"after {options.epochs:,} epochs": old.commit}
        compare("a commit of an epoch", ways, beside="after 10 epochs", rounds=options.rounds)
        young.leave()
        old.leave()


if __name__ == "__main__":
    main()
