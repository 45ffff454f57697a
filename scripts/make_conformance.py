"""Write tests/frameworks/conformance.json: what Keras's own callbacks decide.

    python scripts/make_conformance.py [--check]

With --check nothing is written; exit code 1 if the file is not what Keras decides.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, replace
from math import inf, nan
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]
os.environ.setdefault("KERAS_BACKEND", "jax")

import keras  # noqa: E402
from tests.frameworks.conformance import MONITOR, TABLE, Case, KerasFit, through  # noqa: E402

from outlast.core.numbers import encoded  # noqa: E402

Values = list[float | None]

# All numbers are held exactly by float32, in which Keras compares.
SERIES: dict[str, Values] = {
    "falls": [1.0, 0.875, 0.75, 0.5, 0.375, 0.25],
    "rises": [0.25, 0.5, 0.625, 0.75, 1.0, 2.0],
    "is flat": [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5],
    "falls and rises": [1.0, 0.75, 0.5, 0.625, 0.75, 0.875, 1.0, 0.25],
    "has two valleys": [1.0, 0.5, 0.75, 0.75, 0.25, 0.5, 0.5, 0.5, 0.5],
    "creeps": [1.0, 0.9375, 0.875, 0.8125, 0.75, 0.75, 0.6875, 0.6875],
    "is nan for a while": [1.0, 0.5, nan, nan, 0.25, nan, 0.5, 0.5],
    "is infinite at first": [inf, inf, 1.0, inf, 0.5, 0.5, 0.5],
    "is negative": [-0.5, -1.0, -0.75, -2.0, -inf, -3.0, -3.0],
    "is missing at times": [1.0, None, 0.5, None, None, 0.75, 0.625, None, 0.5],
}
NEVER_MISSING = [name for name, values in SERIES.items() if None not in values]

STOPPING: list[dict[str, Any]] = [
    {},
    {"patience": 1},
    {"patience": 2, "restore_best_weights": True},
    {"patience": 3, "restore_best_weights": True, "mode": "min"},
    {"patience": 2, "mode": "max", "restore_best_weights": True},
    {"patience": 2, "min_delta": 0.125, "restore_best_weights": True},
    {"patience": 1, "min_delta": -0.25},
    {"patience": 2, "baseline": 0.5, "restore_best_weights": True},
    {"patience": 2, "baseline": 0.625, "min_delta": 0.125},
    {"patience": 1, "start_from_epoch": 4, "restore_best_weights": True},
    {"patience": 9, "restore_best_weights": True},
]
PLATEAU: list[dict[str, Any]] = [
    {"patience": 0, "factor": 0.5},
    {"patience": 1, "factor": 0.5},
    {"patience": 2, "factor": 0.25},
    {"patience": 1, "factor": 0.5, "cooldown": 1},
    {"patience": 1, "factor": 0.5, "cooldown": 2},
    {"patience": 2, "factor": 0.5, "cooldown": 3},
    {"patience": 1, "factor": 0.1, "min_lr": 0.05},
    {"patience": 1, "factor": 0.5, "mode": "max"},
    {"patience": 1, "factor": 0.5, "min_delta": 0.125},
]
SAVING: list[dict[str, Any]] = [
    {"filepath": "best", "save_best_only": True},
    {"filepath": "e{epoch}", "save_best_only": True},
    {"filepath": "e{epoch}", "save_best_only": True, "mode": "max"},
    {"filepath": "best", "save_best_only": True, "initial_value_threshold": 0.5},
    {"filepath": "latest"},
    {"filepath": "e{epoch:03d}"},
]


def cases() -> Iterator[Case]:
    """All that is asked."""
    for series, values in SERIES.items():
        for settings in STOPPING:
            yield Case(f"{MONITOR} {series}", "EarlyStopping", settings, values)
        for settings in PLATEAU:
            yield Case(f"{MONITOR} {series}", "ReduceLROnPlateau", settings, values)
    for series in NEVER_MISSING:
        for settings in SAVING:
            yield Case(f"{MONITOR} {series}", "ModelCheckpoint", settings, SERIES[series])
    for series in ("falls", "is nan for a while", "is negative"):
        yield Case(f"{MONITOR} {series}", "CSVLogger", {"filename": "h.csv"}, SERIES[series])
    for settings in ({"patience": 1}, {"patience": 0, "restore_best_weights": True}):
        yield Case("it begins later", "EarlyStopping", settings, SERIES["is flat"], first=5)
    yield Case("it begins later", "ModelCheckpoint", {"filepath": "e{epoch}"}, SERIES["is flat"][:2], first=5)
    yield Case("it begins later", "CSVLogger", {"filename": "h.csv"}, SERIES["falls"], first=5)


def answered(case: Case) -> Case:
    """The case with what Keras makes of it."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # of a missing metric
        return replace(case, expected=through(KerasFit, case, keras.callbacks))


def text() -> str:
    """The table: one case a line."""
    lines = [json.dumps(_encoded(asdict(answered(case))), allow_nan=False) for case in cases()]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _encoded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _encoded(item) for key, item in value.items()}
    return [_encoded(item) for item in value] if isinstance(value, list | tuple) else encoded(value)


def main(arguments: list[str]) -> int:
    made = text()
    if "--check" in arguments:
        same = TABLE.read_text() == made
        print("as Keras decides" if same else f"{TABLE.name} is not what Keras decides: make it anew")
        return 0 if same else 1
    TABLE.write_text(made)
    print(f"{TABLE}: {made.count(chr(10)) - 2} cases")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
