"""What this program has finished: so that one folder is not taken for two trainings.

In a loop over folds, each with a model of its own, the second fold would find the first one's finished run,
train nothing, and get weights that have seen its validation data. A script or a cell that is started again
looks the same, but for this: its model begins with the same weights, or it is another execution. A loop
comes to the same line, in the same frames, again.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from outlast.exceptions import UsageError
from outlast.frameworks.base import weakly
from outlast.run.comparison import Leaves

Place = tuple[tuple["weakref.ref[CodeType]", int], ...]


@dataclass(frozen=True)
class _Finished:
    """A run that was finished in this process.

    Args:
        place: the lines of the program that opened it.
        initial: the weights with which its model began.
        model: a weak reference to it.
    """

    place: Place
    initial: Leaves
    model: Callable[[], Any]


_finished: dict[str, _Finished] = {}  # by the real path of the folder


def note(folder: str, place: Place, initial: Leaves, model: Any) -> None:
    """The run was opened at these lines, and finished by a model that began with these weights."""
    _finished[os.path.realpath(folder)] = _Finished(place, initial, weakly(model))


def check(folder: str, shown: str, place: Place, initial: Leaves, model: Any) -> None:
    """Refuse a model of another training, in the program that has finished the run.

    Args:
        folder: the run's, which is finished.
        shown: the same as the user wrote it.
        place: the lines at which it is opened.
        initial: the weights with which the model begins.
        model: the model; the one that finished the run may come again.

    Raises:
        UsageError: it is another one.
    """
    one = _finished.get(os.path.realpath(folder))
    if one is None or one.place != place or one.initial == initial:
        return
    if model is not None and one.model() is model:
        return
    raise UsageError(
        f"{shown} was finished by this program already, with a model that began with other weights: nothing "
        "would be trained, and this model would get that one's weights. Give each training a folder of its "
        "own, such as Run('runs/cv/fold-2', ...), or begin anew with resume='never'."
    )


def place_now() -> Place:
    """The lines that are being executed, the innermost of the user's first."""
    frame: FrameType | None = sys._getframe()
    found = []
    while frame is not None:
        if not frame.f_globals.get("__name__", "").startswith("outlast."):
            found.append((weakref.ref(frame.f_code), frame.f_lineno))
        frame = frame.f_back
    return tuple(found)
