"""A small training in a Run, without a framework: every number depends on all that was saved before."""

from __future__ import annotations

import hashlib
import math
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import outlast
from outlast.storage import resume_points
from outlast.storage.disk.temporary import is_temporary
from outlast.storage.format import layout
from outlast.testing import FakeAdapter

EPOCHS = 5
BATCHES = 3
WIDENED_AT = 2  # the epoch that has one metric more

Report = dict[str, Any]
_NO_VIEWS = {layout.LOCK, layout.RUN, layout.EVENTS, layout.IDENTITY}


def train(
    folder: str | Path | None,
    *,
    epochs: int = EPOCHS,
    in_epoch: Callable[[outlast.Run, int], object] = lambda run, epoch: None,
    in_batch: Callable[[int, int], object] = lambda epoch, batch: None,
    **arguments: Any,
) -> outlast.Run:
    """Train to the end, or go on.

    Args:
        folder: the run's.
        epochs: how many in all.
        in_epoch: called with (run, epoch) when each epoch has begun.
        in_batch: called with (epoch, batch) inside each batch.
        **arguments: of the Run.
    """
    random.seed(5)
    np.random.seed(5)
    adapter = FakeAdapter({"w": [0.3, 0.7]}, learning_rate=0.5)
    callbacks = arguments.pop("callbacks", None) or everything()
    run = outlast.Run(folder, callbacks, adapter=adapter, **arguments)
    for epoch in run.epochs(epochs):
        in_epoch(run, epoch)
        for batch in run.batches(range(BATCHES)):
            in_batch(epoch, batch)
            adapter.weights["w"] = [_next(w, run.learning_rate) for w in adapter.weights["w"]]
            run.log(loss=sum(adapter.weights["w"]))
        extra = {"late": float(epoch)} if epoch >= WIDENED_AT else {}
        run.log(val_loss=math.cos(sum(adapter.weights["w"])), **extra)
        run.extra["seen"] = run.extra.get("seen", 0) + 1
    return run


def everything() -> list[outlast.Callback]:
    """Callbacks that keep, replace and delete files, in a folder of their own too, and cut the rate."""
    return [
        outlast.EarlyStopping(patience=20, restore_best_weights=True),
        outlast.ModelCheckpoint("best.txt", save_best_only=True),
        outlast.ModelCheckpoint("models/{epoch:02d}.txt", keep_last=1),
        outlast.CSVLogger(),
        outlast.ReduceLROnPlateau(factor=0.5, patience=1),
    ]


def torch_run(folder: Path) -> outlast.Run:
    """A run with a best model of torch's."""
    import torch

    model = torch.nn.Linear(2, 1)
    checkpoint = outlast.ModelCheckpoint(monitor="loss", mode="min", save_best_only=True)
    run = outlast.Run(folder, checkpoint, model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    for _ in run.epochs(1):
        run.log(loss=1.0)
    return run


def report(run: outlast.Run) -> Report:
    """What must be identical, however often a training was disturbed: numbers, decisions, files."""
    assert run.folder is not None
    best = run.best
    return {
        "weights": run.training.model,
        "rate": run.learning_rate,
        "history": run.history.rows,
        "decisions": [decision.to_json() for decision in run.decisions],
        "best": best and (best.epoch, best.value),
        "extra": dict(run.extra),
        "state": _state(run.folder),
        "files": views(run.folder),
    }


def views(folder: str | Path) -> dict[str, str]:
    """The files that people read, by name, with a hash of each."""
    root = Path(folder)
    names = (str(path.relative_to(root)) for path in sorted(root.rglob("*")) if path.is_file())
    return {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names if _is_view(name)}


def _is_view(name: str) -> bool:
    is_evidence = name.startswith(layout.DAMAGED) or layout.CONFLICT in name
    is_sealed = layout.resume_number(name) is not None or layout.is_blob(name)
    return name not in _NO_VIEWS and not is_evidence and not is_sealed


def _state(folder: str) -> str:
    """What the newest resume point holds, as text; of generators only those that the training draws from."""
    state = dict(resume_points.load(folder, max(resume_points.numbers(folder))).state)
    state["random"] = {name: state["random"][name] for name in ("python", "numpy")}
    return repr(state)


def debris(folder: str | Path) -> list[str]:
    """Files in a run's folder that neither of its two newest resume points accounts for."""
    newest = resume_points.numbers(str(folder))[:2]
    points = [resume_points.load(str(folder), number) for number in newest]
    known = {layout.resume_name(number) for number in newest} | _NO_VIEWS
    for point in points:
        known |= point.blobs
    for point in points[:1]:
        known |= {*point.files, *(name for name, log in point.logs.items() if log.public)}
    root = Path(folder)
    return [
        name
        for path in root.rglob("*")
        if path.is_file() and (name := str(path.relative_to(root))) not in known
    ]


def temporaries(folder: str | Path) -> list[str]:
    """Files that are not whole yet."""
    return [path.name for path in Path(folder).rglob("*") if is_temporary(path.name)]


def writers() -> list[threading.Thread]:
    """Threads that write in the background; one whose fit died waits for who comes next."""
    return [thread for thread in threading.enumerate() if thread.name == "outlast-writer"]


def committed_epoch(folder: str | Path) -> int:
    """The epoch of the newest resume point, from 0; -1 if there is none."""
    numbers = resume_points.numbers(os.fspath(folder)) if os.path.isdir(folder) else []
    return resume_points.load(str(folder), numbers[0]).state["position"][0] if numbers else -1


def _next(weight: float, rate: float) -> float:
    return math.sin(3.7 * weight) + rate * random.random() + 0.1 * float(np.random.rand())
