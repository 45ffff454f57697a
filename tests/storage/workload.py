"""A training without a framework: numbers that depend on all that was saved before.

It does what a run may do to its folder: keeps a best model and best weights, keeps the last two
models and gives up older ones, lets two published files share a blob, appends to a table
and to a journal, widens the table, and lets old lines go to segments. The end
is the same however often it was interrupted, or something was lost.

    python -m tests.storage.workload FOLDER STEPS
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from outlast.storage.commit import Bundle, Committed, FileChange, commit
from outlast.storage.disk import files, lock
from outlast.storage.format import layout, limits
from outlast.storage.format.encoding import Immutable
from outlast.storage.logs import Lines
from outlast.storage.recovery import Recovered, recover

RUN = "0123abcd" * 4  # the identity that every run gets here
WIDENED_AT = 3
BEST_AT = {1, 2, 4}
FIRST_STATE: dict[str, Any] = {
    "epoch": 0,
    "weights": np.arange(6.0),
    "best": float("inf"),
    "kept": Immutable(b"nothing yet"),
}


def _fail(finding: str) -> None:
    raise AssertionError(f"nothing should be wrong while training: {finding}")


def run(
    folder: str,
    steps: int,
    safe: Callable[[int], object] = lambda number: None,
    say: Callable[[str], object] = _fail,
    kept_lines: int = 4,
    models: str = "models/",
) -> Recovered:
    """Go on to step ``steps`` from whatever the folder holds; tell what is safe when it is.

    ``models`` is where the models are: a folder that is made for them syncs the run's.
    """
    files.make_folder(folder)
    held = lock.acquire(folder, take_over=True)
    usual = limits.KEPT_LINES, limits.REMAINING_LINES, layout.new_identity
    try:
        limits.KEPT_LINES, limits.REMAINING_LINES = kept_lines, 1  # so that a short run has segments
        layout.new_identity = lambda: RUN  # so that two runs have the same files
        found = recover(folder)
        committed, state = found.committed, found.state or FIRST_STATE
        safe(committed.number)
        while state["epoch"] < steps:
            state = trained(state)
            committed = commit(folder, committed, step_of(state, committed, models), state, say=say)
            safe(committed.number)
    finally:
        limits.KEPT_LINES, limits.REMAINING_LINES, layout.new_identity = usual
        held.release()
    return found


def trained(state: dict[str, Any]) -> dict[str, Any]:
    """One epoch: the next weights depend on every bit of those before."""
    weights, epoch = np.sin(state["weights"] * 3.7) + state["epoch"], state["epoch"] + 1
    kept = Immutable({"weights": weights, "raw": weights.tobytes()}) if epoch in BEST_AT else state["kept"]
    return {"epoch": epoch, "weights": weights, "best": float(weights.sum()), "kept": kept}


def step_of(state: dict[str, Any], committed: Committed, models: str) -> Bundle:
    """What an epoch adds to the folder."""
    n = state["epoch"]
    model = state["weights"].tobytes()
    changes: dict[str, FileChange] = {f"{models}model-{n}.bin": _writes(model)}
    if n > 2:
        changes[f"{models}model-{n - 2}.bin"] = None
    if n in BEST_AT:
        changes["best.bin"] = f"{models}model-{n}.bin"
    return Bundle(
        changes,
        {
            "history.csv": _table(state, committed),
            "journal.jsonl": Lines(b'{"epoch": %d}\n{"saved": %d}\n' % (n, n)),
            "rows": Lines(b'{"best": %r}\n' % state["best"], public=False),
        },
    )


def content(folder: str | Path) -> dict[str, str]:
    """Every file below the folder by name, with a hash of its content; not the lock."""
    root = Path(folder)
    paths = (path for path in root.rglob("*") if path.is_file() and path.name != "LOCK")
    hashed = {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}
    return dict(sorted(hashed.items()))


def states_of(steps: int) -> list[dict[str, Any]]:
    """The state after 0, 1, ... ``steps`` epochs."""
    states = [FIRST_STATE]
    for _ in range(steps):
        states.append(trained(states[-1]))
    return states


def _table(state: dict[str, Any], committed: Committed) -> Lines:
    n = state["epoch"]
    row = b"%d,%r\n" % (n, state["best"])
    if n == 1:
        return Lines(b"epoch,best\n" + row)
    if n != WIDENED_AT:
        return Lines(row if n < WIDENED_AT else row[:-1] + b",%d\n" % n)
    rows = [b"%d,%r,NA\n" % (s["epoch"], s["best"]) for s in states_of(n - 1)[1:]]
    return Lines(b"".join([b"epoch,best,more\n", *rows, row[:-1] + b",%d\n" % n]), replaces=True)


def _writes(data: bytes) -> Callable[[str], None]:
    return files.Content(data)


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), lambda number: print(number, flush=True))
