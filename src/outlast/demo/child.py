"""One training of the crash demo, run as ``python -m outlast.demo.child`` in a new process.

Its last line has the hashes of everything that must be the same with and without a crash.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

from outlast.demo.training import MONITOR, callbacks, prepared
from outlast.run.run import Run
from outlast.storage.disk.calls import calls
from outlast.storage.format import layout


def main() -> None:
    """Train in a Run, with the settings of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--kill-in-save", type=int, metavar="N")
    asked = parser.parse_args()
    if asked.kill_in_save:
        kill_in_save(asked.kill_in_save)
    run = Run(asked.folder, callbacks(), seed=asked.seed)
    model, data = prepared(asked.seed)
    model.fit(**data, epochs=asked.epochs, callbacks=[run])
    print(json.dumps(hashes(run, model)))


def kill_in_save(number: int) -> None:
    """Kill this process when resume point ``number`` is written but does not have its name yet."""
    link = calls.link

    def link_or_die(source: str, target: str) -> None:
        if os.path.basename(target) == layout.resume_name(number):
            os.kill(os.getpid(), signal.SIGKILL)
        link(source, target)

    calls.link = link_or_die  # type: ignore[method-assign]


def hashes(run: Run, model: Any) -> dict[str, Any]:
    """The results: hashes by name, and the number of epochs."""
    assert run.folder is not None
    folder = Path(run.folder)
    return {
        "epochs": len(run.history[MONITOR]),
        "weights and optimizer": _hash(_bytes(model)),
        "best model": _hash(_bytes(run.load_best())),
        **{name: _hash((folder / name).read_bytes()) for name in ("history.csv", layout.JOURNAL)},
    }


def _bytes(model: Any) -> bytes:
    from keras import ops

    optimizer = model.optimizer.variables if model.optimizer else []
    variables = (*model.variables, *optimizer)
    return b"".join(ops.convert_to_numpy(variable).tobytes() for variable in variables)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


if __name__ == "__main__":
    main()
