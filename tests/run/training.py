"""A training in memory that takes no time: its one weight counts the epochs that made it.

So the weight tells where a resume went on from: the best weights and the last training state differ.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from outlast import Run
from outlast.testing import FakeAdapter

# Best in epoch 2 (counted from 0), then in 6. With patience 2, training stops in epoch 4.
LOSSES = (5.0, 4.0, 3.0, 3.5, 3.6, 3.7, 2.0, 2.5, 2.6, 2.7, 2.8, 2.9)


def start(folder: object, callbacks: object = None, *, rate: float = 0.1, **options: object) -> Run:
    """The run as a new process makes it: with a model that knows nothing."""
    options = {"check_resume": "never", **options}  # which epochs are trained is what most tests look at
    return Run(folder, callbacks, adapter=FakeAdapter({"w": [0.0]}, learning_rate=rate), **options)


def go_on(run: Run, epochs: int, *, until: int | None = None, losses: Sequence[float] = LOSSES) -> list[int]:
    """Train, but leave the loop in the middle of epoch ``until``; returns the epochs that were begun."""
    begun: list[int] = []
    note = begun.append  # a start names the lists that a loop fills
    for epoch in run.epochs(epochs):
        note(epoch)
        if epoch == until:
            break
        run.training.weights["w"][0] += 1
        run.log(val_loss=losses[epoch])
    return begun


def train(folder: object, callbacks: object = None, epochs: int = 4, **options: object) -> Run:
    """A whole process: a run, trained to its end."""
    run = start(folder, callbacks, **options)
    go_on(run, epochs)
    return run


def weight(run: Run) -> float:
    """How many epochs made the weight that the model has now."""
    return run.training.weights["w"][0]


def content(folder: Path) -> dict[str, str]:
    """The hash of every file of the folder by its name, but for the lock and the events."""
    names = set(os.listdir(folder)) - {"LOCK", "events.jsonl"}
    return {name: sha256((folder / name).read_bytes()).hexdigest() for name in sorted(names)}
